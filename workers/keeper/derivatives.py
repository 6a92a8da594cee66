"""Folding what the further channels say of derivatives into `derivatives:{S}` and `liquidations:{S}`.

The log is read without a group, and what is written may be written again: a keeper that starts reads on from a little
before the newest that is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError, ResponseError

from workers.errors import MalformedFrame, StateUnreadable
from workers.model.derivatives.figures import DerivativesUpdate, Figure, Liquidation, merged
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.process import Process
from workers.runtime.unreadable import UnreadableKeys
from workers.store.connection import connect_reader
from workers.store.derivatives.streams import DerivativeStreams, liquidation_id
from workers.store.fleet.resubscriptions import ask_anew
from workers.store.log.follower import START, Entry, StreamFollower, before, entry_id, not_streams
from workers.store.log.streams import newest_ms
from workers.store.refusals import refusal_of
from workers.venues.channels import ExtraChannel

log = structlog.get_logger()

APPENDED = Counter("fleet_derivatives_appended_total", "Entries of figures and liquidations", ["kind"])
MALFORMED = Counter(
    "fleet_derivatives_malformed_total", "Messages of channels that could not be read", ["venue", "channel"]
)
LOST = Counter(
    "fleet_derivatives_lost_total",
    "Streams that were trimmed before they were read",
    ["venue", "channel"],
)
FAILED = Counter("fleet_derivatives_failed_total", "Rounds over which our own code failed")

ROUND_S: Final = 0.1
AGAIN_MS: Final = 10_000
"""How far before the newest entry a keeper that starts begins to read: lines may be so late."""
AHEAD_MS: Final = 1_000
"""How far a figure's time may be ahead of that by which its message was filed: a later one would stand for good."""
STREAMS_AT_ONCE: Final = 200
"""Streams of one reader: it bounds what the server does in one go."""
SPOILED_S: Final = 5.0
"""Pause between two looks at a key that is no stream."""
MOST_TOLD: Final = 20


class Source(NamedTuple):
    """A stream of the log that says something of a derivative."""

    context: VenueContext
    symbol: str
    name: str
    channel: ExtraChannel


class DerivativesFold:
    """The channels of all venues that are typed, of the symbols that are followed."""

    def __init__(self, process: Process, contexts: Sequence[VenueContext]) -> None:
        self._process = process
        self._contexts = [
            context
            for context in contexts
            if any(channel.read is not None for channel in context.venue.channels.values())
        ]
        self._client = connect_reader(process.url)
        self._streams = DerivativeStreams(process.client)
        self._sources: dict[str, Source] = {}
        self._readers: list[StreamFollower] = []
        self._spoiled: dict[str, float] = {}
        """Keys that are no streams, and when they are looked at again (monotonic seconds)."""
        self._figures: dict[str, dict[str, Figure]] = {}
        """What is read and not written yet, by key."""
        self._liquidations: list[tuple[str, str, Liquidation]] = []
        self._unreadable = UnreadableKeys("keeper")
        self._waits = Backoff("derivatives")
        self._told, self._failed_keys = 0, False

    async def run(self) -> None:
        """Fold until told to stop; at once over if no venue has such channels."""
        try:
            while self._contexts and not self._process.stop.is_set():
                wait_s = ROUND_S
                try:
                    await self.step()
                    self._waits.accepted()
                except (RedisError, OSError) as error:
                    wait_s = max(wait_s, self._waits.refused(error))
                except Exception as error:  # of one round: the next one goes on behind what was read
                    FAILED.inc()
                    log.error("derivatives_failed", exc_info=error)
                await self._process.sleep(wait_s)
        finally:
            await self._client.aclose()

    async def step(self) -> None:
        """One round: read what is new, write what it changes.

        Raises:
            RedisError, OSError: Redis did not answer; nothing is lost, the next round goes on.
        """
        await self._write()
        await self._find(time.monotonic())
        for reader in self._readers:
            try:
                found = await reader.read(0)
            except ResponseError as error:
                if refusal_of(error).of_server or not await self._leave_out_spoiled(reader):
                    raise
                continue
            for lost in found.lost:
                await self._lost(self._sources[lost.key], lost.after)
            for key, entries in found.entries.items():
                self._take(self._sources[key], entries)
            await self._write()

    async def _find(self, now: float) -> None:
        """Begin with the streams of symbols that are new, and leave those of symbols that are gone."""
        wanted = {
            context.keys.raw(symbol, name): Source(context, symbol, name, channel)
            for context in self._contexts
            for symbol in context.symbols
            for name, channel in context.venue.channels.items()
            if channel.read is not None
        }
        for key in self._sources.keys() - wanted.keys():
            self._leave(key)
        new = {
            key: source
            for key, source in wanted.items()
            if key not in self._sources and now >= self._spoiled.get(key, now)
        }
        if not new:
            return
        written = {key for source in new.values() for key in _written_by(source)}
        newest = await newest_ms(self._process.client, list(written))
        for key, source in new.items():
            stands = max(newest.get(written, 0) for written in _written_by(source))
            reader = next((one for one in self._readers if len(one.positions) < STREAMS_AT_ONCE), None)
            if reader is None:
                reader = StreamFollower(self._client, {})
                self._readers.append(reader)
            reader.positions[key] = before(stands - AGAIN_MS) if stands else START
            self._sources[key] = source

    def _leave(self, key: str) -> None:
        del self._sources[key]
        for reader in self._readers:
            reader.positions.pop(key, None)

    async def _leave_out_spoiled(self, reader: StreamFollower) -> bool:
        """Leave keys that are no streams alone for a while: each fails the read of all. Whether there are some."""
        bad = await not_streams(self._process.client, list(reader.positions))
        self._unreadable.looked(
            "derivatives read", [StateUnreadable(key, "it is of another type") for key in bad]
        )
        for key in bad:
            self._spoiled[key] = time.monotonic() + SPOILED_S
            self._leave(key)
        return bool(bad)

    def _take(self, source: Source, entries: Sequence[Entry]) -> None:
        keys = source.context.keys
        for stream_id, fields in entries:
            update = self._read(source, fields)
            if update is None:
                continue
            if update.figures:
                key, latest_ms = keys.derivatives(source.symbol), entry_id(stream_id)[0] + AHEAD_MS
                figures = {
                    name: figure._replace(time_ms=min(figure.time_ms, latest_ms))
                    for name, figure in update.figures.items()
                }
                self._figures[key] = merged(self._figures.get(key, {}), figures)
            key = keys.liquidations(source.symbol)
            for place, row in enumerate(update.liquidations):
                self._liquidations.append((key, liquidation_id(stream_id.decode(), place), row))

    def _read(self, source: Source, fields: Mapping[bytes, bytes]) -> DerivativesUpdate | None:
        """What an entry says; None for one that is malformed, which costs nothing else."""
        venue = source.context.name
        try:
            return source.channel.read(fields.get(b"data", b"")) if source.channel.read else None
        except MalformedFrame as error:
            MALFORMED.labels(venue, source.name).inc()
            self._told += 1
            if self._told <= MOST_TOLD or self._told % 1000 == 0:
                log.warning("derivatives_malformed", venue=venue, symbol=source.symbol, channel=source.name,
                            error=str(error))  # fmt: skip
            return None

    async def _write(self) -> None:
        """Write what was read; it is kept until Redis has it."""
        kept = self._process.settings.streams
        bad: list[StateUnreadable] = []
        if self._figures:
            done = await self._streams.merge(self._figures, kept.derivatives_ms)
            APPENDED.labels("figures").inc(done.appended)
            bad += done.bad
            self._figures = {}
        if self._liquidations:
            done = await self._streams.liquidations(self._liquidations, kept.liquidations_ms)
            APPENDED.labels("liquidations").inc(done.appended)
            bad += done.bad
            self._liquidations = []
        if bad or self._failed_keys:
            self._unreadable.looked("derivatives", bad)
            self._failed_keys = bool(bad)

    async def _lost(self, source: Source, after: str) -> None:
        """A stream was trimmed before it was read: where messages say only what changed, all is asked for anew."""
        venue, name = source.context.name, source.name
        LOST.labels(venue, name).inc()
        log.warning("derivatives_lost", venue=venue, symbol=source.symbol, channel=name, after=after)
        if source.channel.changes_only:
            why = f"the log was trimmed beyond {after}"
            await ask_anew(self._process.client, venue, source.symbol, name, why, line="ab")


def _written_by(source: Source) -> tuple[str, str]:
    keys = source.context.keys
    return keys.derivatives(source.symbol), keys.liquidations(source.symbol)
