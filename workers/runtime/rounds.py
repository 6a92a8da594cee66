"""When the rounds of a role that reads streams begin: when something comes, not ever so often.

    rounds = Rounds(client, process.stop, "books", books, settings.gather_ms)
    while not process.stop.is_set():
        ready = await rounds.next(until)
        rounds.took(await step(ready), more=False)

The first entry after a pause begins a round at once. What comes within a short while after it is gathered into the
next: the longer rounds take, the longer that while, so that there are few, whatever comes. Under load nobody listens
any more, for something always has come; a role that has no use for it yet waits until it has. The decision and its
figures: docs/decisions/event-driven-rounds.md.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.runtime.backoff import Backoff
from workers.runtime.tasks import end
from workers.store.log.doorbell import new_entries
from workers.store.log.streams import Delivered, goes_on

ROUNDS = Counter("fleet_rounds_total", "Rounds of this worker, by what began them", ["role", "cause"])

MANY: Final = 4
"""Entries of one round after which the next does not wait for a first one."""
BUSY_PER_S: Final = 400.0
"""Entries a second from which on nobody listens, however few of them the last round had."""
RECENT_S: Final = 0.2
"""How far back those are counted, about: older ones count less and less."""
TIMES: Final = 4
"""Where every ms counts, as for books: what the gathering after a round is at most, in lengths of that round."""


class Followed(Protocol):
    """One stream, as its owner reads it."""

    last_stream_id: bytes
    """Up to where it has been read."""

    @property
    def listens(self) -> bool:
        """Whether a new entry of it can be read at once."""


class Heard(NamedTuple):
    """What a stream has after a place, as it was heard of: no group has given it to anybody."""

    after: bytes
    entries: Sequence[Delivered]
    """In a row after that place; none: something else happened to the symbol."""


NOTHING: Final = Heard(b"0-0", ())


class Rounds:
    """Waits between the rounds of one role.

    Args:
        client: must not retry by itself; one connection of it waits.
        stop: ends every wait.
        streams: those owned, by key.
        gather_ms: the longest that entries are gathered.
        times: for as long as the last round took, times this, entries are gathered before the next one; infinity: for
            `gather_ms` in any case.
        count: entries of one stream heard of at once, at most.
        late_s: by so much a round that is due may be late because entries are gathered.
    """

    def __init__(
        self,
        client: Redis,
        stop: asyncio.Event,
        role: str,
        streams: Mapping[str, Followed],
        gather_ms: int,
        times: float = TIMES,
        count: int = 1,
        late_s: float = math.inf,
    ) -> None:
        self._client = client
        self._stop = stop
        self._role = role
        self._streams = streams
        self._gather_s = gather_ms / 1000
        self._times = times
        self._count = count
        self._late_s = late_s
        self._woken = asyncio.Event()
        self._ready: dict[str, Heard] = {}
        self._heard: dict[str, bytes] = {}
        """By key, the entry last heard of, until it has been read."""
        self._call: asyncio.Task[dict[str, list[Delivered]]] | None = None
        self._listening: Mapping[str, bytes] = {}
        """The places of the call under way, by key."""
        self._outdated = False
        """Whether that call lacks a stream."""
        self._stopping: asyncio.Task[bool] | None = None
        self._began_at = 0.0
        self._entries, self._more = 0, False
        self._recent, self._counted_at = 0.0, 0.0
        self._deaf = Backoff("listen")

    def touch(self, key: str) -> None:
        """Something happened to a symbol elsewhere than in a round: the next one is to see to it, at once."""
        self._ready.setdefault(key, NOTHING)
        self._outdated = self._outdated or key not in self._listening
        self._woken.set()

    def took(self, entries: int, *, more: bool) -> None:
        """A round is over that took so many entries in; `more`: not all that there was."""
        self._entries, self._more = entries, more
        now = time.monotonic()
        self._recent = self._recent * math.exp((self._counted_at - now) / RECENT_S) + entries
        self._counted_at = now

    @property
    def busy(self) -> bool:
        """Whether so much came of late that the next entries are surely there before anybody could hear of them."""
        return self._recent >= BUSY_PER_S * RECENT_S

    async def next(self, until: float, unwanted_until: float = 0.0) -> Mapping[str, Heard] | None:
        """Return when a round is to begin: something has come, or it is `until` (monotonic seconds).

        Args:
            unwanted_until: before this, new entries would be of no use: where nobody listens they are left until then.

        Returns what was heard of which streams; None: all are to be read, as any may have brought something.
        """
        ended_at = time.monotonic()
        cause, window_s = "load", 0.0
        if self._began_at and not self._more:
            window_s = min(self._gather_s, self._times * (ended_at - self._began_at))
        if self._entries < MANY and not self._more:
            if self.busy:
                window_s = (
                    self._gather_s
                )  # rounds that find little are short: more of them would find nothing
            else:
                cause = await self._wait(until)
                window_s -= time.monotonic() - ended_at
        if window_s > 0 or cause == "load":
            await asyncio.sleep(max(0.0, min(window_s, until + self._late_s - time.monotonic())))
        if cause == "load" and not self._more:
            await self._leave(min(until, unwanted_until))
        self._began_at, self._entries, self._more = time.monotonic(), 0, False
        ready, self._ready = self._ready, {}
        ROUNDS.labels(self._role, cause).inc()
        reads_all = cause in ("load", "deaf") or (cause == "entries" and window_s > 0)
        return None if reads_all else ready

    async def _leave(self, until: float) -> None:
        """Wait while nothing that comes is wanted, unless a symbol is touched or it is to end."""
        if time.monotonic() >= until:
            return
        loop = asyncio.get_running_loop()
        self._heed_stop()
        self._woken.clear()
        while (left_s := until - time.monotonic()) > 0 and not self._ready and not self._stop.is_set():
            # the loop counts in whole ms
            timer = loop.call_later(left_s + 0.0005, self._woken.set)
            await self._woken.wait()
            timer.cancel()
            self._woken.clear()

    async def _wait(self, until: float) -> str:
        """Wait for entries, a touch, the end or `until`; which of them it was."""
        loop = asyncio.get_running_loop()
        self._heed_stop()
        over = asyncio.Event()
        timer = loop.call_later(max(0.0, until - time.monotonic()), self._expire, over)
        try:
            while True:
                self._woken.clear()
                if (cause := self._heard_now()) is not None:
                    return cause
                if self._ready:
                    return "touched"
                # the loop's clock is that of its last turn: its timers come some ms before their time
                if self._stop.is_set() or over.is_set():
                    return "timer"
                await self._listen()
                await self._woken.wait()
        finally:
            timer.cancel()

    def _heed_stop(self) -> None:
        """From now on the end ends every wait."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop.wait(), name=f"{self._role}: stop")
            self._stopping.add_done_callback(self._wake)

    def _wake(self, _: asyncio.Task[Any]) -> None:
        self._woken.set()

    def _expire(self, over: asyncio.Event) -> None:
        over.set()
        self._woken.set()

    def _heard_now(self) -> str | None:
        """Why a round is to begin, if the call under way has answered and said so."""
        if self._call is None or not self._call.done():
            return None
        call, self._call = self._call, None
        try:
            heard = call.result()
        except (RedisError, OSError) as error:
            # the round itself finds out what is wrong, and with which key
            asyncio.get_running_loop().call_later(self._deaf.refused(error), self._woken.set)
            return "deaf"
        self._deaf.accepted()
        for key, entries in heard.items():
            last = entries[-1].stream_id
            if key in self._streams and goes_on(self._streams[key].last_stream_id, last):
                self._heard[key] = last
                self._ready[key] = Heard(self._listening[key], entries)
        return "entries" if self._ready else None

    async def _listen(self) -> None:
        """Begin to wait at the server, unless that is under way for every stream there is."""
        if self._call is not None:
            if not self._outdated:
                return
            await end([self._call])
            self._call = None
        if not self._deaf.due():
            return
        places = {key: stream.last_stream_id for key, stream in self._streams.items() if stream.listens}
        for key, entry in list(self._heard.items()):
            # what was heard of and is not read is another's, or held back: it is not to be heard of for ever
            if key in places and goes_on(places[key], entry):
                places[key] = entry
            else:
                del self._heard[key]
        self._listening, self._outdated = places, False
        if places:
            self._call = asyncio.create_task(
                new_entries(self._client, places, self._count), name=f"{self._role}: listening"
            )
            self._call.add_done_callback(self._wake)

    async def close(self) -> None:
        """Wait for nothing any more."""
        await end([task for task in (self._call, self._stopping) if task is not None])
