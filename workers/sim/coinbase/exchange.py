"""Coinbase as a flavour of the simulated exchange: the paths `/advanced` and `/exchange` stand for its two hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from workers.sim.coinbase.advanced_conversation import AdvancedConversation
from workers.sim.coinbase.advanced_rest import AdvancedRest
from workers.sim.coinbase.conversation import CoinbaseConversation
from workers.sim.coinbase.exchange_conversation import ExchangeConversation
from workers.sim.coinbase.exchange_rest import ExchangeRest
from workers.sim.coinbase.feed import AdvancedFeed, CoinbaseFeed, ExchangeFeed
from workers.sim.coinbase.symbols import DEFAULT_SYMBOLS, listed_symbol
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.limits import AttemptLimiter
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings

LARGEST_REQUEST: Final = 256 * 1024
ADVANCED_REQUESTS: Final = (8, 1.0)
EXCHANGE_REQUESTS: Final = (100, 1.0)
UPGRADES: Final = {"advanced": (8, 1.0), "exchange": (20, 2.5)}
"""Of one address: 8 a second; Exchange lets 20 come at once."""
_SIDES: Final = {"bids": ("bid", "buy"), "asks": ("offer", "sell")}


class CoinbaseShape(JsonShape):
    """Levels are in one list for both sides, except in the snapshots of Exchange."""

    def decode(self, payload: str) -> dict[str, Any]:
        """The body with a list of levels for each side, beside what it had of them."""
        body = super().decode(payload)
        if body.get("channel") == "l2_data":
            rows = body["events"][0]["updates"]
            for side, (name, _) in _SIDES.items():
                body[side] = [
                    [row["price_level"], row["new_quantity"], row["event_time"]]
                    for row in rows
                    if row["side"] == name
                ]
        elif body.get("type") == "l2update":
            for side, (_, name) in _SIDES.items():
                body[side] = [row[1:] for row in body["changes"] if row[0] == name]
        return body

    def encode(self, body: dict[str, Any]) -> str:
        """The text with one list again."""
        if body.get("channel") == "l2_data":
            body["events"][0]["updates"] = [
                {"side": name, "event_time": row[2], "price_level": row[0], "new_quantity": row[1]}
                for side, (name, _) in _SIDES.items()
                for row in body.pop(side)
            ]
        elif body.get("type") == "l2update":
            body["changes"] = [[name, *row] for side, (_, name) in _SIDES.items() for row in body.pop(side)]
        return super().encode(body)

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of a message of a book."""
        return (body["bids"], body["asks"]) if "bids" in body else None

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give the trades of a message an id."""
        if body.get("channel") == "market_trades":
            for trade in body["events"][0]["trades"]:
                trade["trade_id"] = str(trade_id)
        elif "trade_id" in body:
            body["trade_id"] = trade_id


class CoinbaseFlavour:
    """Coinbase's two ways, as two markets."""

    name = "coinbase"
    markets: Sequence[str] = ("advanced", "exchange")
    shape = CoinbaseShape()
    roots: Sequence[Root] = tuple(
        Root(
            f"/{market}",
            market,
            frozenset({"public"}),
            (f"/{market}",),
            largest_frame=LARGEST_REQUEST,
            attempts=UPGRADES[market],
        )
        for market in ("advanced", "exchange")
    )

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._requests = {
            "advanced": AttemptLimiter(*ADVANCED_REQUESTS),
            "exchange": AttemptLimiter(*EXCHANGE_REQUESTS),
        }

    def listed(self, market: str) -> Sequence[str]:
        """The products."""
        return self._settings.named(market, DEFAULT_SYMBOLS)

    def begin(self, topics: TopicRegistry) -> None:
        """Nothing belongs to a whole market: statuses are in the lists of products."""

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> CoinbaseFeed:
        """A product's feed."""
        spec = listed_symbol(market, symbol, self._settings.seed)
        kind = AdvancedFeed if market == "advanced" else ExchangeFeed
        return kind(FeedParts(spec, self._settings, start_ms, topics, schedule))

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> CoinbaseConversation:
        """The conversation of a socket."""
        requests, address = self._requests[root.market], subscriptions.address
        if root.market == "advanced":
            return AdvancedConversation(subscriptions, requests, address, now_s)
        return ExchangeConversation(subscriptions, requests, address, now_s, self._settings.key)

    def rest(self, exchange: Exchange[CoinbaseFeed], clock_ms: Callable[[], float]) -> CoinbaseRoutes:
        """The REST sides."""
        return CoinbaseRoutes(exchange, clock_ms)


class CoinbaseRoutes:
    """The REST sides of both ways; their paths differ."""

    def __init__(self, exchange: Exchange[CoinbaseFeed], clock_ms: Callable[[], float]) -> None:
        self._sides = (AdvancedRest(exchange, clock_ms), ExchangeRest(exchange, clock_ms))

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [route for side in self._sides for route in side.routes()]
