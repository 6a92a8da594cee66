"""The bounded buffer between sockets and Redis, flushed every few ms in one call."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

import structlog
from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from workers.runtime.backoff import MOST_S, Backoff
from workers.settings.schema import IngestSettings
from workers.store.keys import TICKER
from workers.store.log.streams import GapRecord, RawEntry, RawStreams, record_gap
from workers.store.refusals import refusal_of

log = structlog.get_logger()

MOST_PER_CALL = 1_000
"""Entries of one script call: a few ms of the server's time at the most."""
MOST_REMARKS = 1_000
"""Remarks on entries that wait to be recorded; the oldest go."""
TOLD_EVERY_S = 30.0
"""Pause between two records of what one key that refuses everything has lost."""
OVERFLOW = "redis away, buffer full"
MOST_IDS = 10_000
"""Ids of one stream remembered one by one, to be looked for in the log."""
OTHER_LINE_S = 2.0
"""How long the other line may take to bring what this one dropped, where nothing newer is in the log yet."""
TICKER_SHARE = 4
"""Tickers are buffered while less than one part in so many of the buffer is used."""

APPENDED = Counter("fleet_appended_total", "Entries appended to raw streams", ["line"])
REPEATS = Counter(
    "fleet_append_repeats_total", "Entries the streams had already (the other line won)", ["line"]
)
RESETS = Counter("fleet_id_resets_total", "Update ids that started anew", ["line"])
DROPPED = Counter("fleet_buffer_dropped_total", "Entries dropped because the buffer was full", ["line"])
SPARED = Counter(
    "fleet_buffer_dropped_held_total",
    "Entries dropped because the buffer was full which the log has all the same, from the other line",
    ["line"],
)
SKIPPED = Counter(
    "fleet_tickers_skipped_total",
    "Tickers not buffered while Redis was slow, so that the rest fits",
    ["line"],
)
REFUSED = Counter(
    "fleet_append_refused_total", "Entries Redis refused for good (key of another type)", ["line"]
)
FAILURES = Counter("fleet_append_failed_total", "Append calls that failed and were tried again", ["line"])
BUFFERED = Gauge("fleet_buffer_entries", "Entries waiting for Redis", ["line"])
LEAD = Histogram(
    "fleet_line_lead_seconds",
    "By how much the first copy of a message was ahead of this line's (a sample)",
    ["first", "line"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1),
)
DELAY = Histogram(
    "fleet_append_delay_seconds",
    "From the frame's arrival to its entry in Redis (newest of a batch)",
    ["line"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)


class _Lost:
    """Ids of one stream that were dropped and must be told in `gaps:{S}`, unless the log has them all the same."""

    __slots__ = ("count", "first_ms", "ids", "last", "last_ms", "reason", "since")

    def __init__(self, entry: RawEntry, reason: str) -> None:
        self.ids: list[int] = []
        """The first of them, at most `MOST_IDS`; of the others the last is known, and their number."""
        self.last = entry.update_id
        self.first_ms = self.last_ms = entry.event_ms
        self.reason = reason
        self.since = time.monotonic()
        self.count = 0

    def add(self, entry: RawEntry) -> None:
        """One more."""
        if self.count < MOST_IDS:
            self.ids.append(entry.update_id)
        self.last = entry.update_id
        self.first_ms, self.last_ms = min(self.first_ms, entry.event_ms), max(self.last_ms, entry.event_ms)
        self.count += 1

    def and_then(self, later: _Lost | None) -> _Lost:
        """Both as one, where more was lost meanwhile."""
        if later is not None:
            self.ids += later.ids[: MOST_IDS - len(self.ids)]
            self.last = later.last
            self.first_ms = min(self.first_ms, later.first_ms)
            self.last_ms = max(self.last_ms, later.last_ms)
            self.count += later.count
        return self


class Appender:
    """Buffers entries and appends them in batches; never loses one silently.

    While Redis is away the buffer grows to its limit, then the oldest entries are dropped, counted, and
    recorded in the symbol's gaps stream as soon as Redis is back. Long before that no more tickers are taken: one
    that is missing costs a comparison, one that is kept may cost a trade.

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
        self._settings = settings
        self._retention_ms = retention_ms
        self._gap_keys = gap_keys
        self._gaps_kept = gaps_kept
        self._line = line
        self._buffer: deque[RawEntry] = deque()
        self._sending: list[RawEntry] = []
        """Sent and not known to have arrived. Never dropped: it may be in the log, or may not."""
        self._lost: dict[str, _Lost] = {}
        self._appending, self._telling = Backoff("append"), Backoff("gaps")
        self._of_keys = Backoff("append", most_of_key_s=MOST_S)
        """What is sent meanwhile is lost, so a repaired key is to be noticed soon."""
        self._refused_keys: set[str] = set()
        self._told_at: dict[str, float] = {}
        """When a loss was last recorded, by raw stream key."""
        self._remarks: deque[tuple[str, GapRecord]] = deque(maxlen=MOST_REMARKS)
        """What is to be recorded of entries that are not appended, by gaps stream."""
        self._full = asyncio.Event()
        self.appended = 0
        self.repeats = 0
        self.dropped = 0

    def add(self, entry: RawEntry) -> None:
        """Take an entry in; drops the oldest one when the buffer is full."""
        buffer = self._buffer
        if len(buffer) >= self._settings.flush_entries:
            used = len(buffer) * TICKER_SHARE
            if used >= self._settings.buffer_entries and self._gap_keys[entry.key][1] == TICKER:
                SKIPPED.labels(self._line).inc()
                return
        buffer.append(entry)
        if len(buffer) >= self._settings.flush_entries:
            self._full.set()
            if len(buffer) > self._settings.buffer_entries:
                self._lose(buffer.popleft(), OVERFLOW)
                self.dropped += 1
                DROPPED.labels(self._line).inc()

    def tell(self, entry: RawEntry, reason: str) -> None:
        """Record in the gaps stream that an entry is not appended, and why."""
        gap_key, channel = self._gap_keys[entry.key]
        self._remarks.append((gap_key, GapRecord(channel, entry.update_id, entry.update_id, reason, "no")))

    @property
    def waiting(self) -> int:
        """Entries that are not known to be in the log."""
        return len(self._buffer) + len(self._sending)

    def _lose(self, entry: RawEntry, reason: str) -> None:
        self._lost.setdefault(entry.key, _Lost(entry, reason)).add(entry)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until `stop` is set and the buffer is empty (or Redis stays away for another second)."""
        pause = self._settings.flush_ms / 1000
        failing_since = 0.0
        while True:
            if not self._full.is_set() and not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), pause)
            self._full.clear()
            BUFFERED.labels(self._line).set(self.waiting)
            if stop.is_set():
                for lost in self._lost.values():
                    lost.since = float("-inf")  # nobody will be here to tell it later
            try:
                await self.flush()
                failing_since = 0.0
                self._appending.accepted()
            except (RedisError, OSError) as error:
                failing_since = failing_since or time.monotonic()
                FAILURES.labels(self._line).inc()
                wait_s = self._appending.refused(error)
                if stop.is_set() and time.monotonic() - failing_since > 1:
                    log.error("buffer_abandoned", line=self._line, entries=self.waiting)
                    return
                await self._wait(stop, wait_s)
            if stop.is_set() and not self.waiting:
                return

    @staticmethod
    async def _wait(stop: asyncio.Event, seconds: float) -> None:
        """Wait until the next try, which comes soon once we are to stop."""
        if stop.is_set():
            await asyncio.sleep(0.1)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)

    async def flush(self) -> None:
        """Append everything buffered.

        Raises:
            RedisError: Redis did not do it, or did not say so; the entries are kept, and sent again.
        """
        while self.waiting:
            if not self._sending:
                size = min(len(self._buffer), MOST_PER_CALL)
                self._sending = [self._buffer.popleft() for _ in range(size)]
            if ready := self._ready(self._sending):
                try:
                    await self._append(ready)
                except ResponseError as error:
                    if refusal_of(error).of_server:
                        raise
                    await self._append_one_by_one(ready)
            self._sending = []
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
        REFUSED.labels(self._line).inc()

    async def _append(self, batch: list[RawEntry]) -> None:
        done = await self._streams.append(batch, self._retention_ms)
        self.appended += done.appended
        self.repeats += done.repeats
        APPENDED.labels(self._line).inc(done.appended)
        REPEATS.labels(self._line).inc(done.repeats)
        if done.resets:
            RESETS.labels(self._line).inc(done.resets)
            log.warning("id_reset", line=self._line, resets=done.resets, streams=list(done.repeats_by_key))
        for first, lead_us in done.leads:
            if first != self._line:
                LEAD.labels(first, self._line).observe(max(0.0, lead_us / 1e6))
        DELAY.labels(self._line).observe(max(0.0, time.time() - batch[-1].received_us / 1e6))

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
                self._of_keys.accepted(symbol=key)
                self._refused_keys.discard(key)

    async def _missing(self, key: str, lost: _Lost) -> bool:
        """Look which of the dropped entries the log lacks, and reduce them to those; False: nothing to tell (yet).

        The other line may have brought them, and may still do so while the log has nothing newer.
        """
        if lost.count > len(lost.ids):
            return True  # more than anybody has counted one by one
        there = await self._streams.held(key, lost.first_ms, lost.last_ms)
        missing = [update_id for update_id in lost.ids if update_id not in there.ids]
        if not missing:
            SPARED.labels(self._line).inc(lost.count)
            lost.count = 0
            return False
        if there.newest < missing[-1] and time.monotonic() - lost.since < OTHER_LINE_S:
            return False
        SPARED.labels(self._line).inc(lost.count - len(missing))
        lost.ids, lost.last, lost.count = missing, missing[-1], len(missing)
        return True

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
                if lost.reason == OVERFLOW and not await self._missing(key, lost):
                    if lost.count:
                        self._lost[key] = lost.and_then(self._lost.get(key))
                    continue
                record = GapRecord(channel, lost.ids[0], lost.last, lost.reason, "no")
                await record_gap(self._client, gap_key, record, self._gaps_kept)
            except (RedisError, OSError) as error:
                self._lost[key] = lost.and_then(self._lost.get(key))
                if refusal_of(error).of_server:
                    raise
                self._telling.refused(error, symbol=gap_key)
                continue
            self._telling.accepted(symbol=gap_key)
            self._told_at[key] = now
            log.error("entries_lost", line=self._line, stream=key, first=lost.ids[0], last=lost.last,
                      entries=lost.count, reason=lost.reason)  # fmt: skip
