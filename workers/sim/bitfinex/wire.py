"""JSON text of Bitfinex's arrays: numbers are numbers, written as JavaScript writes them.

A frame is spelled for no client yet: it begins with the channel 0 and ends with its time, as in
`[0,[86664,0,1],1790134414900]`. A client's conversation puts in the number of its channel and that of its socket. A
message of several frames has a line for each.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from workers.sim.bitfinex.symbols import wire_name
from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling, SymbolSpec

CHECKED_LEVELS: Final = 25
_MOST_ORDERS: Final = 5

Levels = Sequence[tuple[int, int]]


def javascript_number(text: str) -> str:
    """A plain decimal without zeros at its end as JavaScript prints it: `0.0000007` → `7e-7`."""
    if not text.startswith("0.000000"):
        return text
    digits = text[2:].lstrip("0")
    exponent = len(text) - 1 - len(digits)
    return f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e-{exponent}"


def checksum(bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]) -> int:
    """CRC32, signed, of the 25 best levels a side as sent: bid, ask, bid, …; amounts of asks are below zero."""
    texts = [
        ":".join(level)
        for pair in zip_longest(bids[:CHECKED_LEVELS], asks[:CHECKED_LEVELS])
        for level in pair
        if level is not None
    ]
    unsigned = zlib.crc32(":".join(texts).encode())
    return unsigned - (unsigned >> 31 << 32)


def trade_id(fill_id: int) -> int:
    """The id of a fill on the wire: ids rise by 2 and by 4, as other pairs have trades too."""
    return 3 * fill_id + fill_id % 2


def first_fill(wire_id: int) -> int:
    """The first fill whose id on the wire is not less."""
    fill_id = max(0, wire_id) // 3
    return fill_id if trade_id(fill_id) >= wire_id else fill_id + 1


class BitfinexWire(Spelling):
    """Spells the messages of one pair."""

    def __init__(self, spec: SymbolSpec) -> None:
        super().__init__(spec)
        self.name = wire_name(spec.symbol)

    def price_number(self, ticks: int) -> str:
        """`86704`, `7e-7`."""
        return javascript_number(self.price(ticks))

    def amount_number(self, steps: int) -> str:
        """`0.03460649`; the sign is another matter."""
        return javascript_number(self.quantity(steps))

    def row(self, ticks: int, steps: int, sign: str) -> str:
        """`[price,count,amount]`; a level that is gone has count 0 and amount 1 or -1."""
        count, amount = (1 + steps % _MOST_ORDERS, self.amount_number(steps)) if steps else (0, "1")
        return f"[{self.price_number(ticks)},{count},{sign}{amount}]"

    def rows(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> list[str]:
        """Those of both sides, bids first."""
        return [self.row(*level, "") for level in bids] + [self.row(*level, "-") for level in asks]

    def checksum(self, bids: Levels, asks: Levels) -> int:
        """That of a book whose best levels are given, best first."""

        def texts(levels: Levels, sign: str) -> list[tuple[str, str]]:
            best = levels[:CHECKED_LEVELS]
            return [(self.price_number(p), sign + self.amount_number(q)) for p, q in best]

        return checksum(texts(bids, ""), texts(asks, "-"))

    def trade(self, fill: Fill) -> str:
        """`[658733916,1617643611128,0.7574881,230890]`: the amount is above zero where the taker bought."""
        sign = "-" if fill.buyer_is_maker else ""
        return (
            f"[{trade_id(fill.trade_id)},{fill.time},{sign}{self.amount_number(fill.quantity)},"
            f"{self.price_number(fill.price)}]"
        )


def frame(payload: str, at_ms: int) -> str:
    """A frame for no client yet."""
    return f"[0,{payload},{at_ms}]"
