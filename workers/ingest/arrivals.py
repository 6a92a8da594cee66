"""When messages arrive: the time of day, carried over the steps that somebody sets it by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

STEPS = Counter("fleet_clock_steps_total", "Times the clock of this machine was set", ["line"])
TAKEN_OVER = Counter(
    "fleet_clock_taken_over_total", "Times the messages proved that the set clock is right", ["line"]
)

STEP_US: Final = 1_000_000
"""A time of day that differs by more from what has passed since was set; what is less is drift, and followed."""
CONFIRMED: Final = 10
"""Messages in a row that the set clock fits better than the one before."""


class ArrivalClock:
    """The time of day that messages are stamped with, in µs.

    A clock that is set makes every message look as if it came from the future or from the past: it would be refused, or
    filed by another time than the rest. So the clock before goes on, by the monotonic one, until the messages
    themselves say that the new one is right: then the old one was wrong, and is given up.

    Args:
        line: for metrics and logs.
        day_ns: the time of day.
        steady_ns: a clock that nobody sets.
    """

    def __init__(
        self,
        line: str,
        day_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._line = line
        self._day_ns, self._steady_ns = day_ns, steady_ns
        self._offset_us = day_ns() // 1000 - steady_ns() // 1000
        self._step_us = 0
        self._for = 0

    def now_us(self) -> int:
        """The time now."""
        steady_us = self._steady_ns() // 1000
        step_us = self._day_ns() // 1000 - steady_us - self._offset_us
        if -STEP_US < step_us < STEP_US:
            self._offset_us += step_us
            self._step_us = self._for = 0
        elif abs(step_us - self._step_us) >= STEP_US:
            self._step_us, self._for = step_us, 0
            STEPS.labels(self._line).inc()
            log.warning("clock_set", line=self._line, by_s=round(step_us / 1e6, 3))
        return steady_us + self._offset_us

    def told(self, event_ms: int, now_us: int) -> None:
        """A message stamped `event_ms` by the exchange has arrived at `now_us`. Cost: O(1)."""
        if not self._step_us:
            return
        lead_us = event_ms * 1000 - now_us
        if abs(lead_us - self._step_us) + STEP_US > abs(lead_us):
            self._for = 0
            return
        self._for += 1
        if self._for >= CONFIRMED:
            TAKEN_OVER.labels(self._line).inc()
            log.warning("clock_taken_over", line=self._line, by_s=round(self._step_us / 1e6, 3))
            self._offset_us += self._step_us
            self._step_us = self._for = 0
