"""The postgres role: stores trades, bars, published books, gaps, audits and analytics of the symbols it owns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError

from workers.postgres.metrics import BUFFERED, LAG
from workers.postgres.rows import Source, sources_of
from workers.postgres.stream import OwnedStream
from workers.postgres.writer import SymbolGap, Writer
from workers.runtime.backoff import Backoff
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.steady_clock import steady_ms
from workers.runtime.tasks import end
from workers.store.analytics.sampling import Samples
from workers.store.keys import POSTGRES_GROUP
from workers.store.log.streams import record_gap
from workers.store.log.tail import AT_ONCE, Place, Read, Tails
from workers.store.trades.folded import FoldedTrades

log = structlog.get_logger()

CHECK_S: Final = 30.0
"""How often a stream that brings nothing is compared with its place."""
LEAVES_S: Final = 15.0
"""For how long a symbol that is followed no more is read on: the other roles give it up, and close its last windows."""


class PostgresWorker:
    """The streams this process stores: one loop reads them, another writes."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._settings = process.settings.postgres
        self._contexts = venue_contexts(process.settings)
        self._tails = Tails(process.client)
        self._samples = Samples(process.client)
        self._sampled_at = -CHECK_S
        self.streams: dict[str, OwnedStream] = {}
        """The streams owned, by key."""
        self.ownership = Ownership(process, POSTGRES_GROUP, self._contexts, self)
        folded = {context.name: FoldedTrades(process.client, context.keys) for context in self._contexts}
        self.writer = Writer(self._settings, self.streams, folded, self._lost, self._record)
        self._refused: set[str] = set()

    async def recover(self, claim: Claim, token: int) -> None:
        """Take up a symbol; how far it is stored is found out once the database answers."""
        for source in self._sources(claim):
            self.streams[source.key] = OwnedStream(claim, source, token)

    def _sources(self, claim: Claim) -> list[Source]:
        context = claim.context
        tables, intervals = list(self._settings.tables), list(self._settings.intervals)
        return sources_of(
            context.keys,
            claim.symbol,
            tables,
            intervals,
            context.settings.trades != "none",
            self._process.settings.analytics.enabled,
        )

    async def hand_over(self, claim: Claim) -> None:
        """Give a symbol up: the next owner begins with what is stored, and Redis has the rest.

        Where there will be none it is stored to its end without a lease: the fence is the database's.
        """
        if claim.symbol in claim.context.symbols:
            self.forget(claim)
            return
        for source in self._sources(claim):
            if (stream := self.streams.get(source.key)) is not None:
                stream.leaves_at = time.monotonic() + LEAVES_S

    def forget(self, claim: Claim) -> None:
        """Drop a symbol."""
        for source in self._sources(claim):
            self.streams.pop(source.key, None)

    def retired(self, claim: Claim) -> None:
        """Nothing more to forget: how far it is stored is in the database."""

    def _lost(self, stream: OwnedStream) -> None:
        """Another worker has claimed a stream in the database."""
        stream.ready = False
        if stream.leaves_at:
            self.streams.pop(stream.source.key, None)
        self.ownership.lost(stream.claim, stream.token)

    async def _record(self, told: Sequence[SymbolGap]) -> None:
        kept = self._process.settings.streams.gaps
        for context, symbol, gap in told:
            try:
                await record_gap(self._process.client, context.keys.gaps(symbol), gap, kept)
            except RedisError as error:
                log.warning("postgres_gap_not_recorded", symbol=symbol, error=str(error))

    async def read(self) -> bool:
        """Read what is new of every stream there is room for; whether there is more.

        Raises:
            RedisError: the next call goes on from where this one was.
        """
        for key in [key for key, stream in self.streams.items() if stream.has_left]:
            del self.streams[key]
        more, room = False, self._room
        waiting = [
            stream for stream in self.streams.values() if stream.reads and stream.source.table != "analytics"
        ]
        waiting.sort(key=lambda stream: stream.read_at)
        for first in range(0, len(waiting), AT_ONCE):
            if room <= 0:
                break  # those that were not read are the first next time
            now = time.monotonic()
            asked = {stream.source.key: stream for stream in waiting[first : first + AT_ONCE]}
            doubted = [key for key, stream in asked.items() if now - stream.checked_at > CHECK_S]
            places = {key: stream.read_to.place for key, stream in asked.items()}
            found, refused = await self._tails.read(places, self._settings.read_count, frozenset(doubted))
            self._tell_refused(asked, refused)
            for read in await self._take(asked, places, found):
                room -= len(read.entries)
                more |= len(read.entries) >= self._settings.read_count or bool(read.loss)
            for stream in asked.values():
                stream.read_at = now
            for key in doubted:
                asked[key].checked_at = now
        now = time.monotonic()
        if self._room and now - self._sampled_at >= self._settings.figures_ms / 1000:
            self._sampled_at = now
            await self._sample()
        return more

    async def _take(
        self, asked: Mapping[str, OwnedStream], places: Mapping[str, Place], found: Mapping[str, Read]
    ) -> list[Read]:
        """Put what came into chunks; what of it is still wanted."""
        now, taken = time.monotonic(), []
        now_ms = max(
            int(time.time() * 1000), steady_ms()
        )  # a clock that was set back makes no row one of days ahead
        for key, read in found.items():
            stream = asked[key]
            if self.streams.get(key) is not stream or stream.read_to.place != places[key] or not stream.ready:
                continue  # it was given up, or begun anew, meanwhile
            stream.take(read, now_ms)
            stream.checked_at = now
            taken.append(read)
            await asyncio.sleep(0)
        return taken

    async def _sample(self) -> None:
        """Read what the analytics of the symbols say now."""
        asked = {
            key: stream
            for key, stream in self.streams.items()
            if stream.reads and stream.source.table == "analytics"
        }
        places = {key: stream.read_to.place for key, stream in asked.items()}
        found, refused = await self._samples.read(list(asked))
        self._tell_refused(asked, refused)
        await self._take(asked, places, found)
        for stream in asked.values():
            stream.read_at = self._sampled_at

    def _tell_refused(self, asked: Iterable[str], refused: Mapping[str, Exception]) -> None:
        for key, error in refused.items():
            if key not in self._refused:
                log.error("postgres_stream_unreadable", key=key, error=str(error))
        self._refused = (self._refused - set(asked)) | set(refused)

    @property
    def _buffered(self) -> int:
        return sum(stream.rows for stream in self.streams.values())

    @property
    def _room(self) -> int:
        """For how many more rows there is room: what the database refuses takes none of it from the others."""
        waiting = sum(stream.rows for stream in self.streams.values() if not stream.retry_at)
        return max(0, self._settings.buffer_rows - waiting)

    def tell(self) -> None:
        """Bring metrics and heartbeat up to date."""
        now_ms = int(time.time() * 1000)
        oldest = {context.name: now_ms for context in self._contexts}
        for stream in self.streams.values():
            if stream.chunks:
                venue = stream.claim.context.name
                oldest[venue] = min(oldest[venue], stream.lag_ms)
        for venue, ms in oldest.items():
            LAG.labels(venue).set((now_ms - ms) / 1000)
        BUFFERED.set(self._buffered)
        away_s = self.writer.away_s
        self._process.details = {
            "symbols": self.ownership.held,
            "streams": len(self.streams),
            "buffered": self._buffered,
            "lag_ms": now_ms - min(oldest.values(), default=now_ms),
            "database": f"away for {away_s:.0f} s" if away_s else "up",
        }

    async def run(self) -> None:
        """Serve until told to stop; then store what is read and give everything back."""
        self._process.before_heartbeat = self.tell
        stop, done_reading = self._process.stop, asyncio.Event()
        tasks = [
            asyncio.create_task(self.ownership.run(), name="postgres: leases"),
            asyncio.create_task(self.writer.run(done_reading), name="postgres: writer"),
        ]
        waits = Backoff("postgres")
        try:
            while not stop.is_set():
                for task in tasks:
                    if task.done():
                        task.result()  # an error nobody foresaw: this process is of no use
                more, wait_s = False, 0.0
                try:
                    more = await self.read()
                    waits.accepted()
                except RedisError as error:
                    wait_s = waits.refused(error)
                    for stream in self.streams.values():
                        stream.checked_at = 0.0  # the server may come back with less than it had
                await self._process.sleep(
                    0 if more and self._room else max(wait_s, self._settings.poll_ms / 1000)
                )
            done_reading.set()
            await tasks[1]
        finally:
            await end(tasks)
            await self.ownership.release_all()


async def main(process: Process) -> None:
    """The role's loop."""
    await PostgresWorker(process).run()
