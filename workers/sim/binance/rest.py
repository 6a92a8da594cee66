"""REST market data of both markets under `/spot/api/v3` and `/usdm/fapi/v1` (Binance docs).

Every answer carries the weight used; a request over the limit gets 429, one that goes on asking 418. Depth
comes from a cached copy that lags the streams, and is exactly the book after its `lastUpdateId`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from aiohttp import web

from workers.sim.binance.exchange_info import exchange_info
from workers.sim.binance.feed import BinanceFeed
from workers.sim.binance.symbols import Market
from workers.sim.binance.tickers import ticker
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.history import AggregateTrade
from workers.sim.engine.limits import Verdict, WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults
from workers.sim.settings import SimSettings

Query = Mapping[str, str]
Answer = Callable[[Market, Query, RestFaults], str | bytes]

REST_ROOTS: Final[dict[Market, str]] = {"spot": "/spot/api/v3", "usdm": "/usdm/fapi/v1"}
WEIGHTS: Final[dict[Market, dict[str, int]]] = {
    "spot": {"ping": 1, "time": 1, "exchangeInfo": 20, "aggTrades": 4, "trades": 25},
    "usdm": {"ping": 1, "time": 1, "exchangeInfo": 1, "aggTrades": 20, "trades": 5, "openInterest": 1},
}
SPOT_DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1000, 50), (10**20, 250))
TICKER_WEIGHTS: Final[dict[Market, tuple[tuple[int, int], ...]]] = {
    "spot": ((20, 2), (100, 40), (10**20, 80)),
    "usdm": ((1, 1), (10**20, 40)),
}
USDM_DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
SPOT_DEPTH_LIMIT: Final = 5000
TRADES_LIMIT: Final = 1000
HOUR_MS: Final = 3_600_000
REMEMBERED_SNAPSHOTS: Final = 16
ERRORS: Final = RestErrors(
    busy={"code": -1003, "msg": "Too much request weight used."},
    failed={"code": -1000, "msg": "An unknown error occurred while processing the request."},
)
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)

TOO_MUCH: Final = (
    "Too much request weight used; current limit is {limit} request weight per {interval}. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
BANNED: Final = (
    "Way too much request weight used; IP banned until {until}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)


class RequestRefusedError(Exception):
    """A request that is answered with status 400 and an error code."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class BinanceRest:
    """The REST endpoints of both markets over one exchange."""

    def __init__(
        self, settings: SimSettings, exchange: Exchange[BinanceFeed], clock_ms: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._clock_ms = clock_ms
        limits: dict[Market, int] = {"spot": settings.spot_weight_limit, "usdm": settings.usdm_weight_limit}
        self.pools = {
            market: WeightPool(limit, settings.weight_window_s, settings.ban_after_ignored, settings.ban_s)
            for market, limit in limits.items()
        }
        self._snapshots: OrderedDict[BinanceFeed, tuple[int, list[tuple[int, int]]]] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """The routes of both markets."""
        answers: dict[str, Answer] = {
            "ping": lambda _market, _query, _faults: "{}",
            "time": self._time,
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "aggTrades": self._aggregate_trades,
            "trades": self._trades,
            "ticker/24hr": self._tickers,
            "openInterest": self._open_interest,
        }
        return [
            web.get(f"{root}/{name}", self._handler(market, name, answer))
            for market, root in REST_ROOTS.items()
            for name, answer in answers.items()
            if name != "openInterest" or market == "usdm"
        ]

    def _handler(
        self, market: Market, name: str, answer: Answer
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        pool = self.pools[market]

        async def handle(request: web.Request) -> web.Response:
            faults = RestFaults(self._exchange.faults, market, request, ERRORS)
            await faults.before()
            weight = request_weight(market, name, request.query)
            verdict = pool.charge(request.remote or "", weight, self._clock_ms())
            headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used)}
            instead = faults.instead(headers)
            if instead is not None:
                return instead
            if verdict.status != 200:
                return _refused(pool, verdict)
            try:
                body = faults.after(answer(market, request.query, faults))
            except RequestRefusedError as refusal:
                error = {"code": refusal.code, "msg": refusal.message}
                return _json(400, msgspec.json.encode(error), headers)
            return _json(200, body, headers)

        return handle

    def _open_interest(self, market: Market, query: Query, _faults: RestFaults) -> bytes:
        feed = self._feed(market, query)
        interest = feed.derivative.open_interest if feed.derivative else "0"
        return msgspec.json.encode(
            {"symbol": feed.spec.symbol, "openInterest": interest, "time": int(self._clock_ms())}
        )

    def _time(self, _market: Market, _query: Query, _faults: RestFaults) -> str:
        return f'{{"serverTime":{int(self._clock_ms())}}}'

    def _exchange_info(self, market: Market, query: Query, faults: RestFaults) -> bytes:
        chosen = self._chosen(market, query)
        if "symbolStatus" in query:
            chosen = [feed for feed in chosen if feed.status == query["symbolStatus"]]
        found = exchange_info(market, chosen, self.pools[market], int(self._clock_ms()), query)
        return msgspec.json.encode(found | {"symbols": faults.listing(found["symbols"], "filters")})

    def _chosen(self, market: Market, query: Query) -> list[BinanceFeed]:
        """The feeds a request names by `symbol` or `symbols`, else all."""
        feeds = self._exchange.listed(market)
        wanted = _wanted(query)
        if wanted is None:
            return list(feeds.values())
        if not all(symbol in feeds for symbol in wanted):
            raise RequestRefusedError(-1121, "Invalid symbol.")
        return [feeds[symbol] for symbol in wanted]

    def _tickers(self, market: Market, query: Query, faults: RestFaults) -> bytes:
        now_ms = int(self._clock_ms())
        rows = [ticker(feed, now_ms) for feed in self._chosen(market, query)]
        return msgspec.json.encode(rows[0] if "symbol" in query else faults.listing(rows, "lastPrice"))

    def _depth(self, market: Market, query: Query, faults: RestFaults) -> str:
        feed = self._feed(market, query)
        if market == "spot":
            limit = min(_number(query, "limit", 100), SPOT_DEPTH_LIMIT)
        else:
            limit = _number(query, "limit", 500)
        if limit < 1 or (market == "usdm" and limit not in USDM_DEPTH_WEIGHTS):
            raise RequestRefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
        now_ms = self._clock_ms()
        update_id, levels = self._snapshot(feed, now_ms, faults)
        bids = [level for level in levels if level[0] > 0][:limit]
        asks = [(-key, quantity) for key, quantity in levels if key < 0][:limit]
        wrong = faults.strike("snapshot_wrong") if bids else None
        if wrong is not None:
            # one tick too low, as in the captured fault: the id fits and the level is wrong
            place = min(int(wrong.value), len(bids) - 1)
            bids[place] = bids[place][0] - 1, bids[place][1] + 1
        times = f'"E":{int(now_ms)},"T":{feed.engine_time},' if market == "usdm" else ""
        return (
            f'{{"lastUpdateId":{update_id},{times}'
            f'"bids":{feed.wire.levels(bids)},"asks":{feed.wire.levels(asks)}}}'
        )

    def _snapshot(
        self, feed: BinanceFeed, now_ms: float, faults: RestFaults
    ) -> tuple[int, list[tuple[int, int]]]:
        """The cached copy: its update id and signed levels, bids descending, then asks ascending."""
        if faults.strike("snapshot_empty") is not None:
            return -1, []
        update_id = faults.copy_id(feed, now_ms)
        if faults.strike("snapshot_ahead") is not None:
            update_id = feed.market.last_id
        known = self._snapshots.get(feed)
        if known is None or known[0] != update_id:
            _, levels = feed.market.changes.book_at(update_id)
            known = update_id, sorted(levels.items(), reverse=True)
            self._snapshots[feed] = known
        self._snapshots.move_to_end(feed)
        while len(self._snapshots) > REMEMBERED_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return known

    def _aggregate_trades(self, market: Market, query: Query, _faults: RestFaults) -> bytes:
        feed = self._feed(market, query)
        limit = _trades_limit(query)
        rows = self._page(market, feed, query, limit)
        return msgspec.json.encode([feed.wire.rest_aggregate(trade) for trade in rows])

    def _page(self, market: Market, feed: BinanceFeed, query: Query, limit: int) -> list[AggregateTrade]:
        tape = feed.market.tape
        oldest_id = tape.first_aggregate_id
        if market == "usdm":
            horizon_ms = self._clock_ms() - self._settings.agg_trade_horizon_s * 1000
            oldest_id = tape.first_aggregate_after(horizon_ms)
        start, end = _optional(query, "startTime"), _optional(query, "endTime")
        if "fromId" in query:
            if start is not None or end is not None:
                raise RequestRefusedError(-1128, "Combination of optional parameters invalid.")
            from_id = _number(query, "fromId", 0)
            if from_id < oldest_id and oldest_id > tape.first_aggregate_id:
                raise RequestRefusedError(-1130, "Data sent for parameter 'fromId' is not valid.")
            return tape.aggregates(max(from_id, oldest_id), limit)
        if start is not None and end is not None:
            if start > end:
                raise RequestRefusedError(-1023, "Start time is greater than end time.")
            if market == "usdm" and end - start >= HOUR_MS:
                raise RequestRefusedError(-1127, "More than 1 hours between startTime and endTime.")
        stop_id = tape.next_aggregate_id if end is None else tape.first_aggregate_after(end)
        if start is not None:
            from_id = max(oldest_id, tape.first_aggregate_after(start - 1))
            limit = min(limit, stop_id - from_id)
        else:
            from_id = max(oldest_id, stop_id - limit)
            limit = stop_id - from_id
        return tape.aggregates(from_id, limit) if limit > 0 else []

    def _trades(self, market: Market, query: Query, _faults: RestFaults) -> bytes:
        feed = self._feed(market, query)
        tape = feed.market.tape
        limit = _trades_limit(query)
        rows = tape.trades(max(tape.first_trade_id, tape.next_trade_id - limit), limit)
        return msgspec.json.encode([feed.wire.rest_trade(trade) for trade in rows])

    def _feed(self, market: Market, query: Query) -> BinanceFeed:
        symbol = query.get("symbol", "")
        if not symbol:
            raise RequestRefusedError(
                -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            )
        feed = self._exchange.listed(market).get(symbol)
        if feed is None:
            raise RequestRefusedError(-1121, "Invalid symbol.")
        return feed


def request_weight(market: Market, name: str, query: Query) -> int:
    """What a request costs: depth by its limit (an unusable one as little as possible), tickers by their number."""
    if name == "ticker/24hr":
        named = len(_wanted(query, strict=False) or range(10**6))
        return next(weight for most, weight in TICKER_WEIGHTS[market] if named <= most)
    if name != "depth":
        return WEIGHTS[market][name]
    text = query.get("limit", "100" if market == "spot" else "500")
    limit = int(text) if _NUMBER.fullmatch(text) else 0
    if market == "usdm":
        return USDM_DEPTH_WEIGHTS.get(limit, 2)
    return next(weight for most, weight in SPOT_DEPTH_WEIGHTS if limit <= most)


def _wanted(query: Query, *, strict: bool = True) -> list[str] | None:
    """The symbols a request names; None for all, also where they cannot be read and that is not strict."""
    if "symbol" in query:
        return [query["symbol"]]
    if "symbols" not in query:
        return None
    try:
        return msgspec.json.decode(query["symbols"], type=list[str])
    except msgspec.DecodeError:
        if not strict:
            return None
        raise RequestRefusedError(-1100, "Illegal characters found in parameter 'symbols'.") from None


def _optional(query: Query, name: str) -> int | None:
    return _number(query, name, 0) if name in query else None


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise RequestRefusedError(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )
    return int(text)


def _trades_limit(query: Query) -> int:
    limit = _number(query, "limit", 500)
    if limit < 1:
        raise RequestRefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, TRADES_LIMIT)


def _refused(pool: WeightPool, verdict: Verdict) -> web.Response:
    interval = "1 MINUTE" if pool.window_s == 60 else f"{pool.window_s} SECOND"
    text = TOO_MUCH.format(limit=pool.limit, interval=interval)
    if verdict.status == 418:
        text = BANNED.format(until=verdict.banned_until_ms)
    headers = {
        "X-MBX-USED-WEIGHT-1M": str(verdict.used),
        "Retry-After": str(verdict.retry_after_s),
    }
    return _json(verdict.status, msgspec.json.encode({"code": -1003, "msg": text}), headers)


def _json(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
