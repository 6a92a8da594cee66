"""An ingest line: sockets of every venue in, batches of stream entries out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

import aiohttp
import msgspec
import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.ingest.appender import Appender
from workers.ingest.arrivals import ArrivalClock
from workers.ingest.connection import MOST_NAMED, Connection
from workers.ingest.feed import Feed
from workers.ingest.feeds import VenueFeeds
from workers.ingest.line import Line
from workers.ingest.pace import Pace
from workers.ingest.subscriptions import Refusals
from workers.ingest.turns import Turns
from workers.ingest.wholeness import Wholeness, tell_dead
from workers.model.symbols.shares import Share
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.follow_symbols import follow
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.runtime.tasks import end
from workers.settings.schema import Settings
from workers.store.fleet.followed import Changed
from workers.store.fleet.resubscriptions import ResubscriptionReader
from workers.store.keys import DEPTH, ORDERS, TICKER, TRADES
from workers.store.log.streams import newest_ids, newest_ms
from workers.venues.messages import Subscription

log = structlog.get_logger()

TAKEN_OVER = Counter(
    "fleet_books_taken_over_total",
    "Streams subscribed anew because the line that writes their books fell silent",
    ["venue", "line"],
)
RENEWED = Counter(
    "fleet_books_renewed_total",
    "Streams subscribed anew because a book wanted to begin anew",
    ["venue", "line"],
)

DRAIN_S = 5.0
TICK_S = 0.1
"""Pause between two looks at what is held back, at the most; nobody looks while nothing is."""
REVIVE_POLL_S = 0.5
OTHER_LINE_EVERY_S = 1.0
DEAD_LOOKS = 2
"""So many times in a row its heartbeat was not there: one that is just starting may not have had the time."""
SECOND_LINE_S = 2.0
"""Line b heeds a request for a stream this much later: what it has heard by then needs no reviving."""


def retentions(settings: Settings, contexts: Sequence[VenueContext]) -> dict[str, int]:
    """For each raw stream key, how long its entries are kept, ms."""
    kept = {}
    for context in contexts:
        for symbol in context.symbols:
            kept[context.keys.raw(symbol, DEPTH)] = settings.streams.depth_ms
            kept[context.keys.raw(symbol, TRADES)] = settings.streams.trades_ms
            kept[context.keys.raw(symbol, TICKER)] = settings.streams.ticker_ms
            kept[context.keys.raw(symbol, ORDERS)] = settings.orders.raw_ms
            for channel in context.venue.channels:
                kept[context.keys.raw(symbol, channel)] = settings.streams.channels_ms
    return kept


def gap_keys(contexts: Sequence[VenueContext]) -> dict[str, tuple[str, str]]:
    """For each raw stream key, its gaps stream and channel."""
    return {
        context.keys.raw(symbol, channel): (context.keys.gaps(symbol), channel)
        for context in contexts
        for symbol in context.symbols
        for channel in (DEPTH, TRADES, TICKER, ORDERS, *context.venue.channels)
    }


def incomplete(
    contexts: Sequence[VenueContext], left_out: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Of the streams of which something was left out those (channel, symbol) whose messages say only what changed, by
    venue: a subscription brings all of it."""
    return {
        context.name: [
            (name, symbol)
            for name, channel in context.venue.channels.items()
            if channel.changes_only
            for symbol in context.symbols
            if context.keys.raw(symbol, name) in left_out
        ]
        for context in contexts
    }


class IngestWorker:
    """One line (`a` or `b`) of every venue in the settings; of its symbols the process's share."""

    def __init__(self, process: Process, line: str) -> None:
        self._process = process
        self._line = line
        self._settings = process.settings
        self._contexts = venue_contexts(process.settings, process.share)
        self._retentions = retentions(process.settings, self._contexts)
        self._gap_keys = gap_keys(self._contexts)
        self._appender = Appender(
            process.client,
            line,
            process.settings.ingest,
            self._retentions,
            self._gap_keys,
            process.settings.streams.gaps,
        )
        self._turns = Turns(
            self._appender.standby,
            self._contexts,
            process.settings.ingest.writer_silent_ms,
            partial(newest_ms, process.client),
        )
        self._began_holding = asyncio.Event()
        self._holding = asyncio.Event()
        """Messages are held back: the log may have what is missing before them."""
        self._feeds_of: dict[str, VenueFeeds] = {}
        self._clock = ArrivalClock(line)
        self._refusals = {
            context.name: Refusals(process.settings.ingest.refused_retry_s) for context in self._contexts
        }
        self._began_ms = self._clock.now_us() // 1000
        self._wholeness = {
            context.name: Wholeness(context.keys, line, self._appender.add) for context in self._contexts
        }
        self._lines = {
            context.name: Line(
                context.venue,
                context.keys,
                line,
                process.settings.ingest,
                context.symbols,
                self._appender.add,
                joining=True,
                clock=self._clock,
                tell=self._appender.tell,
                wholeness=self._wholeness[context.name],
                holds=self._began_holding.set,
            )
            for context in self._contexts
        }

    def _feeds(self, session: aiohttp.ClientSession, context: VenueContext) -> VenueFeeds:
        ingest, line = self._settings.ingest, self._lines[context.name]
        rotate_s = ingest.rotate_s - (ingest.rotate_stagger_s if self._line == "b" else 0)
        refusals, pace = (
            self._refusals[context.name],
            Pace(context.venue.facts, self._process.share.processes),
        )

        def opened(url: str, streams: Sequence[Subscription]) -> Connection:
            return Connection(
                session,
                context.venue,
                url,
                streams,
                self._line,
                ingest,
                context.settings,
                line,
                refusals,
                pace,
            )

        def feed(open_connection: Callable[[], Connection]) -> Feed:
            return Feed(open_connection, (context.name, self._line), ingest, max(rotate_s, 1.0))

        return VenueFeeds(context.venue, context.venue.facts.subscriptions, opened, feed)

    def _follow(self, context: VenueContext, changed: Changed) -> None:
        """Symbols were listed or given up: the sockets go on with others."""
        self._retentions.update(retentions(self._settings, [context]))
        self._gap_keys.update(gap_keys([context]))
        for symbol in changed.added:
            self._lines[context.name].follow(symbol)
        self._feeds_of[context.name].change(changed.added, changed.removed)
        for symbol in changed.removed:
            self._lines[context.name].give_up(symbol)
        log.info("symbols_changed", venue=context.name, line=self._line, added=changed.added[:20],
                 removed=changed.removed[:20], followed=len(context.symbols))  # fmt: skip

    async def _tick(self) -> None:
        """Release what waited long enough for the other line."""
        pause = min(max(self._settings.ingest.hold_ms / 4000, 0.005), TICK_S)
        while True:
            if not any(line.holding for line in self._lines.values()):
                self._began_holding.clear()
                await self._began_holding.wait()
            await asyncio.sleep(pause)
            now_us = self._clock.now_us()
            for line in self._lines.values():
                line.tick(now_us)
                if line.holding:
                    self._holding.set()

    def _report(self) -> None:
        """What the heartbeat and the metrics say."""
        for line in self._lines.values():
            line.report()
        self._appender.report()
        self._process.details = {
            "venues": ",".join(context.name for context in self._contexts),
            "alive": ",".join(name for name, feeds in self._feeds_of.items() if feeds.alive),
            "open": ",".join(name for name, feeds in self._feeds_of.items() if feeds.is_open),
            "since_ms": self._began_ms,
            "process": self._process.share.number,
            "processes": self._process.share.processes,
            "symbols": sum(len(context.symbols) for context in self._contexts),
            "appended": self._appender.appended,
            "repeats": self._appender.repeats,
            "dropped": self._appender.dropped,
            "waiting": self._appender.waiting,
            "breaks": sum(line.breaks for line in self._lines.values()),
            "refused": self._told_refused(),
            "refused_why": self._told_reasons(),
        }

    async def _take_from_log(self) -> None:
        """Let pass what is held back as soon as the log has what was missing, from the other line."""
        while True:
            await self._holding.wait()
            self._holding.clear()
            held = [(line, line.held_back) for line in self._lines.values()]
            keys = [key for _, streams in held for key in streams]
            with suppress(RedisError, OSError):  # the appender tells of it; the grace is over in any case
                newest = await newest_ids(self._process.client, keys) if keys else {}
                for line, streams in held:
                    for key, name in streams.items():
                        ms, update_id = newest.get(key, (0, 0))
                        line.supplied(name, update_id, ms)

    async def _watch_other_line(self) -> None:
        """Tell the log when the other line's process of these symbols is gone: it goes by what that said last."""
        other, missed, waits = "b" if self._line == "a" else "a", 0, Backoff("lines")
        while True:
            try:
                lives = await self._lives(f"ingest-{other}")
                waits.accepted()
            except (RedisError, OSError) as error:
                await asyncio.sleep(waits.refused(error))
                continue
            missed = 0 if lives else missed + 1
            if missed == DEAD_LOOKS:
                tell_dead(self._contexts, other, self._clock.now_us() // 1000, self._appender.add)
            await asyncio.sleep(OTHER_LINE_EVERY_S)

    async def _lives(self, role: str) -> bool:
        """Whether a process of a line that follows what this one does lives; any, where the numbers differ."""
        registry, share = self._process.registry, self._process.share
        if share.processes == 1:
            return bool(await registry.live(role))
        shares = [Share.from_heartbeat(line) for line in await registry.workers((role,))]
        return share in shares or any(other.processes != share.processes for other in shares)

    async def _revive(self) -> None:
        """Subscribe anew to streams that others found dead on both lines."""
        reader, waits = ResubscriptionReader(self._process.client, self._feeds_of), Backoff("resubscribe")
        while True:
            try:
                late = await self._turns.due(time.monotonic())
                for venue, names in late.items():
                    for name in names:
                        self._lines[venue].taking_over(*name)
                self._renew(late, TAKEN_OVER)
                asked = await reader.new()
                waits.accepted()
            except (RedisError, OSError) as error:
                await asyncio.sleep(waits.refused(error))
                continue
            if self._appender.left_out and self._appender.waiting <= self._settings.ingest.flush_entries:
                self._renew(incomplete(self._contexts, self._appender.left_out), RENEWED)
                self._appender.left_out.clear()
            for venue, requests in asked.items():
                names = [
                    (one.channel, one.symbol)
                    for one in requests
                    if self._line in one.line and self._process.share.has(one.symbol)
                ]
                self._renew({venue: names}, RENEWED)
            dead = {
                venue: [(one.channel, one.symbol) for one in requests if not one.line]
                for venue, requests in asked.items()
            }
            if any(dead.values()) and self._line != "a":
                await asyncio.sleep(SECOND_LINE_S)
            for venue, names in dead.items():
                self._feeds_of[venue].revive(names)
            await asyncio.sleep(REVIVE_POLL_S)

    def _renew(self, streams: Mapping[str, Sequence[tuple[str, str]]], metric: Counter) -> None:
        """Subscribe anew to streams (channel, symbol) by venue, so that their whole books come."""
        for venue, names in streams.items():
            if names:
                metric.labels(venue, self._line).inc(len(names))
                log.info("books_renewed", venue=venue, line=self._line, taken_over=metric is TAKEN_OVER,
                         symbols=[symbol for _, symbol in names[:20]])  # fmt: skip
                self._feeds_of[venue].renew(names)

    def _told_refused(self) -> str:
        """The streams the exchange refuses, some of them by name."""
        found = [f"{venue}:{name}" for venue, refusals in self._refusals.items() for name in refusals.names()]
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return ",".join(found[:MOST_NAMED]) + more

    def _told_reasons(self) -> str:
        """Those streams, and what the exchange said of each, as JSON; empty where none is refused."""
        found = {
            f"{venue}:{name}": why
            for venue, refusals in self._refusals.items()
            for name, why in refusals.reasons().items()
        }
        return msgspec.json.encode(dict(islice(found.items(), MOST_NAMED))).decode() if found else ""

    async def run(self) -> None:
        """Serve until told to stop; then close the sockets and flush what is buffered."""
        no_more = asyncio.Event()
        self._process.before_heartbeat = self._report
        # the process before this one may not have been able to say that it ended
        tell_dead(self._contexts, self._line, self._clock.now_us() // 1000, self._appender.add)
        flushing = asyncio.create_task(self._appender.run(no_more), name="ingest: flushing")
        async with Sessions(limit=0, headers={"User-Agent": f"marketfleet line-{self._line}"}) as sessions:
            for context in self._contexts:
                self._feeds_of[context.name] = self._feeds(sessions.sockets(context), context)
                self._feeds_of[context.name].change(context.symbols)
            feeds = [
                asyncio.create_task(feeds.run(), name=f"ingest: feeds of {venue}")
                for venue, feeds in self._feeds_of.items()
            ]
            ticking = asyncio.create_task(self._tick(), name="ingest: ticking")
            following = asyncio.create_task(
                follow(self._process, self._contexts, self._follow), name="ingest: following"
            )
            reviving = asyncio.create_task(self._revive(), name="ingest: reviving")
            taking = asyncio.create_task(self._take_from_log(), name="ingest: taking from the log")
            watching = asyncio.create_task(self._watch_other_line(), name="ingest: other line")
            stopping = asyncio.create_task(self._process.stop.wait(), name="ingest: stop")
            watched: set[asyncio.Task[Any]] = {
                stopping,
                ticking,
                following,
                reviving,
                taking,
                watching,
                *feeds,
            }
            try:
                done, _ = await asyncio.wait({*watched, flushing}, return_when=asyncio.FIRST_COMPLETED)
                self._process.stop.set()
            finally:
                await end(watched)
        for line in self._lines.values():
            line.tick(self._clock.now_us(), all_held=True)
        for wholeness in self._wholeness.values():
            wholeness.end(self._clock.now_us())
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
