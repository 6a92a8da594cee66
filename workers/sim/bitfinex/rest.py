"""Bitfinex's REST under `/v2` (Bitfinex docs): arrays, kept by the edge for some seconds, errors with status 500."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from workers.sim.bitfinex.feed import LENGTHS, BitfinexFeed
from workers.sim.bitfinex.symbols import pair_name, symbol_of
from workers.sim.engine.book import sides_of
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import STRANGE_NAMES, RestErrors, RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, RestRoutes, kept, whole

WINDOW_S: Final = 60
KEPT_MS: Final = 5_000
TRADES: Final = 125
MOST_TRADES: Final = 10_000
LAST_MS: Final = 10**15
BUSY: Final = {"error": "ERR_RATE_LIMIT"}
FAILED: Final = ["error", 20060, "maintenance"]
FUNDING_TICKER: Final = [
    "fUSD", 0.00038, 0.00036, 30, 1e6, 0.0003, 2, 1e5, 0, 0, 0.0003, 1e8, 0.001, 1e-7, None, None, 0
]  # fmt: skip


class BitfinexRest:
    """Public market data."""

    def __init__(self, exchange: Exchange[BitfinexFeed], clock_ms: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock_ms = clock_ms

    def routes(self) -> list[web.RouteDef]:
        """Each route has a limit of its own, requests a minute."""
        routes = RestRoutes(
            self._exchange.faults,
            self._clock_ms,
            RestErrors(BUSY, FAILED),
            lambda _query: "spot",
            "symbol",
            symbol_of,
        )
        answers: dict[str, tuple[int, Answer]] = {
            "platform/status": (30, lambda _query, _faults: [1]),
            "conf/{key}": (90, self._lists),
            "tickers": (30, self._tickers),
            "book/{symbol}/{precision}": (240, self._book),
            "trades/{symbol}/hist": (15, self._trades),
        }
        return [
            routes.route(
                f"/v2/{path}",
                WeightPool(limit, WINDOW_S),
                kept(answer, KEPT_MS, self._clock_ms),
            )
            for path, (limit, answer) in answers.items()
        ]

    def _feeds(self) -> dict[str, BitfinexFeed]:
        feeds = self._exchange.listed("spot")
        return {symbol: feed for symbol, feed in feeds.items() if feed.status == "listed"}

    def _feed(self, query: Query) -> BitfinexFeed:
        name = query["symbol"]
        feed = self._feeds().get(symbol_of(name)) if name.startswith("t") else None
        if feed is None:
            raise _invalid("symbol")
        return feed

    def _lists(self, query: Query, faults: RestFaults) -> list[Any]:
        """`pub:list:pair:exchange`, `pub:list:pair:futures` and `pub:info:pair`."""
        names: list[Any] = []
        for symbol in self._feeds():
            if faults.strike("bad_listing", symbol) is not None:
                names += [None, 7, *STRANGE_NAMES]
            else:
                names.append(pair_name(symbol))
        if query["key"] == "pub:info:pair":
            sizes = [None, None, None, "0.00004", "2000.0", None, None, None, None, None, None, None]
            return [[[name, sizes] for name in names]]
        if query["key"] not in ("pub:list:pair:exchange", "pub:list:pair:futures"):
            raise _invalid("key")
        return [names if query["key"].endswith("exchange") else []]

    def _tickers(self, query: Query, faults: RestFaults) -> list[Any]:
        feeds, names = self._feeds(), query.get("symbols", "")
        if not names:
            raise _invalid("symbols")
        chosen = list(feeds.values())
        if names != "ALL":
            chosen = [feeds[symbol_of(name)] for name in names.split(",") if symbol_of(name) in feeds]
        now_ms = int(self._clock_ms())
        rows = [ticker(feed, now_ms) for feed in chosen]
        for feed, row in zip(chosen, rows, strict=True):
            if faults.strike("bad_listing", feed.spec.symbol) is not None:
                row[7] = None
        return [*rows, FUNDING_TICKER] if names == "ALL" else rows

    def _book(self, query: Query, faults: RestFaults) -> list[Any]:
        feed = self._feed(query)
        if query["precision"] != "P0":
            raise _invalid("precision")
        length = whole(query, "len", 25, _invalid("len"))
        if length not in LENGTHS:
            raise _invalid("len")
        _, levels = feed.market.changes.book_at(faults.copy_id(feed, self._clock_ms()))
        bids, asks = sides_of(levels.items())
        return [msgspec.Raw(row.encode()) for row in feed.wire.rows(bids[:length], asks[:length])]

    def _trades(self, query: Query, _faults: RestFaults) -> list[Any]:
        """From `start` to `end`, ms, both included; the newest first, or with `sort=1` the oldest."""
        feed = self._feed(query)
        limit = whole(query, "limit", TRADES, _invalid("limit"))
        if limit > MOST_TRADES:
            raise _invalid("limit")
        tape = feed.market.tape
        fills = tape.trades(tape.first_trade_id, 10**9)
        start = bisect_left(fills, whole(query, "start", 0, _invalid("start")), key=lambda fill: fill.time)
        end = bisect_right(fills, whole(query, "end", LAST_MS, _invalid("end")), key=lambda fill: fill.time)
        page = fills[start:end]
        page = page[:limit] if query.get("sort") == "1" else page[::-1][:limit]
        return [msgspec.Raw(feed.wire.trade(fill).encode()) for fill in page]


def ticker(feed: BitfinexFeed, now_ms: int) -> list[Any]:
    """Bid, ask, change, last price, volume, high and low of a pair's last day."""
    wire = feed.wire
    day = feed.market.tape.day(now_ms)
    bid, bid_steps, ask, ask_steps = feed.market.book.best()
    texts = [
        wire.price_number(bid), wire.amount_number(bid_steps),
        wire.price_number(-ask), wire.amount_number(ask_steps),
        "0", "0", wire.price_number(day.close), wire.amount_number(day.quantity),
        wire.price_number(day.high), wire.price_number(day.low),
    ]  # fmt: skip
    return [wire.name, *(msgspec.Raw(text.encode()) for text in texts)]


def _invalid(parameter: str) -> RestRefusal:
    return RestRefusal(500, ["error", 10020, f"{parameter}: invalid"])
