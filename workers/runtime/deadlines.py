"""What is due when: one schedule for all the timers of a role."""

from __future__ import annotations

import heapq
import math


class Deadlines:
    """Times by name, one for each. Times are seconds of any one clock.

    A heap in which an overruled time stays until it comes up: O(log n) to set, O(1) to see the next.
    """

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, at: float) -> None:
        """Something is due at a time, instead of at the one set before."""
        if self._times.get(name) != at:
            self._times[name] = at
            heapq.heappush(self._heap, (at, name))

    def __contains__(self, name: str) -> bool:
        return name in self._times

    def drop(self, name: str) -> None:
        """Something is not due any more."""
        self._times.pop(name, None)

    @property
    def next(self) -> float:
        """The earliest time; infinite where nothing is due."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def due(self, now: float) -> list[str]:
        """What is due now, the earliest first; it is dropped."""
        names = []
        while self.next <= now:
            name = heapq.heappop(self._heap)[1]
            del self._times[name]
            names.append(name)
        return names
