"""Whether a book in sync may be outdated though nothing in its stream says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LivingLine(NamedTuple):
    """A line whose sockets are all alive."""

    beat_ms: int
    """When it said so."""
    since_ms: int
    """Since when it runs."""


class Freshness:
    """Two reasons to withhold a book in sync, both judged by who listens to the exchange; times in ms since 1970.

    Its stream is silent for long and no line lives: the exchange may have gone on without us. Or it was recovered, and
    no line has lived since its last event (the whole fleet was away): then it is unproven, until an event follows that
    a living line may have brought, or a snapshot says the same. O(lines).
    """

    def __init__(self) -> None:
        self.stale = False
        """Not to be shown."""
        self.to_confirm = False
        """It is unproven, and a line lives again: a snapshot can tell."""
        self.judged = False
        """Whether it has been judged yet: before that nothing may be shown."""
        self._unproven = False
        self._recovered_ms = 0
        self._last_event_ms = 0

    def recovered(self, now_ms: int, last_event_ms: int) -> None:
        """The book was restored, and all that its last owner left has been taken in."""
        self._unproven, self._recovered_ms, self._last_event_ms = True, now_ms, last_event_ms

    def event(self, received_ms: int) -> None:
        """An event followed in the chain."""
        self._last_event_ms = max(self._last_event_ms, received_ms)

    def proven(self) -> None:
        """A snapshot said the same, or the book was lost or synced anew."""
        self._unproven = False

    def judge(self, lines: Sequence[LivingLine], now_ms: int, silent_ms: float, stale_ms: int) -> None:
        """Judge anew.

        Args:
            lines: the living lines of its venue.
            silent_ms: how long ago its stream brought something.
            stale_ms: how long that may be while no line lives.
        """
        # Dead lines are listed for a while: only those that have told since the recovery are known to live.
        since = [line.since_ms for line in lines if self._unproven and line.beat_ms > self._recovered_ms]
        if self._unproven:  # what was read of it since may be old too
            silent_ms = max(silent_ms, now_ms - self._last_event_ms)
            self._unproven = not since or min(since) > self._last_event_ms
        self.to_confirm = self._unproven and bool(since)
        silent = not lines and silent_ms > stale_ms
        self.stale = silent or self.to_confirm or (self._unproven and self.stale)
        self.judged = True
