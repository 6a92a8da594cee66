"""Bitstamp as a flavour of the simulated exchange: one socket for all markets, and `/api/v2`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from workers.sim.bitstamp.conversation import BitstampConversation
from workers.sim.bitstamp.feed import BitstampFeed
from workers.sim.bitstamp.rest import BitstampRest
from workers.sim.bitstamp.symbols import DEFAULT_SYMBOLS, listed_symbol
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings

LARGEST_FRAME: Final = 512


class BitstampShape(JsonShape):
    """Bids and asks are in `data`; a trade has its id as a number and as text."""

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of a book."""
        data = body["data"]
        return (data["bids"], data["asks"]) if "bids" in data else None

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give a trade an id."""
        if body["event"] == "trade":
            body["data"] |= {"id": trade_id, "id_str": str(trade_id)}


class BitstampFlavour:
    """Bitstamp's markets, which share a socket and a REST."""

    name = "bitstamp"
    markets: Sequence[str] = ("all",)
    shape = BitstampShape()
    roots: Sequence[Root] = (Root("/", "all", frozenset({"public"}), ("/",), largest_frame=LARGEST_FRAME),)

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings

    def listed(self, market: str) -> Sequence[str]:
        """Pairs and perpetuals."""
        return self._settings.named(market, DEFAULT_SYMBOLS)

    def begin(self, topics: TopicRegistry) -> None:
        """There is no topic of a whole market."""

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> BitstampFeed:
        """A market's feed."""
        spec = listed_symbol(symbol, self._settings.seed)
        return BitstampFeed(FeedParts(spec, self._settings, start_ms, topics, schedule))

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> BitstampConversation:
        """The conversation of a socket."""
        return BitstampConversation(subscriptions, now_s)

    def rest(self, exchange: Exchange[BitstampFeed], clock_ms: Callable[[], float]) -> BitstampRest:
        """The REST side."""
        return BitstampRest(exchange, clock_ms)
