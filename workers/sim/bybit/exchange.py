"""Bybit as a flavour of the simulated exchange: `/v5/public/{spot|linear}` and `/v5/market`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from aiohttp import web

from workers.sim.bybit.conversation import ARGUMENT_CHARACTERS, BybitConversation
from workers.sim.bybit.feed import BybitFeed
from workers.sim.bybit.rest import BybitRest
from workers.sim.bybit.symbols import DEFAULT_SYMBOLS, MARKETS, listed_symbol
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings


class BybitShape(JsonShape):
    """The sides of a book are `b` and `a` in `data`; trades have text ids."""

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of an `orderbook` message."""
        data = body["data"]
        return (data["b"], data["a"]) if "b" in data else None

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give the trades of a message an id, as text."""
        for trade in body["data"] if isinstance(body["data"], list) else ():
            trade["i"] = str(trade_id)


class BybitFlavour:
    """Bybit's markets, sockets and REST."""

    name = "bybit"
    markets: Sequence[str] = MARKETS
    shape = BybitShape()
    roots: Sequence[Root] = tuple(
        Root(path, market, frozenset({"public"}), (path,), largest_frame=2 * ARGUMENT_CHARACTERS)
        for market in MARKETS
        for path in (f"/v5/public/{market}",)
    )

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._connections = count(1)

    def listed(self, market: str) -> Sequence[str]:
        """The symbols of a market."""
        return self._settings.named(market, DEFAULT_SYMBOLS[market])

    def begin(self, topics: TopicRegistry) -> None:
        """There is no topic of a whole market."""

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> BybitFeed:
        """A symbol's feed."""
        spec = listed_symbol(market, symbol, self._settings.seed)
        return BybitFeed(FeedParts(spec, self._settings, start_ms, topics, schedule))

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> BybitConversation:
        """The conversation of a socket."""
        number = f"d9avt8shteepr00gfc1g-{next(self._connections):05x}"
        return BybitConversation(number, root.market == "spot", subscriptions, now_s)

    def rest(self, exchange: Exchange[BybitFeed], clock_ms: Callable[[], float]) -> BybitRest:
        """The REST side."""
        return BybitRest(exchange, clock_ms)
