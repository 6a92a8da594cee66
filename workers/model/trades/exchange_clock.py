"""The exchange's time, estimated from when its messages are seen."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_MS: Final = 60_000
MOST_AHEAD_MS: Final = 5_000
"""How far our clock may be behind the exchange's for the times of its messages to stand as they are."""
JITTER_MS: Final = 100
LEADS: Final = 63
JUDGED_EVERY: Final = 16
DOUBTFUL_MS: Final = 1_000
"""A message that says that the exchange is further ahead than known by more than this proves nothing alone."""


class ExchangeClock:
    """Estimates the exchange's clock as ours less the smallest delay seen in the last one to two minutes.

    The smallest delay still contains the shortest way of a message, so the estimate is late by that much and
    never early: a window closed by it had ended. That holds only for a clock of ours that nobody sets: it is the
    monotonic one of the process that asks, never the time of day, nor a stamp of another machine. Cost: O(1).
    """

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._doubtful: int | None = None
        self._since_ms = 0
        self._single = False
        """Whether all that is known is the word of one message."""

    def observe(self, event_ms: int, seen_ms: int) -> None:
        """A message stamped `event_ms` by the exchange was seen at `seen_ms` by our monotonic clock."""
        delay = seen_ms - event_ms
        known = self.offset_ms
        if known is None:
            self._current, self._since_ms, self._single = delay, seen_ms, True
            return
        if self._single and delay > known + DOUBTFUL_MS:
            self._current, self._previous, self._doubtful = delay, None, known
            return
        if delay < known - DOUBTFUL_MS:
            before, self._doubtful = self._doubtful, delay
            if before is None:
                return
            delay = max(delay, before)
        else:
            self._doubtful = None
        self._single = False
        if seen_ms - self._since_ms > WINDOW_MS:
            self._previous = self._current
            self._current = None
            self._since_ms = seen_ms
        if self._current is None or delay < self._current:
            self._current = delay

    @property
    def offset_ms(self) -> int | None:
        """Our clock less the exchange's, delay included; None before the first message."""
        known = [delay for delay in (self._current, self._previous) if delay is not None]
        return min(known) if known else None

    def now(self, our_ms: int) -> int | None:
        """The exchange's time at `our_ms` of our monotonic clock; None before the first message."""
        offset = self.offset_ms
        return None if offset is None else our_ms - offset


class ClockCeiling:
    """What is believed of the times of messages: our clock is the ceiling, raised by no more than it runs late.

    A message cannot have been sent after it arrived. Where most messages seem to have been, our clock is behind, and
    their times stand, up to `MOST_AHEAD_MS`; where one does, its time is wrong, and that of its arrival holds. Cost:
    O(1), and a sort of 63 numbers every 16 messages.
    """

    def __init__(self) -> None:
        self._leads: deque[int] = deque(maxlen=LEADS)
        self._until_judged = JUDGED_EVERY
        self._allowed = 0

    def believed(self, event_ms: int, received_ms: int) -> int:
        """The time (ms) to go by for a message stamped `event_ms` that arrived at `received_ms` by our clock."""
        lead = event_ms - received_ms
        self._leads.append(lead)
        self._until_judged -= 1
        if not self._until_judged:
            self._until_judged = JUDGED_EVERY
            usual = sorted(self._leads)[len(self._leads) // 2]
            self._allowed = min(usual + JITTER_MS, MOST_AHEAD_MS) if usual > 0 else 0
        return event_ms if lead <= self._allowed else received_ms + self._allowed
