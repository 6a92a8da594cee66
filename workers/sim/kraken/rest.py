"""Kraken's REST under `/0` (Kraken docs): `{"error":[],"result":{…}}`, always with status 200."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from workers.sim.engine.book import sides_of
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, RestRoutes, whole
from workers.sim.kraken.feed import KrakenFeed
from workers.sim.kraken.symbols import alternative_name, internal_name, websocket_name
from workers.sim.kraken.tokens import PATH, KrakenTokens

REQUESTS: Final = 15
WINDOW_S: Final = 15
TRADES: Final = 1000
DEPTH: Final = 500
PRICE_PLACES: Final = 5
BUSY: Final = {"error": ["EGeneral:Too many requests"]}
FAILED: Final = {"error": ["EService:Unavailable"]}
BAD_ARGUMENT: Final = RestRefusal(200, {"error": ["EGeneral:Invalid arguments"]})


class KrakenRest:
    """Public market data, and tokens for sockets."""

    def __init__(
        self, exchange: Exchange[KrakenFeed], clock_ms: Callable[[], float], tokens: KrakenTokens
    ) -> None:
        self._exchange = exchange
        self._clock_ms = clock_ms
        self._tokens = tokens

    def routes(self) -> list[web.RouteDef]:
        """About one request a second for all routes."""
        pool = WeightPool(REQUESTS, WINDOW_S)
        routes = RestRoutes(
            self._exchange.faults,
            self._clock_ms,
            RestErrors(BUSY, FAILED, busy_status=200),
            lambda _query: "spot",
            "pair",
        )
        answers: dict[str, Answer] = {
            "Time": self._time,
            "AssetPairs": self._pairs,
            "Ticker": self._tickers,
            "Depth": self._depth,
            "Trades": self._trades,
        }
        public = [
            routes.route(f"/0/public/{name}", pool, _enveloped(answer)) for name, answer in answers.items()
        ]
        return [*public, routes.posted(PATH, WeightPool(REQUESTS, WINDOW_S), self._token)]

    def _token(self, posted: Query, _faults: RestFaults) -> dict[str, Any]:
        return self._tokens.answer(posted, posted["body"], self._clock_ms())

    def _named(self, query: Query) -> list[KrakenFeed]:
        """The pairs a request names in any spelling of REST, else all."""
        feeds = list(self._exchange.listed("spot").values())
        if "pair" not in query:
            return feeds
        spellings = {
            name: feed
            for feed in feeds
            for name in (alternative_name(feed.spec), internal_name(feed.spec), websocket_name(feed.spec))
        }
        names = query["pair"].split(",")
        if not all(name in spellings for name in names):
            raise RestRefusal(200, {"error": ["EQuery:Unknown asset pair"]})
        return [spellings[name] for name in names]

    def _time(self, _query: Query, _faults: RestFaults) -> dict[str, Any]:
        return {"unixtime": int(self._clock_ms() // 1000)}

    def _pairs(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for feed in self._named(query):
            row = pair(feed)
            spoiled = faults.strike("bad_listing", feed.spec.symbol) is not None
            rows[internal_name(feed.spec)] = row | {"tick_size": None} if spoiled else row
        return rows

    def _tickers(self, query: Query, _faults: RestFaults) -> dict[str, Any]:
        now_ms = int(self._clock_ms())
        return {internal_name(feed.spec): ticker(feed, now_ms) for feed in self._named(query)}

    def _depth(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        [feed, *_] = self._named(query)
        count = max(1, min(DEPTH, whole(query, "count", 100, BAD_ARGUMENT)))
        _, levels = feed.market.changes.book_at(faults.copy_id(feed, self._clock_ms()))
        bids, asks = sides_of(levels.items())
        seconds = int(self._clock_ms() // 1000)
        sides = {
            side: [[_padded(feed.wire.price(p)), feed.wire.quantity(q), seconds] for p, q in levels[:count]]
            for side, levels in (("asks", asks), ("bids", bids))
        }
        return {internal_name(feed.spec): sides}

    def _trades(self, query: Query, _faults: RestFaults) -> dict[str, Any]:
        """Oldest first, later than `since` (ns); without it the newest."""
        [feed, *_] = self._named(query)
        count = max(1, min(TRADES, whole(query, "count", TRADES, BAD_ARGUMENT)))
        tape = feed.market.tape
        fills = tape.trades(tape.first_trade_id, 10**9)
        start = max(0, len(fills) - count)
        if "since" in query:
            since = whole(query, "since", 0, BAD_ARGUMENT)
            start = bisect_right(fills, since, key=lambda fill: fill.time * 1_000_000)
        page = fills[start : start + count]
        last = page[-1].time * 1_000_000 if page else whole(query, "since", 0, BAD_ARGUMENT)
        rows = [
            [
                _padded(feed.wire.price(fill.price)),
                feed.wire.quantity(fill.quantity),
                fill.time / 1000,
                "s" if fill.buyer_is_maker else "b",
                "m",
                "",
                fill.trade_id,
            ]
            for fill in page
        ]
        return {internal_name(feed.spec): rows, "last": str(last)}


def pair(feed: KrakenFeed) -> dict[str, Any]:
    """A row of `AssetPairs`."""
    spec = feed.spec
    return {
        "altname": alternative_name(spec),
        "wsname": websocket_name(spec),
        "base": spec.base_asset,
        "quote": spec.quote_asset,
        "pair_decimals": spec.price_decimals,
        "lot_decimals": spec.quantity_decimals,
        "ordermin": spec.step_size,
        "tick_size": feed.wire.price(feed.market.grid),
        "status": feed.status,
    }


def ticker(feed: KrakenFeed, now_ms: int) -> dict[str, Any]:
    """A row of `Ticker`: today and the last 24 hours are the same here."""
    wire = feed.wire
    day = feed.market.tape.day(now_ms)
    bid, bid_steps, ask, ask_steps = feed.market.book.best()
    volume = wire.quantity(day.quantity)
    return {
        "a": [_padded(wire.price(-ask)), "1", wire.quantity(ask_steps)],
        "b": [_padded(wire.price(bid)), "1", wire.quantity(bid_steps)],
        "c": [_padded(wire.price(day.close)), wire.quantity(day.last_quantity)],
        "v": [volume, volume],
        "t": [day.fills, day.fills],
        "l": [_padded(wire.price(day.low))] * 2,
        "h": [_padded(wire.price(day.high))] * 2,
        "o": _padded(wire.price(day.open)),
    }


def _padded(price: str) -> str:
    """REST has five places or more."""
    head, _, places = price.partition(".")
    return f"{head}.{places.ljust(PRICE_PLACES, '0')}"


def _enveloped(answer: Answer) -> Answer:
    return lambda query, faults: {"error": [], "result": answer(query, faults)}
