"""The side of the sink that talks to PostgreSQL: transactions, holes, days. It waits while the database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError

from workers.errors import MalformedFrame, StateUnreadable
from workers.masking import MASK
from workers.model.pauses import Pauses
from workers.postgres.database import Database, StoredHole, StreamName, is_about_rows
from workers.postgres.metrics import AWAY, EXPIRED, FILLED, REFUSED, REPEATS, ROWS, TRANSACTIONS, UP
from workers.postgres.rows import DAY_MS, REPAIRED, Row, Table, trade_row
from workers.postgres.stream import Chunk, OwnedStream, days_of, missing_runs
from workers.runtime.context import VenueContext
from workers.settings.postgres import PostgresSettings
from workers.store.log.streams import GapRecord
from workers.store.trades.folded import FoldedTrades

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
TRANSACTION_S: Final = 120.0
"""A transaction that takes longer is given up, and its connection with it."""
HOLES_S: Final = 2.0
"""Pause between two looks at the holes."""
HOLES_AT_ONCE: Final = 20
FILLED_AT_ONCE: Final = 5_000
SEARCH_MS: Final = 10_000
"""How far the trades of a hole may lie outside the times of their neighbours."""
EXCHANGE_TIMED: Final = ("trades", "bars")
"""Tables of streams whose entries go by the exchange's time."""
DAYS_S: Final = 60.0
"""Pause between two looks at which days are to be made and to be dropped."""

SymbolGap = tuple[VenueContext, str, GapRecord]


class Writer:
    """Stores what the streams of a worker have read.

    Args:
        streams: those owned now, by key; whoever reads puts chunks into them.
        folded: by venue, what the trades fold has.
        lost: told of a stream whose lease another worker has.
        tell: records gaps in Redis; what fails there is in the database all the same.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        streams: dict[str, OwnedStream],
        folded: dict[str, FoldedTrades],
        lost: Callable[[OwnedStream], None],
        tell: Callable[[Sequence[SymbolGap]], object],
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._folded = folded
        self._lost = lost
        self._tell = tell
        self._database: Database | None = None
        self._pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._away_since = 0.0
        self._holes_at = self._days_at = 0.0
        self._dropped_before = 0

    @property
    def away_s(self) -> float:
        """For how long the database has not done what was asked, seconds; 0: it does."""
        return time.monotonic() - self._away_since if self._away_since else 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Write again and again until `stop`; then what is left, as long as the database does it."""
        try:
            while True:
                stopping = stop.is_set()
                pause_s = await self._round_or_wait()
                if stopping and (pause_s > self._settings.flush_ms / 1000 or not self._left()):
                    return
                if pause_s and not stopping:
                    await _sleep(stop, pause_s)
        finally:
            await self.close()

    def _left(self) -> bool:
        return any(stream.chunks and not stream.retry_at for stream in self._streams.values())

    async def _round_or_wait(self) -> float:
        """One round; the seconds to wait before the next."""
        try:
            async with asyncio.timeout(TRANSACTION_S):
                more = await self.round()
        except Exception as error:
            await self.close()
            AWAY.inc()
            UP.set(0)
            self._away_since = self._away_since or time.monotonic()
            pause_s = self._pauses.take()
            log.error(
                "postgres_away", error=self._shown(error), retry_in_s=pause_s, away_s=round(self.away_s, 1)
            )
            return pause_s + self._settings.flush_ms / 1000
        if self._away_since:
            log.info("postgres_back", away_s=round(self.away_s, 1))
        self._away_since = 0.0
        UP.set(1)
        self._pauses.reset()
        return 0.0 if more else self._settings.flush_ms / 1000

    def _shown(self, error: BaseException) -> str:
        text = f"{type(error).__name__}: {error}".strip()
        return text.replace(self._settings.dsn, MASK) if self._settings.dsn else text

    async def close(self) -> None:
        """Give up the connection."""
        database, self._database = self._database, None
        if database:
            await database.close()

    async def round(self) -> bool:
        """Store what waits, at most one batch; whether more than one waited.

        Raises:
            psycopg.Error, OSError, SchemaTooNew: nothing was stored, or all; the next round finds out.
        """
        if self._database is None:
            self._database = await Database.open(self._settings.dsn, self._settings.schema)
            for stream in self._streams.values():
                stream.retry_at = 0.0
        database, now = self._database, time.monotonic()
        await self._start(database, [stream for stream in self._streams.values() if not stream.ready])
        work, more = self._batch(now)
        if work:
            await self._store(database, work)
        if now >= self._holes_at:
            await self._fill(database)
            self._holes_at = time.monotonic() + HOLES_S
        if now >= self._days_at or self._oldest_day() > self._dropped_before:
            await self._keep_days(database)
            self._days_at = time.monotonic() + DAYS_S
        return more

    async def _start(self, database: Database, streams: list[OwnedStream]) -> None:
        """Find out how far streams are stored, and keep everybody else from writing them."""
        if not streams:
            return
        pairs = sorted({(stream.claim.context.name, stream.claim.symbol) for stream in streams})
        async with database.transaction():
            numbers = await database.instruments(pairs)
            names = {
                StreamName(
                    numbers[stream.claim.context.name, stream.claim.symbol], stream.source.name
                ): stream
                for stream in streams
            }
            await database.claim({name: stream.token for name, stream in names.items()})
            stored = await database.stored(names, lock=False)
        for name, stream in names.items():
            stream.start(name.instrument, stored[name])

    def _batch(self, now: float) -> tuple[list[tuple[OwnedStream, list[Chunk]]], bool]:
        """The chunks of the next transaction, those of every stream in turn."""
        room, work, more = self._settings.batch_rows, [], False
        waiting = [
            stream
            for stream in self._streams.values()
            if stream.ready and stream.chunks and stream.retry_at <= now
        ]
        for stream in sorted(waiting, key=lambda stream: stream.lag_ms):
            chosen: list[Chunk] = []
            for chunk in stream.chunks:
                if room <= 0:
                    more = True
                    break
                chosen.append(chunk)
                room -= len(chunk.rows) + 1
            if chosen:
                work.append((stream, chosen))
        return work, more

    async def _store(self, database: Database, work: list[tuple[OwnedStream, list[Chunk]]]) -> None:
        try:
            await self._transact(database, work)
        except Exception as error:
            if not is_about_rows(error):
                raise
            if len(work) > 1:
                for one in work:
                    await self._store(database, [one])
                return
            work[0][0].hold_back(time.monotonic() + LONGEST_PAUSE_S)
            self._tell_refused(database, work[0][0], error, LONGEST_PAUSE_S)

    def _tell_refused(
        self, database: Database, stream: OwnedStream, error: Exception, retry_in_s: float
    ) -> None:
        database.days.forget()  # somebody else may have dropped one
        REFUSED.labels(stream.source.table).inc()
        log.error("postgres_rows_refused", key=stream.source.key, error=self._shown(error),
                  retry_in_s=retry_in_s)  # fmt: skip

    async def _transact(self, database: Database, work: list[tuple[OwnedStream, list[Chunk]]]) -> None:
        """One transaction: rows, holes, and how far each stream is stored after them."""
        oldest = self._oldest_day()
        days = days_of([chunk for _, chunks in work for chunk in chunks])
        await database.days.make((table, day) for table, day in days if day >= oldest)
        written: list[tuple[OwnedStream, list[Chunk]]] = []
        async with database.transaction():
            stored = await database.stored([stream.name for stream, _ in work], lock=True)
            for stream, chunks in work:
                ours = stored.get(stream.name)
                if ours is None or ours.fence != stream.token:
                    self._lost(stream)
                elif not stream.reconcile(ours):
                    log.warning("postgres_place_moved", key=stream.source.key, stored=ours.place.stream_id)
                    stream.ready = False
                else:
                    left = [chunk for chunk in chunks if chunk.end.serial > ours.serial]
                    written.append((stream, left))
            rows = [row for _, chunks in written for chunk in chunks for row in chunk.rows]
            kept = [row for row in rows if row.day >= oldest]
            counts = await database.insert(kept)
            await database.add_holes(
                hole for _, chunks in written for chunk in chunks for hole in chunk.holes
            )
            await database.advance({stream.name: chunks[-1].end for stream, chunks in written if chunks})
        self._count([row for row in rows if row.day < oldest], counts)
        told: list[SymbolGap] = []
        for stream, chunks in written:
            for chunk in stream.drop(len(chunks)):
                told += [(stream.claim.context, stream.claim.symbol, gap) for gap in chunk.told]
        await self._record(told)

    def _count(self, expired: list[Row], counts: dict[Table, tuple[int, int]]) -> None:
        TRANSACTIONS.inc()
        for table, (came, new) in counts.items():
            ROWS.labels(table).inc(new)
            if came > new:
                REPEATS.labels(table).inc(came - new)
        for row in expired:
            EXPIRED.labels(row.table).inc()

    async def _record(self, told: list[SymbolGap]) -> None:
        if told:
            result = self._tell(told)
            if asyncio.iscoroutine(result):
                await result

    def _oldest_day(self) -> int:
        """By the exchange's time, too, where there is one: a clock that somebody set ahead drops nothing."""
        keep, now_ms = self._settings.keep_days, int(time.time() * 1000)
        if not keep:
            return 0
        told = (
            stream.newest_ms for stream in self._streams.values() if stream.source.table in EXCHANGE_TIMED
        )
        return min(now_ms, max(told, default=now_ms)) // DAY_MS - keep

    async def _keep_days(self, database: Database) -> None:
        """Make the partitions of today and tomorrow, drop those that are too old."""
        today = int(time.time() * 1000) // DAY_MS
        await database.days.make(
            (table, day) for table in self._settings.tables for day in (today, today + 1)
        )
        if self._settings.keep_days:
            self._dropped_before = self._oldest_day()
            for name in await database.days.drop_before(self._dropped_before):
                log.info("postgres_day_dropped", partition=name)

    async def _fill(self, database: Database) -> None:
        """Take from the fold what it has of the holes, and tell of what nobody has."""
        streams = {
            stream.instrument: stream
            for stream in self._streams.values()
            if stream.ready and stream.source.table == "trades"
        }
        if not streams:
            return
        try:
            for hole in await database.holes(list(streams), HOLES_AT_ONCE):
                stream = streams[hole.instrument]
                folded = self._folded[stream.claim.context.name]
                waits = hole.age_s < self._settings.hole_wait_s
                if not waits or await folded.last_id(stream.claim.symbol) >= hole.last:
                    try:
                        await self._fill_one(database, stream, hole)
                    except Exception as error:
                        if not is_about_rows(error):
                            raise
                        self._tell_refused(database, stream, error, HOLES_S)
        except RedisError as error:  # the next look finds them again
            log.warning("postgres_holes_not_filled", error=str(error))

    async def _fill_one(self, database: Database, stream: OwnedStream, hole: StoredHole) -> None:
        from_ms, to_ms = max(0, hole.after_ms - SEARCH_MS), hole.before_ms + SEARCH_MS
        if not hole.after_ms:
            from_ms = max(0, hole.before_ms - DAY_MS)
        symbol = stream.claim.symbol
        try:
            trades = await self._folded[stream.claim.context.name].trades(
                symbol, hole.first, hole.last, from_ms, to_ms, FILLED_AT_ONCE
            )
        except (MalformedFrame, StateUnreadable) as error:
            log.error("postgres_hole_not_filled", key=stream.source.key, error=str(error))
            return
        rest = None
        if len(trades) == FILLED_AT_ONCE and trades[-1].trade_id < hole.last:
            rest = hole._replace(first=trades[-1].trade_id + 1)
            hole_end = trades[-1].trade_id
        else:
            hole_end = hole.last
        rows = [
            row for trade in trades if (row := trade_row(hole.instrument, trade, 0, REPAIRED)) is not None
        ]
        told: list[SymbolGap] = []
        now_ms = int(time.time() * 1000)
        await database.days.make({("gaps", now_ms // DAY_MS), *((row.table, row.day) for row in rows)})
        async with database.transaction():
            if not await database.close_hole(hole):
                return
            counts = await database.insert(rows)
            if rest:
                await database.add_holes([rest])
            gaps: list[Row] = []
            if not hole.is_room:
                there = await database.trade_ids(hole._replace(last=hole_end), from_ms, to_ms)
                reason = (
                    "were trimmed before they were stored"
                    if hole.was_trimmed
                    else "are in no stream and not repaired"
                )
                for first, last in missing_runs(hole.first, hole_end, there):
                    row, record = stream.gap(first, last, f"trades {reason}", now_ms)
                    gaps.append(row)
                    told.append((stream.claim.context, symbol, record))
            await database.insert(gaps)
        FILLED.labels(stream.claim.context.name).inc(counts.get("trades", (0, 0))[1])
        log.info(
            "postgres_hole_passed", key=stream.source.key, first=hole.first, last=hole_end, filled=len(rows)
        )
        await self._record(told)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
