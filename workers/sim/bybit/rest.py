"""Bybit's REST under `/v5/market` (Bybit docs): status 200 and `retCode`, `retMsg`, `result`, `time`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from aiohttp import web

from workers.sim.bybit.feed import BybitFeed
from workers.sim.bybit.symbols import MARKETS
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, RestRoutes, whole

REQUESTS: Final = 600
WINDOW_S: Final = 5
BAN_S: Final = 600.0
LAUNCH_MS: Final = 1_584_230_400_000
SPOT_TRADES: Final = 60
TRADES: Final = 1000
PAGE: Final = 500
LARGEST_PAGE: Final = 1000
BOOK_DEPTH: Final = 1000
BUSY: Final = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "retExtInfo": {}}
FAILED: Final = {"retCode": 10016, "retMsg": "Server error", "result": {}, "retExtInfo": {}}


class BybitRest:
    """Public market data of both categories."""

    def __init__(self, exchange: Exchange[BybitFeed], clock_ms: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock_ms = clock_ms

    def routes(self) -> list[web.RouteDef]:
        """All routes share one limit; whoever goes over it is shut out for ten minutes."""
        pool = WeightPool(REQUESTS, WINDOW_S, 0, BAN_S)
        routes = RestRoutes(
            self._exchange.faults,
            self._clock_ms,
            RestErrors(BUSY, FAILED),
            lambda query: query.get("category", ""),
            "symbol",
            refused=_shut_out,
        )
        answers: dict[str, Answer] = {
            "time": self._time,
            "instruments-info": self._instruments,
            "tickers": self._tickers,
            "recent-trade": self._trades,
            "orderbook": self._book,
        }
        return [
            routes.route(f"/v5/market/{name}", pool, self._enveloped(answer))
            for name, answer in answers.items()
        ]

    def _enveloped(self, answer: Answer) -> Answer:
        def enveloped(query: Query, faults: RestFaults) -> dict[str, Any]:
            return {
                "retCode": 0,
                "retMsg": "OK",
                "result": answer(query, faults),
                "retExtInfo": {},
                "time": int(self._clock_ms()),
            }

        return enveloped

    def _feeds(self, query: Query) -> list[BybitFeed]:
        category = query.get("category", "")
        if category not in MARKETS:
            raise _refusal("params error: Category is invalid")
        symbol = query.get("symbol", "")
        feeds = self._exchange.listed(category)
        if symbol and symbol not in feeds:
            raise _refusal("params error: symbol invalid")
        return [feeds[symbol]] if symbol else list(feeds.values())

    def _feed(self, query: Query) -> BybitFeed:
        if not query.get("symbol"):
            raise _refusal("params error: symbol invalid")
        return self._feeds(query)[0]

    def _time(self, _query: Query, _faults: RestFaults) -> dict[str, str]:
        now_ms = self._clock_ms()
        return {"timeSecond": str(int(now_ms // 1000)), "timeNano": str(int(now_ms * 1_000_000))}

    def _instruments(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        """Linear in pages; spot at once. The cursor is the number of the next row."""
        feeds = self._feeds(query)
        category = query["category"]
        start, limit = 0, len(feeds)
        if category != "spot":
            error = _refusal("params error: cursor invalid")
            start = whole(query, "cursor", 0, error)
            limit = max(1, min(LARGEST_PAGE, whole(query, "limit", PAGE, error)))
        page = faults.listing([instrument(feed) for feed in feeds[start : start + limit]], "lotSizeFilter")
        following = str(start + limit) if start + limit < len(feeds) else ""
        found: dict[str, Any] = {"category": category, "list": page}
        return found if category == "spot" else found | {"nextPageCursor": following}

    def _tickers(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        now_ms = int(self._clock_ms())
        rows = faults.listing([ticker(feed, now_ms) for feed in self._feeds(query)], "lastPrice")
        return {"category": query["category"], "list": rows}

    def _trades(self, query: Query, _faults: RestFaults) -> dict[str, Any]:
        """Newest first; no way to ask for older ones."""
        feed = self._feed(query)
        most = SPOT_TRADES if query["category"] == "spot" else TRADES
        default = SPOT_TRADES if query["category"] == "spot" else PAGE
        limit = max(1, min(most, whole(query, "limit", default, _refusal("params error: limit invalid"))))
        tape = feed.market.tape
        rows = tape.trades(max(tape.first_trade_id, tape.next_trade_id - limit), limit)
        listed = [feed.wire.rest_trade(fill, feed.seq_of(fill)) for fill in reversed(rows)]
        return {"category": query["category"], "list": listed}

    def _book(self, query: Query, faults: RestFaults) -> dict[str, Any]:
        """The book of the topic of 1,000 levels, with its `u`."""
        feed = self._feed(query)
        limit = max(1, min(BOOK_DEPTH, whole(query, "limit", 25, _refusal("params error: limit invalid"))))
        book = feed.books[BOOK_DEPTH]
        book.look()
        bids, asks = book.window.levels()
        if faults.strike("snapshot_empty") is not None:
            bids = asks = []
        ids = book.ids()
        return {
            "s": feed.spec.symbol,
            "b": msgspec.Raw(feed.wire.levels(bids[:limit]).encode()),
            "a": msgspec.Raw(feed.wire.levels(asks[:limit]).encode()),
            "ts": int(self._clock_ms()),
            "u": ids.u,
            "seq": ids.seq,
            "cts": ids.cts,
        }


def instrument(feed: BybitFeed) -> dict[str, Any]:
    """A row of `instruments-info`."""
    wire, spec = feed.wire, feed.spec
    row: dict[str, Any] = {"symbol": spec.symbol, "baseCoin": spec.base_asset, "quoteCoin": spec.quote_asset}
    row |= {"status": feed.status, "priceFilter": {"tickSize": wire.price(feed.market.grid)}}
    if wire.spot:
        lot = {"basePrecision": spec.step_size, "minOrderQty": spec.step_size}
        return row | {"innovation": "0", "lotSizeFilter": lot}
    dated = "-" in spec.symbol
    return row | {
        "contractType": "LinearFutures" if dated else "LinearPerpetual",
        "launchTime": str(LAUNCH_MS),
        "deliveryTime": "0",
        "settleCoin": spec.quote_asset,
        "lotSizeFilter": {"qtyStep": spec.step_size, "minOrderQty": spec.step_size},
    }


def ticker(feed: BybitFeed, now_ms: int) -> dict[str, str]:
    """What a symbol traded in the last day."""
    wire, spec = feed.wire, feed.spec
    day = feed.market.tape.day(now_ms)
    bid, bid_steps, ask, ask_steps = feed.market.book.best()
    turnover = Decimal(day.notional * spec.tick_units).scaleb(-spec.price_decimals - spec.quantity_decimals)
    return {
        "symbol": spec.symbol,
        "bid1Price": wire.price(bid),
        "bid1Size": wire.quantity(bid_steps),
        "ask1Price": wire.price(-ask),
        "ask1Size": wire.quantity(ask_steps),
        "lastPrice": wire.price(day.close),
        "prevPrice24h": wire.price(day.open),
        "highPrice24h": wire.price(day.high),
        "lowPrice24h": wire.price(day.low),
        "turnover24h": f"{turnover:f}",
        "volume24h": wire.quantity(day.quantity),
    }


def _refusal(message: str) -> RestRefusal:
    return RestRefusal(200, {"retCode": 10001, "retMsg": message, "result": {}, "retExtInfo": {}})


def _shut_out() -> web.Response:
    return web.Response(status=403, text="access too frequent", content_type="text/plain")
