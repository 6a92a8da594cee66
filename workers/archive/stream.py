"""One stream that this worker archives: what is read waits in a buffer until a whole file of it is on disk.

A file comes about in five steps, and a crash between any two of them neither loses nor doubles a row:

1. it is written and synced under a name no reader looks at, with the owner's fencing number in it;
2. `prepare`: Redis checks the fencing number and puts on record which file comes next;
3. the file gets its name by one rename;
4. `commit`: Redis checks the fencing number, stores the new offset and acknowledges the entries of the file;
5. the rows leave the buffer.

Up to 3 the entries are pending and are read again. After 3 the next owner finds the file, whole, and does step 4
for it: it adopts the file, so that even a stream trimmed meanwhile loses nothing. An owner that stood still until
its lease ran out cannot give a file its name unseen: `prepare` was before the next owner took the lease, so the
incomplete file was there before the next owner's recovery, which removes it (then the rename fails) or finds it
renamed (and adopts it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from redis.exceptions import RedisError

from workers.archive.buffer import Batch, Buffer, Hole, Limits
from workers.archive.files import parquet
from workers.archive.files.layout import Source, StreamId
from workers.archive.files.rows import Row, row_of
from workers.archive.files.storage import Storage
from workers.archive.metrics import ADOPTED, BYTES, FAILURES, FILES, MISSING, ROWS, UNDECODED
from workers.archive.recovery import UNKNOWN, Announced, Offset, Recovery
from workers.errors import FleetError, LeaseLost, OffsetMoved, StateUnreadable
from workers.model.pauses import Pauses
from workers.model.trades.numbering import is_room
from workers.runtime.context import VenueContext
from workers.store.archive.offsets import ArchiveStore, Entry

log = structlog.get_logger()

RETRY_FIRST_S = 1.0
RETRY_LONGEST_S = 30.0


class Parts(NamedTuple):
    """What all streams of a venue share."""

    context: VenueContext
    store: ArchiveStore
    storage: Storage
    compression_level: int


class OwnedStream:
    """A stream of one symbol that this worker owns; `recover` comes first.

    Args:
        token: the fencing number of its lease.
        limits: when a file is written.
    """

    def __init__(self, parts: Parts, source: Source, token: int, limits: Limits) -> None:
        self.parts = parts
        self.source = source
        self.key = source.key(parts.context.keys)
        self.token = token
        self.buffer = Buffer(limits)
        self.offset = Offset.parse("")
        self.catching_up: str | None = "0-0"
        """While entries may be pending from before, the last of them read; None: new ones can be read."""
        self.uncertain = True
        """Whether a file may be there that Redis does not count yet."""
        self.retry_at = 0.0
        """When writing may be tried again after a failure, monotonic seconds."""
        self._pauses = Pauses(RETRY_FIRST_S, RETRY_LONGEST_S)
        self._chain = UNKNOWN

    @property
    def labels(self) -> tuple[str, str]:
        """Of its metrics."""
        return self.source.venue, self.source.kind

    @property
    def reads_new(self) -> bool:
        """Whether everything delivered before is in the buffer or in files."""
        return self.catching_up is None and not self.uncertain

    def needs_work(self, now: float) -> bool:
        """Whether there is something to do besides reading what is new."""
        if now < self.retry_at:
            return False
        return not self.reads_new or bool(self.buffer.holes) or self.buffer.due(now)

    def failed(self, now: float, error: Exception) -> None:
        """Something went wrong: it is tried again after a pause."""
        FAILURES.labels(*self.labels).inc()
        pause = self._pauses.take()
        self.retry_at = now + pause
        foreseen = isinstance(error, FleetError | RedisError | OSError)
        log.error("archive_write_failed", key=self.key, error=str(error), retry_in_s=pause,
                  exc_info=None if foreseen else error)  # fmt: skip

    async def recover(self) -> None:
        """Find out where the archive stands, counting what an earlier owner had no time to count.

        Raises:
            RedisError, OSError: to be tried again.
            LeaseLost: the symbol is another worker's.
            StateUnreadable: what Redis has on record is not from us.
        """
        store, symbol, name = self.parts.store, self.source.symbol, self.source.name
        recovery = Recovery(self.parts.storage, self.source, self.token)
        stored, file = await store.stored(symbol, name)
        await asyncio.to_thread(recovery.remove_incomplete)
        try:
            announced, self.offset = Announced.parse(file) if file else None, Offset.parse(stored)
        except ValueError as error:
            raise StateUnreadable(self.parts.context.keys.archive(symbol), str(error)) from error
        if stored or announced:
            for offset in await asyncio.to_thread(recovery.uncounted, self.offset, announced):
                await self._count(offset, ())
                ADOPTED.labels(*self.labels).inc()
        elif (newest := await asyncio.to_thread(recovery.newest)) is not None:
            log.warning("archive_offset_lost", key=self.key, found=str(newest.stream_id))
            await self._count(newest, ())
        await store.ensure(self.key, str(self.offset.stream_id))
        self.uncertain = False
        self.read_again()

    async def _count(self, offset: Offset, ids: Sequence[str]) -> None:
        await self.parts.store.commit(
            self.source.symbol,
            self.key,
            self.token,
            name=self.source.name,
            before=str(self.offset),
            offset=str(offset),
            ids=ids,
        )
        self.offset = offset

    def read_again(self) -> None:
        """Forget what is buffered and read it again: all of it is pending."""
        self.buffer.clear()
        self._chain = self.offset.chain
        self.catching_up = "0-0"

    def resume_pending(self) -> None:
        """A reply may be lost; what it carried is pending after the last entry read."""
        if self.catching_up is None:
            rows = self.buffer.rows
            self.catching_up = str(rows[-1].stream_id if rows else self.offset.stream_id)

    async def take(self, entries: Sequence[Entry], now: float) -> None:
        """Put entries into the buffer; those archived already, or trimmed after delivery, are acknowledged."""
        done: list[str] = []
        lost: list[StreamId] = []
        venue, archived = self.parts.context.venue, self.offset.stream_id
        for raw_id, fields in entries:
            stream_id = StreamId.parse(raw_id)
            if stream_id <= archived:
                done.append(str(stream_id))
            elif not fields:
                lost.append(stream_id)
            else:
                if lost:
                    done += await self._tell_lost(lost)
                    lost = []
                row = row_of(self.source, venue, stream_id, fields)
                if row.first > self._chain + 1 and self._chain != UNKNOWN:
                    await self._tell_break(row, now)
                self.buffer.add(row, now)
                if row.last != UNKNOWN:
                    self._chain = row.last
        if lost:
            done += await self._tell_lost(lost)
        if done:
            await self.parts.store.acknowledge(self.source.symbol, self.key, self.token, done)

    async def _tell_break(self, row: Row, now: float) -> None:
        """Something is missing before a row: trades may come from elsewhere, the rest is ours to tell if trimmed."""
        first, last = self._chain + 1, row.first - 1
        trimmed = not await self.parts.store.has_older(self.key, row.values[0])
        if self.source.kind == "trades":
            room = self.parts.context.venue.facts.trade_ids != "consecutive" and is_room(first, last)
            self.buffer.holes.append(Hole(first, last, row.stream_id, now, trimmed, room))
        elif trimmed:
            await self.tell_missing(first, last, "was trimmed before it was archived")

    async def _tell_lost(self, lost: Sequence[StreamId]) -> list[str]:
        """Entries were trimmed between delivery and archiving; a hole in known trade ids shows itself later."""
        if self.source.kind == "bars":
            await self.tell_missing(
                lost[0].ms, lost[-1].ms, "lost windows that start between these times, ms"
            )
            self._chain = UNKNOWN
        elif self.source.kind in ("depth", "raw") or self._chain == UNKNOWN:
            await self.tell_missing(lost[0].sequence, lost[-1].sequence, "was trimmed before it was archived")
            self._chain = lost[-1].sequence
        return [str(stream_id) for stream_id in lost]

    async def tell_missing(self, first: int, last: int, reason: str) -> None:
        """Say in logs, metrics and `gaps:{S}` what the archive will never have."""
        MISSING.labels(*self.labels).inc()
        log.error("archive_rows_missing", key=self.key, first=first, last=last, reason=reason)
        await self.parts.store.record_gap(self.source.symbol, first, last, f"{self.source.name} {reason}")

    async def write(self, now: float) -> bool:
        """Write the next file; False when there is nothing that can be written.

        Raises:
            OSError: the storage refused something: see `failed`.
            RedisError: it is uncertain whether the file counts: `recover` finds out.
            LeaseLost: the symbol is another worker's.
        """
        batch = self.buffer.cut()
        if batch is None:
            return False
        try:
            await self._write(batch, now)
        except LeaseLost:
            await asyncio.to_thread(self._remove_own)
            raise
        except OffsetMoved:
            log.error("archive_offset_moved", key=self.key, ours=str(self.offset))
            return False
        self._pauses.reset()
        return True

    async def _write(self, batch: Batch, now: float) -> None:
        held, source, storage = batch.range, self.source, self.parts.storage
        undecoded = sum(not row.decoded for row in batch.rows)
        chain = next((row.last for row in reversed(batch.rows) if row.last != UNKNOWN), self.offset.chain)
        announced = Announced(held, batch.day, chain)
        length = await asyncio.to_thread(self._write_file, batch)
        self.uncertain = True
        pending = await self.parts.store.prepare(
            source.symbol,
            self.key,
            self.token,
            name=source.name,
            offset=str(self.offset),
            file=str(announced),
        )
        if self.catching_up is None and pending != self.buffer.pending:
            # An owner that was thought gone has read entries we have not: the pending list has them in order.
            log.info("archive_reads_again", key=self.key, pending=pending, buffered=self.buffer.pending)
            self.uncertain = False
            self.read_again()
            return
        path = f"{source.day_folder(batch.day)}/{held.name}"
        await asyncio.to_thread(storage.publish, source.incomplete(str(self.token)), path)
        await self._count(Offset(held.last, chain), batch.ids)
        self.uncertain = False
        self.buffer.drop(batch, now)
        for metric, amount in ((FILES, 1), (ROWS, len(batch.rows)), (BYTES, length)):
            metric.labels(*self.labels).inc(amount)
        if undecoded:
            UNDECODED.labels(*self.labels).inc(undecoded)
            log.warning("archive_entries_undecoded", key=self.key, entries=undecoded)
        log.info("archive_file_written", path=storage.shown(path), rows=len(batch.rows), bytes=length)

    def _write_file(self, batch: Batch) -> int:
        storage = self.parts.storage
        file = storage.create(self.source.incomplete(str(self.token)))
        try:
            values = [row.values for row in batch.rows]
            previous = self.offset.stream_id
            parquet.write(file, self.source, batch.day, values, previous, self.parts.compression_level)
            return storage.sync(file)
        finally:
            file.close()

    def _remove_own(self) -> None:
        self.parts.storage.remove(self.source.incomplete(str(self.token)))
