"""How fast a process of a line may open sockets and send control frames, where an exchange limits an address over all
of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from workers.venues.facts import Facts, Limit

LINES: Final = 2
"""They may have one address, and do not know of each other: each takes its part, and of that each of its processes."""
MARGIN_S: Final = 0.25
"""What is sent evenly may arrive unevenly by so much."""
IN_A_ROW_S: Final = 60.0
"""In periods below it what is sent at once could arrive as too much."""


class Window:
    """At most one part of a limit within any of its periods; times are monotonic seconds.

    Where there are more parts than the limit has room for, each goes once in a longer period.
    """

    def __init__(self, limit: Limit, parts: int = LINES) -> None:
        self._most = max(1, limit.weight // parts)
        self._seconds = limit.seconds * max(1.0, parts / limit.weight) + MARGIN_S
        self._times: deque[float] = deque(maxlen=self._most)

    def wait_s(self, now: float) -> float:
        """How long to wait until the next time; not above 0: not at all."""
        return self._times[0] + self._seconds - now if len(self._times) == self._most else 0.0

    def count(self, now: float) -> None:
        """It happened."""
        self._times.append(now)


class _Turns:
    """Each when the window has room; one after another where seconds matter, else one that hangs holds up no other."""

    def __init__(self, limit: Limit | None, parts: int) -> None:
        self._window = None if limit is None else Window(limit, parts)
        self._in_a_row = limit is not None and limit.seconds < IN_A_ROW_S
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        if self._window is None:
            yield
            return
        async with self._one:
            while (wait_s := self._window.wait_s(time.monotonic())) > 0:  # noqa: ASYNC110 -- a sleep may end early
                await asyncio.sleep(wait_s)
            if self._in_a_row:
                try:
                    yield
                finally:
                    self._window.count(time.monotonic())
                return
            self._window.count(time.monotonic())
        yield


class Pace:
    """That of all sockets of one process of a line of a venue.

    Args:
        processes: how many the line has.
    """

    def __init__(self, facts: Facts, processes: int = 1) -> None:
        parts = LINES * processes
        self._openings, self._frames = _Turns(facts.openings, parts), _Turns(facts.frames, parts)

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        """The turn to open a socket and to send its first frame, for which some exchanges wait only seconds."""
        async with self._openings.next(), self._frames.next():
            yield

    @asynccontextmanager
    async def frame(self) -> AsyncIterator[None]:
        """The turn to send a control frame."""
        async with self._frames.next():
            yield
