"""Bitstamp's REST under `/api/v2` (Bitstamp docs). Books lag the stream, and an edge keeps them for a second."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from aiohttp import web

from workers.sim.bitstamp.feed import BitstampFeed
from workers.sim.bitstamp.symbols import spoken_name, symbol_of
from workers.sim.engine.book import sides_of
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, RestRoutes, kept

REQUESTS: Final = 400
WINDOW_S: Final = 1
KEPT_MS: Final = 1_000
SPANS_MS: Final = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
BUSY: Final = {"response_code": "400.002", "response_explanation": "Request rate limit exceeded."}
FAILED: Final = {"status": "error", "reason": "Internal error.", "code": "API5000"}
NO_PAGE: Final = "<!DOCTYPE html><html><head><title>Page not found</title></head><body>404</body></html>"


class BitstampRest:
    """Public market data."""

    def __init__(self, exchange: Exchange[BitstampFeed], clock_ms: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock_ms = clock_ms

    def routes(self) -> list[web.RouteDef]:
        """All of them share a limit."""
        routes = RestRoutes(
            self._exchange.faults,
            self._clock_ms,
            RestErrors(BUSY, FAILED, busy_status=400),
            lambda _query: "all",
            "pair",
            symbol_of,
        )
        pool = WeightPool(REQUESTS, WINDOW_S)
        answers: dict[str, Answer] = {
            "order_book/{pair}/": kept(self._book, KEPT_MS, self._clock_ms),
            "transactions/{pair}/": self._transactions,
            "markets/": self._markets,
            "trading-pairs-info/": self._pairs,
            "ticker/": self._tickers,
            "ticker/{pair}/": self._tickers,
        }
        return [routes.route(f"/api/v2/{path}", pool, answer) for path, answer in answers.items()]

    def _feed(self, query: Query) -> BitstampFeed:
        feed = self._exchange.listed("all").get(symbol_of(query["pair"]))
        if feed is None or feed.wire.name != query["pair"]:
            raise web.HTTPNotFound(text=NO_PAGE, content_type="text/html")
        return feed

    def _book(self, query: Query, faults: RestFaults) -> object:
        """The whole book, at a time that no message of the stream need have; with `group=2` order by order."""
        feed = self._feed(query)
        if query.get("group") == "2":
            phantom = faults.strike("snapshot_phantom")
            ticks = max(1, int(phantom.value)) if phantom is not None else 0
            return msgspec.Raw(feed.orders.book(feed.market.acted_ms, ticks).encode())
        update_id = faults.copy_id(feed, self._clock_ms())
        if faults.strike("snapshot_ahead") is not None:
            update_id = feed.market.last_id
        bids, asks = sides_of(feed.market.changes.book_at(update_id)[1].items())
        if faults.strike("snapshot_empty") is not None:
            bids, asks = [], []
        wrong = faults.strike("snapshot_wrong") if bids else None
        if wrong is not None:
            place = min(int(wrong.value), len(bids) - 1)
            bids[place] = bids[place][0] - 1, bids[place][1] + 1
        return msgspec.Raw(feed.wire.book(bids, asks, feed.times.micros_of(update_id)).encode())

    def _transactions(self, query: Query, _faults: RestFaults) -> list[Any]:
        """Those of the last minute, hour or day, the newest first."""
        feed = self._feed(query)
        span_ms = SPANS_MS.get(query.get("time", "hour"))
        if span_ms is None:
            refusal = {"status": "error", "reason": "Invalid time interval.", "code": "API0012"}
            raise RestRefusal(400, refusal)
        tape = feed.market.tape
        fills = tape.trades(tape.first_trade_id, 10**9)
        start = bisect_left(fills, self._clock_ms() - span_ms, key=lambda fill: fill.time)
        return [feed.wire.transaction(fill) for fill in reversed(fills[start:])]

    def _markets(self, _query: Query, faults: RestFaults) -> list[Any]:
        return [
            market(feed) | ({"market_symbol": None} if _struck(faults, feed) else {})
            for feed in self._exchange.listed("all").values()
        ]

    def _pairs(self, _query: Query, _faults: RestFaults) -> list[Any]:
        """The older list, of spot alone."""
        feeds = [feed for feed in self._exchange.listed("all").values() if not feed.wire.perpetual]
        names = ("name", "base_decimals", "counter_decimals", "trading", "description")
        return [
            {"url_symbol": feed.wire.name} | {name: market(feed)[name] for name in names} for feed in feeds
        ]

    def _tickers(self, query: Query, faults: RestFaults) -> object:
        """That of a market; all of them where it is none, or none is named."""
        feeds = self._exchange.listed("all")
        now_ms = int(self._clock_ms())
        named = feeds.get(symbol_of(query.get("pair", "")))
        if named is not None:
            return ticker(named, now_ms)
        return [
            ticker(feed, now_ms) | ({"pair": None} if _struck(faults, feed) else {})
            for feed in feeds.values()
        ]


def market(feed: BitstampFeed) -> dict[str, Any]:
    """An element of `markets`."""
    spec = feed.spec
    return {
        "name": spoken_name(spec),
        "market_symbol": feed.wire.name,
        "base_currency": spec.base_asset,
        "base_decimals": spec.quantity_decimals,
        "counter_currency": spec.quote_asset,
        "counter_decimals": spec.price_decimals,
        "minimum_order_value": "10",
        "trading": feed.status,
        "instant_and_market_orders": feed.status,
        "description": f"{spec.base_asset} / {spec.quote_asset}",
        "market_type": "PERPETUAL" if feed.wire.perpetual else "SPOT",
    }


def ticker(feed: BitstampFeed, now_ms: int) -> dict[str, Any]:
    """What a market traded in the last day: volume in the base asset, and its mean price."""
    wire, spec = feed.wire, feed.spec
    day = feed.market.tape.day(now_ms)
    bid, _, ask, _ = feed.market.book.best()
    mean = Decimal(day.notional) / max(1, day.quantity) * spec.tick_units
    return {
        "timestamp": str(now_ms // 1000),
        "open": wire.price(day.open),
        "high": wire.price(day.high),
        "low": wire.price(day.low),
        "last": wire.price(day.close),
        "volume": wire.quantity(day.quantity),
        "vwap": f"{mean.scaleb(-spec.price_decimals):.{spec.price_decimals}f}",
        "bid": wire.price(bid),
        "ask": wire.price(-ask),
        "side": "0",
        "open_24": wire.price(day.open),
        "percent_change_24": "0.00",
        "pair": spoken_name(spec),
    }


def _struck(faults: RestFaults, feed: BitstampFeed) -> bool:
    return faults.strike("bad_listing", feed.spec.symbol) is not None
