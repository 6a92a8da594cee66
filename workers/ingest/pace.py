"""How fast a line may open sockets and send control frames, where an exchange limits an address over all of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from workers.venues.facts import Facts, Limit

LINES: Final = 2
"""They may have one address, and do not know of each other: each takes its part."""
MARGIN_S: Final = 0.25
"""What is sent evenly may arrive unevenly by so much."""


class Window:
    """At most a line's part of a limit within any of its periods. Times are monotonic seconds."""

    def __init__(self, limit: Limit) -> None:
        self._most = max(1, limit.weight // LINES)
        self._seconds = limit.seconds + MARGIN_S
        self._times: deque[float] = deque(maxlen=self._most)

    def wait_s(self, now: float) -> float:
        """How long to wait until the next time; not above 0: not at all."""
        return self._times[0] + self._seconds - now if len(self._times) == self._most else 0.0

    def count(self, now: float) -> None:
        """It happened."""
        self._times.append(now)


class _Turns:
    """One after another, each when the window has room."""

    def __init__(self, limit: Limit | None) -> None:
        self._window = None if limit is None else Window(limit)
        self._one = asyncio.Lock()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        if self._window is None:
            yield
            return
        async with self._one:
            while (wait_s := self._window.wait_s(time.monotonic())) > 0:  # noqa: ASYNC110 -- a sleep may end early
                await asyncio.sleep(wait_s)
            try:
                yield
            finally:
                self._window.count(time.monotonic())


class Pace:
    """That of all sockets of one line of a venue."""

    def __init__(self, facts: Facts) -> None:
        self._openings, self._frames = _Turns(facts.openings), _Turns(facts.frames)

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
