"""What the load generator sends of one symbol: a cycle of frames rendered beforehand; only ids and times change.

Every event tells whole quantities, so the book after any number of events follows from the last cycle of them: nothing
has to be kept up while frames are sent.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

FIRST_UPDATE_ID: Final = 10**12
FIRST_TRADE_ID: Final = 10**9
"""Ids of one width, so that every frame of a template has the same length."""
IDS_AN_EVENT: Final = 5
LEVELS: Final = 1_200
"""Per side: more than a snapshot of 1,000, as on the exchange."""
CYCLE: Final = 64
CHANGES: Final = 5
"""Levels changed per side and event, all among the best `TOUCHED`."""
TOUCHED: Final = 50
TICK: Final = 100
"""In units of 1e-4; prices have eight decimals, as spot writes them."""
_SAMPLE_MS: Final = 10**12

Row = tuple[str, str]
"""Price and quantity, as sent."""


class SentTrade(NamedTuple):
    """A trade of a tape."""

    trade_id: int
    price: str
    quantity: str
    buyer_is_maker: bool


def names(count: int) -> list[str]:
    """So many symbols."""
    return [f"SIM{number:03d}USDT" for number in range(count)]


def text_frame(template: str, *sample: int) -> bytes:
    """An unmasked text frame around a template, whose `%d` are all filled with numbers as wide as those given."""
    body = template.encode()
    length = len(body % sample)
    head = bytes([0x81, length]) if length < 126 else b"\x81\x7e" + struct.pack(">H", length)
    return head.replace(b"%", b"%%") + body


def _price(ticks: int) -> str:
    whole, part = divmod(ticks * TICK, 10_000)
    return f"{whole}.{part:04d}0000"


def _quantity(steps: int) -> str:
    whole, part = divmod(steps, 1_000)
    return f"{whole}.{part:03d}00000"


class Tape:
    """The messages of one symbol, in an endless cycle.

    Args:
        number: which symbol it is, from 0; two tapes of one number are alike.
    """

    def __init__(self, symbol: str, number: int) -> None:
        self.symbol = symbol
        draw = random.Random(number)  # noqa: S311 -- a load, no secret
        middle = 6_180_000 - 1_000 * number
        self._prices = (
            [_price(middle - 1 - place) for place in range(LEVELS)],
            [_price(middle + place) for place in range(LEVELS)],
        )
        self._first = tuple(
            {price: _quantity(draw.randrange(1, 9_000)) for price in side} for side in self._prices
        )
        self._events = [self._event(draw) for _ in range(CYCLE)]
        self._trades = [
            (_price(middle - draw.randrange(2)), _quantity(draw.randrange(1, 3_000)), draw.random() < 0.5)
            for _ in range(CYCLE)
        ]
        sent = (_SAMPLE_MS, FIRST_UPDATE_ID, FIRST_UPDATE_ID)
        self._depth_frames = [text_frame(self._depth_text(event), *sent) for event in self._events]
        traded = (_SAMPLE_MS, *[FIRST_TRADE_ID] * 3, _SAMPLE_MS)
        self._trade_frames = [text_frame(self._trade_text(trade), *traded) for trade in self._trades]

    def _event(self, draw: random.Random) -> tuple[list[Row], list[Row]]:
        sides = []
        for prices in self._prices:
            places = sorted(draw.sample(range(TOUCHED), CHANGES))
            steps = [0 if draw.random() < 0.2 else draw.randrange(1, 9_000) for _ in places]
            sides.append(
                [(prices[place], _quantity(step)) for place, step in zip(places, steps, strict=True)]
            )
        return sides[0], sides[1]

    def _depth_text(self, event: tuple[list[Row], list[Row]]) -> str:
        bids, asks = (",".join(f'["{price}","{quantity}"]' for price, quantity in side) for side in event)
        return (
            f'{{"stream":"{self.symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate","E":%d,'
            f'"s":"{self.symbol}","U":%d,"u":%d,"b":[{bids}],"a":[{asks}]}}}}'
        )

    def _trade_text(self, trade: tuple[str, str, bool]) -> str:
        price, quantity, maker = trade
        return (
            f'{{"stream":"{self.symbol.lower()}@aggTrade","data":{{"e":"aggTrade","E":%d,"s":"{self.symbol}",'
            f'"a":%d,"p":"{price}","q":"{quantity}","f":%d,"l":%d,"T":%d,"m":{str(maker).lower()},"M":true}}}}'
        )

    def depth_frame(self, number: int, now_ms: int) -> bytes:
        """The frame of a depth event, numbered from 0."""
        last = update_id(number + 1)
        return self._depth_frames[number % CYCLE] % (now_ms, last - IDS_AN_EVENT + 1, last)

    def trade_frame(self, number: int, now_ms: int) -> bytes:
        """The frame of an aggregate trade, numbered from 0."""
        one = FIRST_TRADE_ID + number
        return self._trade_frames[number % CYCLE] % (now_ms, one, one, one, now_ms)

    def trade(self, number: int) -> SentTrade:
        """What that frame says."""
        return SentTrade(FIRST_TRADE_ID + number, *self._trades[number % CYCLE])

    def book(self, events: int) -> tuple[list[Row], list[Row]]:
        """Bids and asks, best first, after so many events. O(levels + cycle)."""
        found = []
        for side, prices in enumerate(self._prices):
            levels = dict(self._first[side])
            for number in range(max(0, events - CYCLE), events):
                levels.update(self._events[number % CYCLE][side])
            found.append([(price, levels[price]) for price in prices if float(levels[price])])
        return found[0], found[1]


def update_id(events: int) -> int:
    """The update id at which a book stands after so many events."""
    return FIRST_UPDATE_ID + IDS_AN_EVENT * events


def is_depth(turn: int) -> bool:
    """Whether the message of a symbol at a turn (from 0) is a depth event: three of five are, the others trades."""
    return turn % 5 % 2 == 0


def tapes(symbols: Sequence[str]) -> list[Tape]:
    """A tape for each."""
    return [Tape(symbol, number) for number, symbol in enumerate(symbols)]
