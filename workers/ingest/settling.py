"""How long a socket waits for the first message of every stream: to be settled, and to tell which are mute."""

from __future__ import annotations

import asyncio
from typing import Final

from workers.ingest.subscriptions import Subscriptions

SETTLE_S: Final = 5.0
"""How long a new socket, all of whose requests were answered, waits for the first message of every stream."""
RARELY_S: Final = 600.0
"""Longest pause between two reports of streams that were never heard."""


class Settling:
    """Whether one socket can be relied on; all times are monotonic seconds.

    `done` is set once every request was answered and every stream that speaks has had the time to do so: a quiet or
    halted symbol does not hold up the others.
    """

    def __init__(self, streams: Subscriptions, first_message_s: float) -> None:
        self._streams = streams
        self._first_message_s = first_message_s
        self._since, self._told_after_s = 0.0, first_message_s
        self._answered_at: float | None = None
        self.done = asyncio.Event()

    def opened(self, now: float) -> None:
        """The socket is open: what is asked for can be answered."""
        self._since = now

    def asked(self, now: float) -> None:
        """Further streams are asked for, and get their time."""
        self._since, self._told_after_s = now, self._first_message_s

    def look(self, now: float) -> None:
        """Say that the socket can be relied on, once that is so."""
        if self.done.is_set():
            return
        if not self._streams.answered:
            self._answered_at = None
        elif self._answered_at is None:
            self._answered_at = now
        waited = self._answered_at is not None and now - self._answered_at >= SETTLE_S
        spoke = self._streams.accepted > 0 and not self._streams.unheard  # of some nothing is to be expected
        if spoke or waited or now - self._since > self._first_message_s:
            self.done.set()

    def is_overdue(self, now: float) -> bool:
        """Whether it is time to tell of streams that never spoke."""
        return now - self._since > self._told_after_s

    def told(self) -> None:
        """They were told of: a thin or halted stream is told of ever more rarely."""
        self._told_after_s = min(self._told_after_s * 2, self._told_after_s + RARELY_S)
