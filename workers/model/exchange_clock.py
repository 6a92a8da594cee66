"""The exchange's time, estimated from when its messages arrive."""

from __future__ import annotations

from typing import Final

WINDOW_MS: Final = 60_000


class ExchangeClock:
    """Estimates the exchange's clock as ours less the smallest delay seen in the last one to two minutes.

    The smallest delay still contains the shortest way of a message, so the estimate is late by that much and
    never early: a window closed by it had ended. Cost: O(1).
    """

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._since_ms = 0

    def observe(self, event_ms: int, received_ms: int) -> None:
        """A message stamped `event_ms` by the exchange arrived at `received_ms` by our clock."""
        delay = received_ms - event_ms
        if received_ms - self._since_ms > WINDOW_MS:
            self._previous = self._current
            self._current = None
            self._since_ms = received_ms
        if self._current is None or delay < self._current:
            self._current = delay

    @property
    def offset_ms(self) -> int | None:
        """Our clock less the exchange's, delay included; None before the first message."""
        known = [delay for delay in (self._current, self._previous) if delay is not None]
        return min(known) if known else None

    def now(self, our_ms: int) -> int | None:
        """The exchange's time at `our_ms`; None before the first message."""
        offset = self.offset_ms
        return None if offset is None else our_ms - offset
