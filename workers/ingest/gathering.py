"""When a line appends what came: at once when little comes, together with what follows when much does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PAUSE_SHARE: Final = 1
"""The pause after a call, in lengths of it: the more comes, or the busier the machine, the more goes together. With
four an event is in the log 1.5 to 2 ms later at 3,500 messages a second; and a hundredth of a core is spared."""
LEFT_OVER_S: Final = 0.05
"""Pause between two tries of what could not be done yet."""
ENDING_S: Final = 0.1
"""Pause between two tries when it is to end."""


class Gathering:
    """Says when the next call is due. Wakes nobody while nothing comes.

    Args:
        longest_s: the longest pause between two calls while something waits.
        waits: whether something is to be appended.
        left_over: whether something is left that is to be tried again before long.
    """

    def __init__(self, longest_s: float, waits: Callable[[], bool], left_over: Callable[[], bool]) -> None:
        self._longest_s = longest_s
        self._waits = waits
        self._left_over = left_over
        self._news = asyncio.Event()
        self._full = asyncio.Event()
        self._ending = asyncio.Event()

    def came(self) -> None:
        """Something came. Cost: O(1)."""
        self._news.set()

    def is_much(self) -> None:
        """So much came that it goes without a pause."""
        self._full.set()

    async def due(self, took_s: float) -> None:
        """Return when the next call is due, the last one having taken so long; at once when it is to end."""
        if self._ending.is_set():
            return
        loop = asyncio.get_running_loop()
        pause_s = min(PAUSE_SHARE * took_s, self._longest_s)
        if pause_s > 0 and not self._full.is_set():
            timer = loop.call_later(pause_s, self._full.set)  # `wait_for` would make a task each time
            await self._full.wait()
            timer.cancel()
        self._full.clear()
        self._news.clear()
        if self._waits() or self._ending.is_set():
            return
        again = loop.call_later(LEFT_OVER_S, self._news.set) if self._left_over() else None
        await self._news.wait()
        if again is not None:
            again.cancel()

    async def failed(self, seconds: float) -> None:
        """Return when a call that failed is to be tried again: after so long, or soon when it is to end."""
        if self._ending.is_set():
            await asyncio.sleep(ENDING_S)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def end_with(self, stop: asyncio.Event) -> None:
        """From the time `stop` is set, what is left is due at once."""
        await stop.wait()
        self._ending.set()
        self._news.set()
        self._full.set()
