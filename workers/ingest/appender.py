"""The bounded buffer between sockets and Redis, flushed in one call: at once when little comes, else in batches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from prometheus_client import Histogram
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from workers.ingest.gathering import Gathering
from workers.ingest.losses import Lost, break_for, breaks_book, is_content, place_of, still_missing
from workers.ingest.metrics import (
    APPEND_FAILURES,
    APPEND_REFUSED,
    APPEND_REPEATS,
    APPENDED,
    BUFFERED,
    DELAY,
    DROPPED,
    LEAD,
    RESETS,
    SKIPPED,
    SPARED,
    STOOD_BY,
)
from workers.ingest.wholeness import tells_wholeness
from workers.runtime.backoff import MOST_S, Backoff
from workers.runtime.tasks import end
from workers.settings.schema import IngestSettings
from workers.store.keys import DEPTH, TRADES
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import GapRecord, RawEntry, RawStreams, record_gap
from workers.store.refusals import Refusal, refusal_of

log = structlog.get_logger()

MOST_PER_CALL = 1_000
"""Entries of one script call: a few ms of the server's time at the most."""
MOST_BYTES = 8 * 2**20
"""Of one call, but for its last entry: a thousand whole books would take too long, and be sent again for ever."""
MOST_REMARKS = 1_000
"""Remarks on entries that wait to be recorded; the oldest go."""
TOLD_EVERY_S = 30.0
"""Pause between two records of what one key that refuses everything has lost."""
OVERFLOW = "redis away, buffer full"
TICKER_SHARE = 4
"""Tickers and further channels are buffered while less than one part in so many of the buffer is used."""
EXTRA_NAMES_MS = 60_000
"""How much older than the newest one messages of further channels are known again: no line is later than that."""


class Standby(NamedTuple):
    """Another line, or another turn of this one, writes a stream."""

    silent_ms: int
    """For how long it had appended nothing, by the server's clock; since 1970 where nobody writes."""
    at: float
    """When Redis said so, s of `time.monotonic`."""
    event_ms: int
    """The newest time of what was not appended, exchange ms: a log that has come to it has it from the writer."""


class Appender:
    """Buffers entries and appends them in batches; never loses one silently.

    While Redis is away the buffer grows to its limit, then the oldest entries are dropped, counted, and
    recorded in the symbol's gaps stream as soon as Redis is back. Long before that no more tickers, and no more of
    further channels, are taken: one that is missing costs a comparison, one that is kept may cost a trade.

    Args:
        retention_ms: for each raw stream key, its retention.
        gap_keys: for each raw stream key, (its gaps stream, channel).
    """

    def __init__(
        self,
        client: Redis,
        line: str,
        settings: IngestSettings,
        retention_ms: Mapping[str, int],
        gap_keys: Mapping[str, tuple[str, str]],
        gaps_kept: int,
    ) -> None:
        self._client = client
        self._streams = RawStreams(client, settings.id_reset_ms)
        self._numbered = NumberedStreams(client, settings.writer_silent_ms, settings.names_ms)
        self._extras = NumberedStreams(
            client, settings.writer_silent_ms, min(settings.names_ms, EXTRA_NAMES_MS)
        )
        self._settings = settings
        self._retention_ms = retention_ms
        self._gap_keys = gap_keys
        self._gaps_kept = gaps_kept
        self._line = line
        self._buffer: deque[RawEntry] = deque()
        self._sending: list[RawEntry] = []
        """Sent and not known to have arrived. Never dropped: it may be in the log, or may not."""
        self._lost: dict[str, Lost] = {}
        self._breaks: dict[str, RawEntry] = {}
        """What the log is to say first of a stream of which entries were dropped, and no number shows it."""
        self._appending, self._telling = Backoff("append"), Backoff("gaps")
        self._of_keys = Backoff("append", most_of_key_s=MOST_S)
        """What is sent meanwhile is lost, so a repaired key is to be noticed soon."""
        self._refused_keys: set[str] = set()
        self._told_at: dict[str, float] = {}
        """When a loss was last recorded, by raw stream key."""
        self._remarks: deque[tuple[str, GapRecord]] = deque(maxlen=MOST_REMARKS)
        """What is to be recorded of entries that are not appended, by gaps stream."""
        self._gathering = Gathering(
            settings.flush_ms / 1000,
            waits=lambda: self.waiting > 0,
            left_over=lambda: bool(self._lost or self._breaks or self._remarks),
        )
        self.standby: dict[str, Standby] = {}
        """The streams whose last entries were not appended because this line, or its turn, is not the writer."""
        self.left_out: set[str] = set()
        """Streams of further channels that lack something; who has them brought anew takes them out."""
        self.appended = 0
        self.repeats = 0
        self.dropped = 0
        self.stood_by = 0
        self._told_appended = self._told_repeats = 0
        BUFFERED.labels(line).set_function(lambda: self.waiting)
        self._delay = DELAY.labels(line)
        self._leads: dict[str, Histogram] = {}
        """By the line that was first."""

    def report(self) -> None:
        """Count what was appended since the last time in the metrics: not call by call, for each costs locks."""
        APPENDED.labels(self._line).inc(self.appended - self._told_appended)
        APPEND_REPEATS.labels(self._line).inc(self.repeats - self._told_repeats)
        self._told_appended, self._told_repeats = self.appended, self.repeats

    def add(self, entry: RawEntry) -> None:
        """Take an entry in; drops the oldest one when the buffer is full."""
        buffer = self._buffer
        if len(buffer) >= self._settings.flush_entries:
            used = len(buffer) * TICKER_SHARE
            if used >= self._settings.buffer_entries and self._is_spare(entry):
                SKIPPED.labels(self._line).inc()
                self.left_out.add(entry.key)
                if breaks_book(entry):
                    self._breaks.setdefault(entry.key, break_for(entry))
                return
        buffer.append(entry)
        self._gathering.came()
        if len(buffer) >= self._settings.flush_entries:
            self._gathering.is_much()
            if len(buffer) > self._settings.buffer_entries:
                self._lose(buffer.popleft(), OVERFLOW)
                self.dropped += 1
                DROPPED.labels(self._line).inc()

    def _is_spare(self, entry: RawEntry) -> bool:
        """Whether nothing of the fleet's own goes wrong without it."""
        return self._gap_keys[entry.key][1] not in (DEPTH, TRADES)

    def tell(self, entry: RawEntry, reason: str) -> None:
        """Record in the gaps stream that an entry is not appended, and why."""
        gap_key, channel = self._gap_keys[entry.key]
        place = place_of(entry)
        self._remarks.append((gap_key, GapRecord(channel, place, place, reason, "no")))
        self._gathering.came()

    @property
    def waiting(self) -> int:
        """Entries that are not known to be in the log."""
        return len(self._buffer) + len(self._sending)

    def _lose(self, entry: RawEntry, reason: str) -> None:
        if breaks_book(entry):
            self._breaks.setdefault(entry.key, break_for(entry))
        if tells_wholeness(entry):
            self._breaks[entry.key] = entry  # the last counts
        if self._is_spare(entry):
            self.left_out.add(entry.key)
        if is_content(entry):
            self._lost.setdefault(entry.key, Lost(entry, reason)).add(entry)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until `stop` is set and the buffer is empty (or Redis stays away for another second)."""
        ending = asyncio.create_task(self._gathering.end_with(stop), name="ingest: flush to stop")
        try:
            await self._flush_until(stop)
        finally:
            await end([ending])

    async def _flush_until(self, stop: asyncio.Event) -> None:
        failing_since = took_s = 0.0
        while True:
            await self._gathering.due(took_s)
            if stop.is_set():
                for lost in self._lost.values():
                    lost.since = float("-inf")  # nobody will be here to tell it later
            began, took_s = time.monotonic(), 0.0
            try:
                await self.flush()
                took_s, failing_since = time.monotonic() - began, 0.0
                self._appending.accepted()
            except (RedisError, OSError) as error:
                failing_since = failing_since or time.monotonic()
                APPEND_FAILURES.labels(self._line).inc()
                wait_s = self._appending.refused(error)
                if stop.is_set() and time.monotonic() - failing_since > 1:
                    log.error("buffer_abandoned", line=self._line, entries=self.waiting)
                    return
                if refusal_of(error) is Refusal.OUT_OF_MEMORY and (newest := self._buffer or self._sending):
                    await self._streams.trim(self._retention_ms, newest[-1].event_ms)
                await self._gathering.failed(wait_s)
            if stop.is_set() and not self.waiting:
                return

    async def flush(self) -> None:
        """Append everything buffered.

        Raises:
            RedisError: Redis did not do it, or did not say so; the entries are kept, and sent again.
        """
        while self.waiting:
            if not self._sending:
                self._sending = self._next_batch()
            await self._send()
        if self._breaks:
            self._sending = list(self._breaks.values())
            self._breaks.clear()
            await self._send()
        if self._lost:
            await self._tell_lost()
        while self._remarks:
            gap_key, record = self._remarks[0]
            try:
                await record_gap(self._client, gap_key, record, self._gaps_kept)
            except ResponseError as error:
                if refusal_of(error).of_server:
                    raise
                self._telling.refused(error, symbol=gap_key)
            self._remarks.popleft()

    def _next_batch(self) -> list[RawEntry]:
        """The oldest entries of the buffer; what was dropped of a book is told where it is missing."""
        buffer = self._buffer
        is_small = len(buffer) <= MOST_PER_CALL and sum(len(entry.data) for entry in buffer) <= MOST_BYTES
        if is_small and not self._breaks:
            batch = list(buffer)
            buffer.clear()
            return batch
        batch, size = list[RawEntry](), 0
        while buffer and len(batch) < MOST_PER_CALL and size < MOST_BYTES:
            entry = buffer.popleft()
            if self._breaks and (missing := self._breaks.pop(entry.key, None)):
                batch.append(missing)
            batch.append(entry)
            size += len(entry.data)
        return batch

    async def _send(self) -> None:
        if ready := self._ready(self._sending):
            try:
                await self._append(ready)
            except ResponseError as error:
                if refusal_of(error).of_server:
                    raise
                await self._append_one_by_one(ready)
            else:
                if self._refused_keys:
                    for key in self._refused_keys & {entry.key for entry in ready}:
                        self._accepted(key)
        self._sending = []

    def _ready(self, batch: list[RawEntry]) -> list[RawEntry]:
        """What may be sent now: entries of a key that Redis has just refused are lost, and not tried each time."""
        if not self._refused_keys:
            return batch
        held = {key for key in self._refused_keys if not self._of_keys.due(symbol=key)}
        for entry in batch:
            if entry.key in held:
                self._refuse(entry)
        return [entry for entry in batch if entry.key not in held]

    def _refuse(self, entry: RawEntry) -> None:
        self._lose(entry, "append refused")
        APPEND_REFUSED.labels(self._line).inc()

    async def _append(self, batch: list[RawEntry]) -> None:
        numbered = [entry for entry in batch if entry.turn or entry.name]
        if not numbered:
            await self._append_by_id(batch)
        else:
            if by_id := [entry for entry in batch if not entry.numbered]:
                await self._append_by_id(by_id)
            for streams, spare in ((self._numbered, False), (self._extras, True)):
                if chosen := [entry for entry in numbered if self._is_spare(entry) == spare]:
                    await self._append_numbered(streams, chosen)
        self._delay.observe(max(0.0, time.time() - batch[-1].received_us / 1e6))

    async def _append_numbered(self, streams: NumberedStreams, batch: list[RawEntry]) -> None:
        done = await streams.append(batch, self._retention_ms)
        self.appended += done.appended
        self.repeats += done.repeats
        self.stood_by += done.refused
        STOOD_BY.labels(self._line).inc(done.refused)
        now = time.monotonic()
        newest_ms = {key: standby.event_ms for key in done.silent_ms if (standby := self.standby.get(key))}
        for entry in batch if done.silent_ms else ():
            if entry.kind != "break":  # that this line missed something is no news of the market
                newest_ms[entry.key] = max(entry.event_ms, newest_ms.get(entry.key, 0))
        for key in done.refused_by_key:
            if key in done.silent_ms:
                self.standby[key] = Standby(done.silent_ms[key], now, newest_ms.get(key, 0))
            else:
                self.standby.pop(key, None)

    async def _append_by_id(self, batch: list[RawEntry]) -> None:
        done = await self._streams.append(batch, self._retention_ms)
        self.appended += done.appended
        self.repeats += done.repeats
        if done.resets:
            RESETS.labels(self._line).inc(done.resets)
            log.warning("id_reset", line=self._line, resets=done.resets, streams=list(done.repeats_by_key))
        for first, lead_us in done.leads:
            if first != self._line:
                if (lead := self._leads.get(first)) is None:
                    lead = self._leads[first] = LEAD.labels(first, self._line)
                lead.observe(max(0.0, lead_us / 1e6))

    async def _append_one_by_one(self, batch: list[RawEntry]) -> None:
        """One stream's key cannot be appended to: the other streams shall not suffer from it."""
        by_key: dict[str, list[RawEntry]] = {}
        for entry in batch:
            by_key.setdefault(entry.key, []).append(entry)
        for key, entries in by_key.items():
            try:
                await self._append(entries)
            except ResponseError as error:
                if refusal_of(error).of_server:
                    raise
                for entry in entries:
                    self._refuse(entry)
                self._of_keys.refused(error, symbol=key)
                self._refused_keys.add(key)
            else:
                self._accepted(key)

    def _accepted(self, key: str) -> None:
        """A key takes entries; it is like any other again once it has done so for a while."""
        self._of_keys.accepted(symbol=key)
        if self._of_keys.is_over(symbol=key):
            self._refused_keys.discard(key)
            self._told_at.pop(key, None)

    async def _missing(self, key: str, lost: Lost) -> bool:
        """Whether the log lacks something of what was dropped, which is then all that is left in `lost`."""
        before = lost.count
        if lost.turn and key in self.standby:
            lost.count = 0  # another line writes there
        elif lost.reason != OVERFLOW:
            return True
        elif not await still_missing(self._streams, self._numbered, key, lost) and lost.count:
            return False
        SPARED.labels(self._line).inc(before - lost.count)
        return lost.count > 0

    async def _tell_lost(self) -> None:
        now = time.monotonic()
        for key, lost in list(self._lost.items()):
            gap_key, channel = self._gap_keys[key]
            if key in self._refused_keys and now < self._told_at.get(key, -TOLD_EVERY_S) + TOLD_EVERY_S:
                continue
            if not self._telling.due(symbol=gap_key):
                continue
            del self._lost[key]
            try:
                if not await self._missing(key, lost):
                    if lost.count:
                        self._lost[key] = lost.and_then(self._lost.get(key))
                    continue
                record = GapRecord(channel, lost.places[0], lost.last, lost.reason, "no")
                await record_gap(self._client, gap_key, record, self._gaps_kept)
            except (RedisError, OSError) as error:
                self._lost[key] = lost.and_then(self._lost.get(key))
                if refusal_of(error).of_server:
                    raise
                self._telling.refused(error, symbol=gap_key)
                continue
            self._telling.accepted(symbol=gap_key)
            is_told = key in self._refused_keys and key in self._told_at
            self._told_at[key] = now
            if is_told:
                continue  # `redis_refused` has said that this key takes nothing; what it lost stands among the gaps
            log.error("entries_lost", line=self._line, stream=key, first=lost.places[0], last=lost.last,
                      entries=lost.count, reason=lost.reason)  # fmt: skip
