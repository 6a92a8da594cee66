"""Binance as a flavour of the simulated exchange: spot and USD-M on one port, by path prefix.

Spot websockets are at `/spot/{ws,stream}`, USD-M ones at `/usdm/{public,market,private}/{ws,stream}` and,
as on the real exchange, at the legacy roots `/usdm/{ws,stream}`, which deliver the public class only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from workers.sim.binance.conversation import BinanceConversation
from workers.sim.binance.feed import BinanceFeed
from workers.sim.binance.rest import BinanceRest
from workers.sim.binance.symbols import MARKETS, listed_symbol
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings

_PUBLIC: Final = frozenset({"public"})
_ROOTS: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    ("/spot", "spot", _PUBLIC),
    ("/usdm", "usdm", _PUBLIC),
    ("/usdm/public", "usdm", _PUBLIC),
    ("/usdm/market", "usdm", frozenset({"market"})),
    ("/usdm/private", "usdm", frozenset()),
)


def _roots() -> list[Root]:
    roots: list[Root] = []
    for prefix, market, classes in _ROOTS:
        raw, combined = f"{prefix}/ws", f"{prefix}/stream"
        roots.append(Root(raw, market, classes, (raw, f"{raw}/{{streams:.*}}")))
        roots.append(Root(combined, market, classes, (combined,), combined=True))
    return roots


class BinanceShape(JsonShape):
    """`depthUpdate` has its sides in `b` and `a`; an aggregate trade has its id in `a`."""

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of a depth event."""
        return (body["b"], body["a"]) if body.get("e") == "depthUpdate" else None

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give an aggregate trade an id."""
        if body.get("e") == "aggTrade":
            body["a"] = trade_id


class BinanceFlavour:
    """Binance's markets, sockets and REST."""

    name = "binance"
    markets: Sequence[str] = MARKETS
    shape = BinanceShape()

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self.roots: Sequence[Root] = _roots()

    def listed(self, market: str) -> Sequence[str]:
        """The symbols of a market."""
        return self._settings.listed(market)

    def begin(self, topics: TopicRegistry) -> None:
        """`!contractInfo` and `!forceOrder@arr` belong to the whole USD-M market."""
        self._contracts = topics.create("usdm", "market", "", "!contractInfo")
        self._liquidations = topics.create("usdm", "market", "", "!forceOrder@arr")

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> BinanceFeed:
        """A symbol's feed."""
        spec = listed_symbol(market, symbol, self._settings.seed)
        return BinanceFeed(
            FeedParts(spec, self._settings, start_ms, topics, schedule), self._contracts, self._liquidations
        )

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> BinanceConversation:
        """The conversation of a socket whose URL may name streams."""
        text = request.query.get("streams", "") if root.combined else request.match_info.get("streams", "")
        named = [name for name in text.split("/") if name]
        return BinanceConversation(root, self._settings, subscriptions, named, now_s)

    def rest(self, exchange: Exchange[BinanceFeed], clock_ms: Callable[[], float]) -> BinanceRest:
        """The REST side."""
        return BinanceRest(self._settings, exchange, clock_ms)


def binance_exchange(settings: SimSettings, start_ms: int) -> Exchange[BinanceFeed]:
    """Binance without I/O."""
    return Exchange(BinanceFlavour(settings), settings, start_ms)
