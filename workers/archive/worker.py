"""The archive role: writes the trades, bars, depth and further channels of the symbols it owns to Parquet files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import structlog
from redis.exceptions import RedisError

from workers.archive.buffer import Limits
from workers.archive.files import parquet
from workers.archive.files.layout import Source, sources_of
from workers.archive.files.storage import Storage, storage_of
from workers.archive.history import HistoryFiler
from workers.archive.holes import fill
from workers.archive.metrics import BUFFERED, BUFFERED_BYTES, LAG
from workers.archive.stream import OwnedStream, Parts
from workers.errors import FleetError, LeaseLost
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.tasks import end
from workers.store.archive.offsets import ArchiveStore, Entry
from workers.store.connection import connect_reader
from workers.store.keys import ARCHIVE_GROUP
from workers.store.refusals import refusal_of

log = structlog.get_logger()

MEGABYTE: Final = 1 << 20
STREAMS_AT_ONCE: Final = 32
"""Streams asked for in one call: it bounds the size of a reply."""
WRITTEN_AT_ONCE: Final = 2
SHORT_BAR: Final = "100ms"


class ArchiveWorker:
    """The streams this process archives, and the loop over them."""

    def __init__(self, process: Process, storage: Storage) -> None:
        self._process = process
        self._settings = process.settings.archive
        self._contexts = venue_contexts(process.settings)
        self._reader_client = connect_reader(process.url)
        self._parts = {context.name: self._parts_of(context, storage) for context in self._contexts}
        self.streams: dict[str, OwnedStream] = {}
        """The streams owned and recovered, by key."""
        self._claims: dict[str, Claim] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.history = HistoryFiler(process, storage)
        self._writing = asyncio.Semaphore(WRITTEN_AT_ONCE)
        self.ownership = Ownership(process, ARCHIVE_GROUP, self._contexts, self)

    def _parts_of(self, context: VenueContext, storage: Storage) -> Parts:
        kept = self._process.settings.streams.gaps
        store = ArchiveStore(self._process.client, self._reader_client, context.keys, kept)
        return Parts(context, store, storage, self._settings.compression_level)

    def _sources(self, claim: Claim) -> list[Source]:
        kinds = [
            kind
            for kind in self._settings.kinds
            if kind in ("depth", "raw") or claim.context.settings.trades != "none"
        ]
        intervals, channels = self._settings.intervals, claim.context.venue.channels
        return sources_of(claim.context.name, claim.symbol, kinds, intervals, channels)

    def _limits(self, source: Source) -> Limits:
        """A file is written before half of what the raw stream keeps has passed."""
        settings, streams = self._settings, self._process.settings.streams
        seconds = settings.rotate_s
        if source.kind == "trades":
            seconds = min(seconds, streams.trades_ms / 2000)
        elif source.kind == "depth":
            seconds = min(seconds, streams.depth_ms / 2000)
        elif source.kind == "raw":
            seconds = min(seconds, streams.channels_ms / 2000)
        elif source.interval != SHORT_BAR:
            seconds = settings.rotate_bars_s
        return Limits(settings.rotate_rows, settings.rotate_mb * MEGABYTE, seconds)

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a symbol; where its files stand is found out by the next round."""
        parts = self._parts[claim.context.name]
        self.history.own(claim, token)
        for source in self._sources(claim):
            stream = OwnedStream(parts, source, token, self._limits(source))
            stream.buffer.spread = _spread(stream.key)
            self.streams[stream.key] = stream
            self._claims[stream.key] = claim
            self._locks[stream.key] = asyncio.Lock()

    async def hand_over(self, claim: Claim) -> None:
        """Give a symbol up: what is buffered is written; what cannot be is pending for the next owner."""
        given = [(self.streams[key], self._locks[key]) for key in self._keys_of(claim)]
        self.forget(claim)
        for stream, lock in given:
            async with lock:
                await self._write_all(stream)

    def forget(self, claim: Claim) -> None:
        """Drop a symbol."""
        self.history.forget(claim)
        for key in self._keys_of(claim):
            del self.streams[key], self._claims[key], self._locks[key]

    def retired(self, claim: Claim) -> None:
        """Nothing more to forget: where the files stand is in Redis."""

    def _keys_of(self, claim: Claim) -> list[str]:
        keys = [source.key(claim.context.keys) for source in self._sources(claim)]
        return [key for key in keys if key in self.streams]

    async def _write_all(self, stream: OwnedStream) -> None:
        try:
            async with self._writing:
                while not stream.uncertain:
                    await self._catch_up(stream)
                    await fill(stream, time.monotonic(), self._settings.hole_wait_s)
                    if not await stream.write(time.monotonic()):
                        return
        except Exception as error:
            log.warning("archive_not_flushed", key=stream.key, error=str(error))

    @property
    def _buffered(self) -> int:
        return sum(stream.buffer.size for stream in self.streams.values())

    @property
    def _room(self) -> bool:
        return self._buffered < self._settings.buffer_mb * MEGABYTE

    def _largest(self) -> set[str]:
        """The streams to write before their time, where all buffers together hold too much."""
        excess = self._buffered - self._settings.buffer_mb * MEGABYTE * 3 // 4
        if self._room or excess <= 0:
            return set()
        chosen = set()
        for key, stream in sorted(self.streams.items(), key=lambda item: -item[1].buffer.size):
            chosen.add(key)
            excess -= stream.buffer.size
            if excess <= 0:
                break
        return chosen

    async def step(self) -> bool:
        """One round: settle, write what is due, read; whether there is more to read at once.

        Raises:
            RedisError: Redis is in trouble; the next round goes on from where this one was.
        """
        now, urgent = time.monotonic(), self._largest()
        busy = [
            self._work(stream, key in urgent)
            for key, stream in self.streams.items()
            if stream.needs_work(now) or (key in urgent and now >= stream.retry_at)
        ]
        for trouble in await asyncio.gather(*busy):
            if trouble is not None:
                raise trouble
        more = await self._read()
        self._tell()
        return more

    async def _work(self, stream: OwnedStream, urgent: bool) -> RedisError | None:
        """Recover, catch up and write, as far as the stream needs it; what befell Redis meanwhile."""
        async with self._locks[stream.key], self._writing:
            if self.streams.get(stream.key) is not stream:
                return None
            try:
                if stream.uncertain:
                    await stream.recover()
                await self._catch_up(stream)
                now = time.monotonic()
                await fill(stream, now, self._settings.hole_wait_s)
                while urgent or stream.buffer.due(now):
                    urgent = False
                    if not await stream.write(now):
                        break
            except LeaseLost:
                self.ownership.lost(self._claims[stream.key], stream.token)
            except RedisError as error:
                stream.resume_pending()
                if refusal_of(error).of_server:
                    return error
                stream.uncertain = True
                stream.failed(time.monotonic(), error)
            except (
                Exception
            ) as error:  # the storage's, or one nobody foresaw: this stream waits, the others go on
                stream.failed(time.monotonic(), error)
        return None

    async def _catch_up(self, stream: OwnedStream) -> None:
        """Read what was delivered before, as long as there is room."""
        while stream.catching_up is not None and not stream.buffer.full and self._room:
            entries = await stream.parts.store.pending(
                stream.key, stream.catching_up, self._settings.read_count
            )
            await stream.take(entries, time.monotonic())
            stream.catching_up = entries[-1][0].decode() if entries else None

    async def _read(self) -> bool:
        """Read what is new, some streams at a time; whether there is more."""
        more = False
        for name, parts in self._parts.items():
            ready = [
                stream
                for stream in self.streams.values()
                if stream.source.venue == name
                and stream.reads_new
                and not stream.buffer.full
                and time.monotonic() >= stream.retry_at
            ]
            for first in range(0, len(ready), STREAMS_AT_ONCE):
                if not self._room:
                    return False
                more |= await self._read_some(parts.store, ready[first : first + STREAMS_AT_ONCE])
        return more

    async def _read_some(self, store: ArchiveStore, streams: Sequence[OwnedStream]) -> bool:
        asked = {stream.key: stream for stream in streams if self.streams.get(stream.key) is stream}
        count, full = self._settings.read_count, False
        try:
            found = await store.new(list(asked), count)
            for key, error in store.refused.items():
                asked[key].resume_pending()
                asked[key].uncertain = True
                asked[key].failed(time.monotonic(), error)
            for key, entries in found.items():
                full |= len(entries) == count
                if self.streams.get(key) is asked[key]:
                    async with self._locks[key]:
                        await self._take(asked[key], entries)
        except LeaseLost:
            log.info("archive_lease_gone")  # the next renewal tells which
        except RedisError as error:
            for stream in asked.values():
                stream.resume_pending()
            raise error
        return full

    async def _take(self, stream: OwnedStream, entries: Sequence[Entry]) -> None:
        try:
            await stream.take(entries, time.monotonic())
        except (OSError, FleetError):
            raise
        except Exception as error:
            if isinstance(error, RedisError) and refusal_of(error).of_server:
                raise
            stream.resume_pending()
            stream.failed(time.monotonic(), error)

    def _tell(self) -> None:
        now_ms, rows = int(time.time() * 1000), 0
        oldest = dict.fromkeys(self._parts, now_ms)
        for stream in self.streams.values():
            if stream.buffer.rows:
                rows += len(stream.buffer)
                venue = stream.source.venue
                oldest[venue] = min(oldest[venue], stream.buffer.rows[0].stream_id.ms)
        for venue, ms in oldest.items():
            LAG.labels(venue).set((now_ms - ms) / 1000)
        BUFFERED.set(rows)
        BUFFERED_BYTES.set(self._buffered)
        self._process.details = {"streams": len(self.streams), "buffered": rows}

    async def run(self) -> None:
        """Serve until told to stop; then write what is buffered and give everything back."""
        leasing, waits = asyncio.create_task(self.ownership.run(), name="archive: leases"), Backoff("archive")
        filing = asyncio.create_task(self.history.run(), name="archive: history")
        try:
            while not self._process.stop.is_set():
                if leasing.done():
                    leasing.result()  # an error nobody foresaw: without leases this process is of no use
                more = False
                try:
                    more, wait_s = await self.step(), 0.0
                    waits.accepted()
                except RedisError as error:
                    wait_s = waits.refused(error)
                await self._process.sleep(0 if more else max(wait_s, self._settings.poll_ms / 1000))
            # The leases are kept meanwhile: many files take longer than a lease lasts.
            await asyncio.gather(*(self._finish(key) for key in list(self.streams)))
        finally:
            await end([leasing, filing])
            await self.ownership.release_all()
            await self._reader_client.aclose()

    async def _finish(self, key: str) -> None:
        async with self._locks[key]:
            if key in self.streams:
                await self._write_all(self.streams[key])


def _spread(key: str) -> float:
    """Between a quarter and 1, by the stream: the first files of many streams come one after another."""
    return 0.25 + 0.75 * blake2b(key.encode(), digest_size=1).digest()[0] / 255


async def main(process: Process) -> None:
    """The role's loop.

    Raises:
        ExtraMissing: pyarrow, or fsspec for a remote archive, is not installed.
    """
    parquet.require()
    storage = storage_of(process.settings.archive.url, Path(process.settings.fleet.home))
    await ArchiveWorker(process, storage).run()
