"""An ingest line: sockets of every venue in, batches of stream entries out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import aiohttp
import structlog

from workers.context import VenueContext, venue_contexts
from workers.ingest.appender import Appender
from workers.ingest.connection import Connection
from workers.ingest.feed import Feed
from workers.ingest.line import Line
from workers.process import Process
from workers.settings import Settings
from workers.store.keys import DEPTH, TRADES
from workers.tasks import end
from workers.venues.interface import Endpoint, Subscription

log = structlog.get_logger()

DRAIN_S = 5.0


def retentions(settings: Settings, contexts: Sequence[VenueContext]) -> dict[str, int]:
    """For each raw stream key, how long its entries are kept, ms."""
    kept = {}
    for context in contexts:
        for symbol in context.symbols:
            kept[context.keys.raw(symbol, DEPTH)] = settings.streams.depth_ms
            kept[context.keys.raw(symbol, TRADES)] = settings.streams.trades_ms
    return kept


def gap_keys(contexts: Sequence[VenueContext]) -> dict[str, tuple[str, str]]:
    """For each raw stream key, its gaps stream and channel."""
    return {
        context.keys.raw(symbol, channel): (context.keys.gaps(symbol), channel)
        for context in contexts
        for symbol in context.symbols
        for channel in (DEPTH, TRADES)
    }


def shards(endpoint: Endpoint, size: int) -> Iterator[list[Subscription]]:
    """An endpoint's streams, in pieces small enough for one socket."""
    for first in range(0, len(endpoint.subscriptions), size):
        yield endpoint.subscriptions[first : first + size]


class IngestWorker:
    """One line (`a` or `b`) of every venue in the settings."""

    def __init__(self, process: Process, line: str) -> None:
        self._process = process
        self._line = line
        self._settings = process.settings
        self._contexts = venue_contexts(process.settings)
        self._appender = Appender(
            process.client,
            line,
            process.settings.ingest,
            retentions(process.settings, self._contexts),
            gap_keys(self._contexts),
            process.settings.streams.gaps,
        )
        self._feeds_of: dict[str, list[Feed]] = {}
        self._lines = [
            Line(
                context.venue,
                context.keys,
                line,
                process.settings.ingest,
                context.symbols,
                self._appender.add,
                joining=True,
            )
            for context in self._contexts
        ]

    def _feeds(self, session: aiohttp.ClientSession, context: VenueContext, line: Line) -> Iterator[Feed]:
        ingest = self._settings.ingest
        rotate_s = ingest.rotate_s - (ingest.rotate_stagger_s if self._line == "b" else 0)
        for endpoint in context.venue.endpoints(context.symbols):
            for shard in shards(endpoint, context.settings.streams_per_socket):
                opener = self._opener(session, context, line, endpoint.url, shard)
                yield Feed(opener, (context.name, self._line), ingest, max(rotate_s, 1.0))

    def _opener(
        self,
        session: aiohttp.ClientSession,
        context: VenueContext,
        line: Line,
        url: str,
        shard: Sequence[Subscription],
    ) -> Callable[[], Connection]:
        def opened() -> Connection:
            return Connection(
                session,
                context.venue,
                url,
                shard,
                self._line,
                self._settings.ingest,
                context.settings,
                line.frame,
            )

        return opened

    async def _tick(self) -> None:
        """Release what waited long enough for the other line, and report."""
        pause = max(self._settings.ingest.hold_ms / 2000, 0.005)
        while True:
            await asyncio.sleep(pause)
            now_us = time.time_ns() // 1000
            for line in self._lines:
                line.tick(now_us)
            self._process.details = {
                "venues": ",".join(context.name for context in self._contexts),
                "alive": ",".join(
                    name for name, feeds in self._feeds_of.items() if all(feed.alive for feed in feeds)
                ),
                "symbols": sum(len(context.symbols) for context in self._contexts),
                "appended": self._appender.appended,
                "repeats": self._appender.repeats,
                "dropped": self._appender.dropped,
                "waiting": self._appender.waiting,
                "breaks": sum(line.breaks for line in self._lines),
            }

    async def run(self) -> None:
        """Serve until told to stop; then close the sockets and flush what is buffered."""
        no_more = asyncio.Event()
        flushing = asyncio.create_task(self._appender.run(no_more))
        async with aiohttp.ClientSession(headers={"User-Agent": f"marketfleet line-{self._line}"}) as session:
            self._feeds_of = {context.name: list(self._feeds(session, context, line)) for context, line in
                              zip(self._contexts, self._lines, strict=True)}  # fmt: skip
            feeds = [asyncio.create_task(feed.run()) for some in self._feeds_of.values() for feed in some]
            ticking = asyncio.create_task(self._tick())
            stopping = asyncio.create_task(self._process.stop.wait())
            watched: set[asyncio.Task[Any]] = {stopping, ticking, *feeds}
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            self._process.stop.set()
            await end([ticking, stopping, *feeds])
        for line in self._lines:
            line.tick(time.time_ns() // 1000, all_held=True)
        no_more.set()
        try:
            await asyncio.wait_for(flushing, DRAIN_S)
        except TimeoutError:
            log.error("buffer_abandoned", line=self._line, entries=self._appender.waiting)
        for task in done:
            task.result()  # a feed that ended by itself did so by an error nobody foresaw


async def main(process: Process) -> None:
    """The role's loop; the line is the last letter of the role (`ingest-a`)."""
    await IngestWorker(process, process.role.rpartition("-")[2]).run()
