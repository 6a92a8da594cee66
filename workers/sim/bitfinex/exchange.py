"""Bitfinex as a flavour of the simulated exchange: `/ws/2` and `/v2`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from aiohttp import web

from workers.sim.bitfinex.conversation import BitfinexConversation
from workers.sim.bitfinex.feed import BitfinexFeed
from workers.sim.bitfinex.rest import BitfinexRest
from workers.sim.bitfinex.symbols import DEFAULT_SYMBOLS, listed_symbol
from workers.sim.bitfinex.wire import frame
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings

FIRST_CHANNEL: Final = 943_592
SERVER: Final = "08c3ea49-017b-4265-959a-aef128755661"
ATTEMPTS: Final = (20, 60.0)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
_MARKED: Final = re.compile(r'"\\u0000([^"]*)"')
"""A number with a fraction as `decode` keeps it: text behind a mark."""


class BitfinexShape(JsonShape):
    """Messages are lines of arrays, in which the sign of an amount is the side; the text of numbers must survive.

    A body is either a book, `{"bids", "asks", "whole", "time"}`, or `{"frames": […]}`.
    """

    def decode(self, payload: str) -> dict[str, Any]:
        """Levels become `[price, quantity, orders]` of texts."""
        frames = [json.loads(line, parse_float=lambda text: f"\0{text}") for line in payload.split("\n")]
        content = frames[-1][1]
        if isinstance(content, str) or (content and isinstance(content[0], list) and len(content[0]) != 3):
            return {"frames": frames}
        whole = not content or isinstance(content[0], list)
        rows = content if whole else [each[1] for each in frames]
        sides: tuple[list[list[str]], list[list[str]]] = ([], [])
        for row in rows:
            price, orders, amount = (str(number).lstrip("\0") for number in row)
            quantity = amount.removeprefix("-") if orders != "0" else "0"
            sides[amount.startswith("-")].append([price, quantity, orders])
        return {"bids": sides[0], "asks": sides[1], "whole": whole, "time": frames[-1][-1]}

    def encode(self, body: dict[str, Any]) -> str:
        """The lines again."""
        if "bids" not in body:
            return "\n".join(
                _MARKED.sub(r"\1", super(BitfinexShape, self).encode(each)) for each in body["frames"]
            )
        rows = [_row(level, sign) for side, sign in (("bids", ""), ("asks", "-")) for level in body[side]]
        if body["whole"]:
            return frame(f"[{','.join(rows)}]", body["time"])
        rows.sort(key=lambda row: row.split(",")[1] != "0")  # what is gone first, as it was
        return "\n".join(frame(row, body["time"]) for row in rows)

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of a book."""
        return (body["bids"], body["asks"]) if "bids" in body else None

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give `te` and `tu` an id."""
        for each in body.get("frames", ()):
            if each[1] in ("te", "tu"):
                each[2][0] = trade_id

    def spoil_checksum(self, body: dict[str, Any]) -> None:
        """A checksum that is wrong by a bit."""
        for each in body.get("frames", ()):
            if each[1] == "cs":
                each[2] ^= 1


def _row(level: Sequence[str], sign: str) -> str:
    price, quantity, orders = level
    if not quantity.strip("0.") and quantity:
        return f"[{price},0,{sign}1]"
    amount = f"{sign}{quantity}" if _NUMBER.fullmatch(quantity) else json.dumps(quantity)
    return f"[{price},{orders if orders != '0' else '1'},{amount}]"


class BitfinexFlavour:
    """Bitfinex's pairs, socket and REST."""

    name = "bitfinex"
    markets: Sequence[str] = ("spot",)
    shape = BitfinexShape()
    roots: Sequence[Root] = (
        Root("/ws/2", "spot", frozenset({"public"}), ("/ws/2",), attempts=ATTEMPTS, deflates=False),
    )

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._channels = count(FIRST_CHANNEL)

    def listed(self, market: str) -> Sequence[str]:
        """The pairs."""
        return self._settings.named(market, DEFAULT_SYMBOLS)

    def begin(self, topics: TopicRegistry) -> None:
        """There is no topic of a whole market."""

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> BitfinexFeed:
        """A pair's feed."""
        spec = listed_symbol(symbol, self._settings.seed)
        return BitfinexFeed(FeedParts(spec, self._settings, start_ms, topics, schedule))

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> BitfinexConversation:
        """The conversation of a socket."""
        return BitfinexConversation(SERVER, lambda: next(self._channels), subscriptions, now_s)

    def rest(self, exchange: Exchange[BitfinexFeed], clock_ms: Callable[[], float]) -> BitfinexRest:
        """The REST side."""
        return BitfinexRest(exchange, clock_ms)
