"""OKX as a flavour of the simulated exchange: `/ws/v5/public`, `/ws/v5/business` and `/api/v5`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from aiohttp import web

from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Topic, TopicRegistry
from workers.sim.okx.conversation import OkxConversation
from workers.sim.okx.feed import OkxFeed
from workers.sim.okx.rest import OkxRest
from workers.sim.okx.symbols import DEFAULT_SYMBOLS, INSTRUMENT_TYPES, listed_symbol
from workers.sim.settings import SimSettings

LARGEST_REQUEST: Final = 64 * 1024


class OkxShape(JsonShape):
    """The sides of `books` are in `data[0]`; a trade has its id there as text."""

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of a message of `books`."""
        data = body["data"][0]
        return (data["bids"], data["asks"]) if "bids" in data else None

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give a trade an id."""
        if "tradeId" in body["data"][0]:
            body["data"][0]["tradeId"] = str(trade_id)


class OkxFlavour:
    """OKX's markets, sockets and REST."""

    name = "okx"
    markets: Sequence[str] = tuple(INSTRUMENT_TYPES)
    shape = OkxShape()
    roots: Sequence[Root] = tuple(
        Root(path, "", frozenset({stream_class}), (path,), largest_frame=LARGEST_REQUEST)
        for stream_class in ("public", "business")
        for path in (f"/ws/v5/{stream_class}",)
    )

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._instruments: dict[str, Topic] = {}
        self._liquidations: dict[str, Topic] = {}
        self._connections = count(0x32F4_414F)

    def listed(self, market: str) -> Sequence[str]:
        """The instruments of a market."""
        return self._settings.named(market, DEFAULT_SYMBOLS[market])

    def begin(self, topics: TopicRegistry) -> None:
        """`instruments` and `liquidation-orders` belong to a whole market."""
        for market, kind in INSTRUMENT_TYPES.items():
            self._instruments[market] = topics.create(market, "public", "", f"instruments:{kind}")
            self._liquidations[market] = topics.create(market, "public", "", f"liquidation-orders:{kind}")

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> OkxFeed:
        """An instrument's feed."""
        spec = listed_symbol(market, symbol, self._settings.seed)
        whole_market = self._instruments[market], self._liquidations[market]
        return OkxFeed(FeedParts(spec, self._settings, start_ms, topics, schedule), *whole_market)

    def converse(
        self,
        root: Root,
        subscriptions: Subscriptions,
        request: web.Request,
        now_s: float,
    ) -> OkxConversation:
        """The conversation of a socket."""
        return OkxConversation(f"{next(self._connections):08x}", subscriptions, now_s)

    def rest(self, exchange: Exchange[OkxFeed], clock_ms: Callable[[], float]) -> OkxRest:
        """The REST side."""
        return OkxRest(exchange, clock_ms)
