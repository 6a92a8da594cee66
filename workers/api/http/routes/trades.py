"""Questions about trades and their windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from msgspec import UnsetType
from redis.asyncio import Redis

from workers.api.http.markets import Market, Markets
from workers.api.http.operations import Operation
from workers.api.http.queries import BarsQuery, OfSymbol, Time, TradesQuery, number, to_ms
from workers.api.http.queries import rows as rows_wanted
from workers.api.http.types import BarRecord, BarsAnswer, Kline, StatsAnswer, TradeRecord, TradesAnswer
from workers.archive.files.past_trades import FiledTrades
from workers.archive.files.storage import Storage
from workers.errors import ArchiveUnreadable, BadInput, TryLater
from workers.model.events import Trade
from workers.model.trades.latest import LatestTrade
from workers.model.trades.windows import INTERVALS_MS
from workers.store.trades.bars import BarReader, interval_ms
from workers.store.trades.latest import LatestTrades

log = structlog.get_logger()

NO_END_MS = 4_102_444_800_000
"""Where a range without an end ends (the year 2100): our clock may be behind the exchange's by anything."""


class TradeRoutes:
    """`/trades`, `/bars`, `/stats`.

    Args:
        archive: has what Redis has no more; None: nobody has.
    """

    def __init__(
        self, markets: Markets, client: Redis, most_rows: int, archive: Storage | None = None
    ) -> None:
        self._filed = {name: FiledTrades(archive, name) for name in markets.contexts} if archive else {}
        self._markets = markets
        self._most_rows = most_rows
        self._trades = {name: LatestTrades(client, one.keys) for name, one in markets.contexts.items()}
        self._bars = {name: BarReader(client, one.keys) for name, one in markets.contexts.items()}

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/trades",
                "getTrades",
                "Trades of the last 24 h, and of the archive",
                "trades",
                TradesAnswer,
                self.trades,
                TradesQuery,
                problems=(404, 422, 503),
                described="Without `from` and `after_id` the newest `limit` before `to`; with them the oldest there "
                "are. `next_after_id` leads to the next page. A stretch that begins before what Redis has begins with "
                "what the archive has.",
            ),
            Operation(
                "GET",
                "/bars/{interval}",
                "getBars",
                "Trade windows, closed and open",
                "trades",
                BarsAnswer | list[Kline],
                self.bars,
                BarsQuery,
                problems=(404, 422, 503),
                described="Windows with `from <= start < to`, the oldest that fit; without `from` the newest. The "
                "open window is the last, with "
                "`closed` false. `format=klines` gives the arrays of Binance's `/klines`; its taker quote volume "
                "is not known and null.",
            ),
            Operation(
                "GET",
                "/stats",
                "getStats",
                "The newest window of each interval",
                "trades",
                StatsAnswer,
                self.stats,
                OfSymbol,
                problems=(404, 422, 503),
            ),
        ]

    async def trades(self, asked: TradesQuery) -> TradesAnswer:
        """`GET /trades`."""
        market = self._markets.find(asked.symbol, asked.venue)
        limit = rows_wanted(asked.limit, self._most_rows)
        reader = self._trades[market.venue]
        after = None if isinstance(asked.after_id, UnsetType) else asked.after_id
        begin, end = range_of(asked.from_, asked.to)
        newest = isinstance(asked.from_, UnsetType) and after is None
        if newest:
            rows = await reader.newest(market.symbol, limit, end)
        else:
            rows = await self._filed_trades(market, begin, end, limit, after)
            if len(rows) < limit:
                rows += await reader.between(
                    market.symbol,
                    _after(begin, rows),
                    end,
                    limit - len(rows),
                    rows[-1].agg_trade_id if rows else after,
                )
        if not rows:
            market.refuse_unlisted("query.symbol")
        full = len(rows) == limit and not newest
        return TradesAnswer(
            market.venue,
            market.symbol,
            [trade_record(row, asked.numbers) for row in rows],
            rows[-1].agg_trade_id if full else None,
        )

    async def bars(self, asked: BarsQuery) -> BarsAnswer | list[Any]:
        """`GET /bars/{interval}`."""
        market = self._markets.find(asked.symbol, asked.venue)
        rows = await self._windows(market, asked)
        if not rows:
            market.refuse_unlisted("query.symbol")
        if asked.format == "klines":
            return [kline(row, asked.interval, asked.numbers) for row in rows]
        bars = [bar_record(row, asked.interval, asked.numbers) for row in rows]
        return BarsAnswer(market.venue, market.symbol, asked.interval, bars)

    async def _windows(self, market: Market, asked: BarsQuery) -> list[Mapping[str, str]]:
        reader, limit = self._bars[market.venue], rows_wanted(asked.limit, self._most_rows)
        newest = isinstance(asked.from_, UnsetType)
        begin, end = range_of(asked.from_, asked.to)
        if newest:
            before = None if isinstance(asked.to, UnsetType) else end
            rows = list(await reader.newest(market.symbol, asked.interval, limit, before))
        else:
            rows = list(await self._filed_bars(market, asked.interval, begin, end, limit))
            if len(rows) < limit:
                first = int(rows[-1]["start"]) + 1 if rows else begin
                rows += await reader.between(market.symbol, asked.interval, first, end, limit - len(rows))
        if len(rows) == limit and not newest:
            return rows
        current = (await reader.open_windows(market.symbol, [asked.interval])).get(asked.interval)
        if current is not None and current.get("closed") != "1":
            start = int(current["start"])
            if begin <= start < end and (not rows or start > int(rows[-1]["start"])):
                rows.append(current)
        return rows[-limit:]

    async def _filed_trades(
        self, market: Market, begin: int, end: int, limit: int, after: int | None
    ) -> list[LatestTrade]:
        """Those of the archive that are older than all in Redis."""
        reader, filed = self._trades[market.venue], self._filed.get(market.venue)
        if filed is None:
            return []
        oldest = await reader.oldest_ms(market.symbol)
        before = end if oldest is None else min(end, oldest)
        if begin >= before or (after is not None and await reader.holds(market.symbol, after)):
            return []
        with archive_problems(market):
            return [
                _latest(trade) for trade in await filed.trades(market.symbol, begin, before, limit, after)
            ]

    async def _filed_bars(
        self, market: Market, interval: str, begin: int, end: int, limit: int
    ) -> list[dict[str, str]]:
        filed = self._filed.get(market.venue)
        if filed is None:
            return []
        oldest = await self._bars[market.venue].oldest_ms(market.symbol, interval)
        before = end if oldest is None else min(end, oldest)
        if begin >= before:
            return []
        with archive_problems(market):
            return await filed.bars(market.symbol, interval, begin, before, limit)

    async def stats(self, asked: OfSymbol) -> StatsAnswer:
        """`GET /stats`."""
        market = self._markets.find(asked.symbol, asked.venue)
        found = await self._bars[market.venue].open_windows(market.symbol, list(INTERVALS_MS))
        if not found:
            market.refuse_unlisted("query.symbol")
        stats = {name: bar_record(fields, name, asked.numbers) for name, fields in found.items()}
        return StatsAnswer(market.venue, market.symbol, stats)


def range_of(begin: Time | UnsetType, end: Time | UnsetType) -> tuple[int, int]:
    """A range of ms; without an end all that there is. Raises: BadInput."""
    from_ms = 0 if isinstance(begin, UnsetType) else to_ms(begin)
    to = NO_END_MS if isinstance(end, UnsetType) else to_ms(end)
    if to <= from_ms and not isinstance(end, UnsetType):
        raise BadInput("The range is empty", "`to` must be later than `from`", "query.to")
    return from_ms, to


@contextmanager
def archive_problems(market: Market) -> Iterator[None]:
    """What the archive cannot do now is said, rather than answered as nothing. Raises: TryLater."""
    try:
        yield
    except (OSError, ArchiveUnreadable) as error:
        log.error("archive_not_read", venue=market.venue, symbol=market.symbol, error=str(error))
        raise TryLater(
            "The archive cannot be read", "what Redis has can be asked for by a later `from`"
        ) from error


def _latest(trade: Trade) -> LatestTrade:
    ids = trade.trade_id, trade.price, trade.quantity, trade.first_trade_id, trade.last_trade_id
    times = trade.trade_time, trade.is_buyer_maker, trade.name
    return LatestTrade("aggTrade", trade.event_time, trade.symbol, *ids, *times)


def _after(begin: int, rows: Sequence[LatestTrade]) -> int:
    return max([begin, *(row.trade_time for row in rows[-1:])])


def trade_record(row: LatestTrade, numbers: bool) -> TradeRecord:
    """A trade as the API gives it."""
    return TradeRecord(
        id=row.agg_trade_id,
        price=number(row.price, numbers),
        quantity=number(row.quantity, numbers),
        time_ms=row.trade_time,
        is_buyer_maker=row.is_buyer_maker,
        first_trade_id=row.first_trade_id,
        last_trade_id=row.last_trade_id,
        venue_trade_id=row.venue_trade_id,
    )


def bar_record(fields: Mapping[str, str], interval: str, numbers: bool) -> BarRecord:
    """A window as the API gives it; `fields` of `bars:{S}:*` (closed) or `stats:{S}:*`."""
    start = int(fields["start"])
    return BarRecord(
        start_ms=start,
        end_ms=start + interval_ms(interval) - 1,
        open=number(fields["open_price"], numbers),
        high=number(fields["high_price"], numbers),
        low=number(fields["low_price"], numbers),
        close=number(fields["close_price"], numbers),
        volume=number(fields["volume"], numbers),
        quote_volume=number(fields["quote_volume"], numbers),
        buy_volume=number(fields["buy_volume"], numbers),
        trades_count=int(fields["trades_count"]),
        is_buyer_maker_count=int(fields["is_buyer_maker_count"]),
        skipped_count=int(fields["skipped_count"]),
        first_trade_id=int(fields["first_trade_id"]),
        last_trade_id=int(fields["last_trade_id"]),
        first_agg_trade_id=int(fields["first_agg_trade_id"]),
        last_agg_trade_id=int(fields["last_agg_trade_id"]),
        last_trade_ms=int(fields["last_update_time"]),
        complete=fields["complete"] == "1",
        reason=fields.get("reason", ""),
        revision=int(fields["revision"]),
        closed=fields.get("closed", "1") == "1",
    )


def kline(fields: Mapping[str, str], interval: str, numbers: bool) -> list[Any]:
    """A window as Binance's REST gives it."""
    start = int(fields["start"])
    raw_trades = int(fields["last_trade_id"]) - int(fields["first_trade_id"]) + 1
    prices = [number(fields[f"{name}_price"], numbers) for name in ("open", "high", "low", "close")]
    return [
        start,
        *prices,
        number(fields["volume"], numbers),
        start + interval_ms(interval) - 1,
        number(fields["quote_volume"], numbers),
        raw_trades if raw_trades > 0 else int(fields["trades_count"]),  # ids may begin anew within a window
        number(fields["buy_volume"], numbers),
        None,
        None,
    ]
