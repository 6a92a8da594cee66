"""OKX's REST under `/api/v5` (OKX docs): every answer is `{"code":"0","msg":"","data":[…]}`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
from aiohttp import web

from workers.sim.engine.book import sides_of
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.history import Day
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.engine.rest_routes import Answer, Query, RestRefusal, RestRoutes, whole
from workers.sim.okx.feed import OkxFeed
from workers.sim.okx.symbols import CONTRACT_VALUES, INSTRUMENT_TYPES

WINDOW_S: Final = 2
BUSY: Final = {"code": "50011", "msg": "Too Many Requests", "data": []}
FAILED: Final = {"code": "50001", "msg": "Service temporarily unavailable. Try again later", "data": []}
LARGEST_ID: Final = 2**63


class OkxRest:
    """Public market data of both markets."""

    def __init__(self, exchange: Exchange[OkxFeed], clock_ms: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock_ms = clock_ms

    def routes(self) -> list[web.RouteDef]:
        """Each route has a limit of its own, requests in two seconds."""
        routes = RestRoutes(
            self._exchange.faults,
            self._clock_ms,
            RestErrors(BUSY, FAILED),
            self._market_of,
            "instId",
        )
        answers: dict[str, tuple[int, Answer]] = {
            "public/time": (10, self._time),
            "public/instruments": (20, self._instruments),
            "market/tickers": (20, self._tickers),
            "market/books": (40, self._book),
            "market/trades": (100, self._trades),
            "market/history-trades": (20, self._history),
        }
        return [
            routes.route(f"/api/v5/{name}", WeightPool(limit, WINDOW_S), _enveloped(answer))
            for name, (limit, answer) in answers.items()
        ]

    def _market_of(self, query: Query) -> str:
        kind = query.get("instType", "")
        named = [market for market, text in INSTRUMENT_TYPES.items() if text == kind]
        symbol = query.get("instId", "")
        holding = [market for market in INSTRUMENT_TYPES if symbol in self._exchange.listed(market)]
        return next(iter([*named, *holding]), "")

    def _of_type(self, query: Query) -> list[OkxFeed]:
        kind = query.get("instType", "")
        if kind in ("FUTURES", "OPTION", "MARGIN"):
            return []
        market = self._market_of({"instType": kind})
        if not market:
            raise _refusal(400, "51000", "Parameter instType error")
        symbol = query.get("instId", "")
        feeds = self._exchange.listed(market)
        return [feed for name, feed in feeds.items() if symbol in ("", name)]

    def _feed(self, query: Query) -> OkxFeed:
        symbol = query.get("instId", "")
        if not symbol:
            raise _refusal(400, "50014", "Parameter instId can not be empty.")
        for market in self._exchange.flavour.markets:
            feed = self._exchange.listed(market).get(symbol)
            if feed is not None:
                return feed
        raise _refusal(200, "51001", "Instrument ID doesn't exist.")

    def _time(self, _query: Query, _faults: RestFaults) -> list[Any]:
        return [{"ts": str(int(self._clock_ms()))}]

    def _instruments(self, query: Query, faults: RestFaults) -> list[Any]:
        rows = [feed.wire.instrument(feed.status, feed.market.grid) for feed in self._of_type(query)]
        return faults.listing(rows, "tickSz")

    def _tickers(self, query: Query, faults: RestFaults) -> list[Any]:
        now_ms = int(self._clock_ms())
        return faults.listing([ticker(feed, now_ms) for feed in self._of_type(query)], "last")

    def _book(self, query: Query, faults: RestFaults) -> list[Any]:
        feed = self._feed(query)
        size = max(1, min(400, whole(query, "sz", 1, _refusal(400, "51000", "Parameter sz error"))))
        _, levels = feed.market.changes.book_at(faults.copy_id(feed, self._clock_ms()))
        bids, asks = sides_of(levels.items())
        if faults.strike("snapshot_empty") is not None:
            bids = asks = []
        return [
            {
                "asks": msgspec.Raw(feed.wire.okx_levels(asks[:size]).encode()),
                "bids": msgspec.Raw(feed.wire.okx_levels(bids[:size]).encode()),
                "ts": str(int(self._clock_ms())),
            }
        ]

    def _trades(self, query: Query, _faults: RestFaults) -> list[Any]:
        feed = self._feed(query)
        limit = _limit(query, 100, 500)
        tape = feed.market.tape
        rows = tape.trades(max(tape.first_trade_id, tape.next_trade_id - limit), limit)
        return [feed.wire.rest_trade(fill) for fill in reversed(rows)]

    def _history(self, query: Query, _faults: RestFaults) -> list[Any]:
        """Newest first: ids older than `after`, newer than `before`."""
        feed = self._feed(query)
        tape = feed.market.tape
        limit = _limit(query, 100, 100)
        error = _refusal(400, "51000", "Parameter after error")
        end = min(tape.next_trade_id, whole(query, "after", LARGEST_ID, error))
        start = max(tape.first_trade_id, whole(query, "before", -1, error) + 1, end - limit)
        rows = tape.trades(start, end - start) if end > start else []
        return [feed.wire.rest_trade(fill) for fill in reversed(rows)]


def ticker(feed: OkxFeed, now_ms: int) -> dict[str, str]:
    """What an instrument traded in the last day; volumes in contracts and base coins (swap), base and quote (spot)."""
    wire, spec = feed.wire, feed.spec
    day = feed.market.tape.day(now_ms)
    bid, bid_steps, ask, ask_steps = feed.market.book.best()
    return {
        "instType": INSTRUMENT_TYPES[spec.market],
        "instId": spec.symbol,
        "last": wire.price(day.close),
        "lastSz": wire.quantity(day.last_quantity),
        "askPx": wire.price(-ask),
        "askSz": wire.quantity(ask_steps),
        "bidPx": wire.price(bid),
        "bidSz": wire.quantity(bid_steps),
        "open24h": wire.price(day.open),
        "high24h": wire.price(day.high),
        "low24h": wire.price(day.low),
        "volCcy24h": _currency_volume(feed, day),
        "vol24h": wire.quantity(day.quantity),
        "ts": str(now_ms),
    }


def _currency_volume(feed: OkxFeed, day: Day) -> str:
    """Quote coins for spot, base coins for contracts."""
    spec = feed.spec
    if spec.market == "swap":
        value = Decimal(CONTRACT_VALUES.get(spec.base_asset, "1"))
        return f"{Decimal(feed.wire.quantity(day.quantity)) * value:f}"
    decimals = spec.price_decimals + spec.quantity_decimals
    return f"{Decimal(day.notional * spec.tick_units).scaleb(-decimals):f}"


def _limit(query: Query, default: int, most: int) -> int:
    asked = whole(query, "limit", default, _refusal(400, "51000", "Parameter limit error"))
    return max(1, min(most, asked))


def _refusal(status: int, code: str, message: str) -> RestRefusal:
    return RestRefusal(status, {"code": code, "msg": message, "data": []})


def _enveloped(answer: Answer) -> Answer:
    return lambda query, faults: {"code": "0", "msg": "", "data": answer(query, faults)}
