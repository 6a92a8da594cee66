"""The one reader of Redis in an API process, however many clients there are.

It follows the union of the streams in demand from one place each, and runs the polls, all in one task: a stream is
read once and handed to whoever follows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.runtime.tasks import end
from workers.store.books.watch import Entry, Watch

log = structlog.get_logger()

STREAMS = Gauge("fleet_api_streams", "Streams the API follows")
READ = Counter("fleet_api_entries_read_total", "Stream entries read by the API")
TROUBLE = Counter("fleet_api_redis_trouble_total", "Rounds of reading that Redis did not answer")

STUMBLED = Counter("fleet_api_stumbled_total", "Entries and polls over which the reader's own code failed")

READ_COUNT = 200
"""Entries of one stream in one round."""

QUIET_S = 0.25
"""Longest pause between two rounds: what is shown depends on when Redis last answered."""
WAITING_S = 0.25
"""A round that takes longer waits for Redis."""
MOST_SHARE = 4
"""A poll that takes long is run no more often than this many times as long."""

Take = Callable[[Sequence[Entry]], None]


class _Place:
    """Where a follower stands in a stream; None: its end, still to be found."""

    __slots__ = ("at", "take")

    def __init__(self, take: Take, at: bytes | None) -> None:
        self.take = take
        self.at = at


class _Poll:
    """Something done every so often."""

    __slots__ = ("due", "interval_s", "run")

    def __init__(self, run: Callable[[], Awaitable[None]], interval_s: float) -> None:
        self.run = run
        self.interval_s = interval_s
        self.due = 0.0


class Reader:
    """Follows streams and runs polls.

    Args:
        read_ms: pause between two rounds while a stream is followed; without one a round comes when a poll is due.
    """

    def __init__(self, watch: Watch, read_ms: int) -> None:
        self.watch = watch
        self._pause_s = read_ms / 1000
        self.is_idle: Callable[[], bool] = lambda: False
        """Whether nobody wants anything: then no poll has anything to do."""
        self._sooner = asyncio.Event()
        """Something new is wanted: the next round does not wait for a poll to be due."""
        self._places: dict[str, _Place] = {}
        self._polls: list[_Poll] = []
        self._after: list[Callable[[], None]] = []
        self._told: set[tuple[str, type[Exception]]] = set()
        self.heard_at = float("-inf")
        """When Redis last answered a whole round (monotonic seconds)."""

    def follow(self, key: str, take: Take, after: bytes | None = None) -> None:
        """Hand the entries of a stream after an id (None: from now on) to `take`; replaces an earlier follower."""
        self._places[key] = _Place(take, after)
        self._sooner.set()
        STREAMS.set(len(self._places))

    def leave(self, key: str) -> None:
        """Stop following a stream."""
        self._places.pop(key, None)
        STREAMS.set(len(self._places))

    @property
    def streams(self) -> int:
        """Streams followed now."""
        return len(self._places)

    def every(self, interval_s: float, run: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Run a poll at least `interval_s` apart; returns what makes it due at once."""
        poll = _Poll(run, interval_s)
        self._polls.append(poll)

        def hurry() -> None:
            poll.due = 0.0
            self._sooner.set()

        return hurry

    def after_each_round(self, run: Callable[[], None]) -> None:
        """Run something after the entries of a round were handed out."""
        self._after.append(run)

    async def _find_ends(self) -> None:
        wanted = {key: place for key, place in self._places.items() if place.at is None}
        if not wanted:
            return
        ends = await self.watch.ends(list(wanted))
        for place, at in zip(wanted.values(), ends, strict=True):
            place.at = at

    async def step(self) -> None:
        """One round: read what is new everywhere, run the polls that are due."""
        await self._find_ends()
        asked = dict(self._places)
        places = {key: place.at for key, place in asked.items() if place.at is not None}
        found = await self.watch.read(places, READ_COUNT)
        for key, entries in found.items():
            place = asked[key]
            if entries and self._places.get(key) is place:  # else replaced while the question was on its way
                place.at = entries[-1][0]
                READ.inc(len(entries))
                try:
                    place.take(entries)
                except (
                    Exception
                ) as error:  # whoever follows it goes on with what comes next, and the others with theirs
                    self._stumbled(key, error)
        now = time.monotonic()
        for poll in self._polls:
            if now >= poll.due:
                poll.due = float("inf")  # unless it is hurried while it runs
                began = time.monotonic()
                try:
                    await poll.run()
                except (RedisError, OSError):
                    raise
                except Exception as error:
                    self._stumbled(getattr(poll.run, "__name__", "poll"), error)
                finally:
                    took = time.monotonic() - began
                    poll.due = min(poll.due, began + max(poll.interval_s, MOST_SHARE * took))
        self.heard_at = time.monotonic()
        for run in self._after:
            run()

    async def _step_watched(self) -> None:
        """One round; while it waits long for Redis, what depends on how long that has been is done all the same."""
        step = asyncio.create_task(self.step(), name="api: reading")
        try:
            while not (await asyncio.wait([step], timeout=WAITING_S))[0]:
                for run in self._after:
                    run()
            step.result()
        finally:
            await end([step])

    def _stumbled(self, place: str, error: Exception) -> None:
        """Our own code failed at one place: counted, and told once for each kind of error there."""
        STUMBLED.inc()
        if (told := (place, type(error))) not in self._told:
            self._told.add(told)
            log.error("api_reader_stumbled", place=place, exc_info=error)

    async def run(self) -> None:
        """Read until cancelled."""
        troubled = False
        while True:
            try:
                await self._step_watched()
                if troubled:
                    log.info("api_redis_back")
                troubled = False
            except (RedisError, OSError) as error:
                TROUBLE.inc()
                if not troubled:
                    log.warning("api_redis_trouble", error=str(error))
                troubled = True
                for run in self._after:
                    run()
                await asyncio.sleep(0.2)
            await self._pause()

    async def _pause(self) -> None:
        """Wait until the next round."""
        self._sooner.clear()
        await asyncio.sleep(self._pause_s)
        if not self._places:
            dues = () if self.is_idle() else (poll.due - time.monotonic() for poll in self._polls)
            timer = asyncio.get_running_loop().call_later(min([QUIET_S, *dues]), self._sooner.set)
            await self._sooner.wait()
            timer.cancel()
