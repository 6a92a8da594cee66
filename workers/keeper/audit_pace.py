"""How fast audits may ask REST."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0


class AuditPace:
    """When the next audit of a REST pool may ask (monotonic seconds): evenly, and in no minute beyond a bound.

    A request that is out to get its share of the budget holds up the next one.
    """

    def __init__(self) -> None:
        self._sent: deque[tuple[float, int]] = deque()
        self._next = 0.0
        self._asking = False

    def ready(self, now: float, weight: int, allowed: float) -> bool:
        """Whether a request of this weight fits into `allowed`, the weight of 60 s.

        One that is larger than that may go alone, as seldom as keeps the mean below it.
        """
        while self._sent and self._sent[0][0] <= now - WINDOW_S:
            self._sent.popleft()
        if self._asking or now < self._next:
            return False
        return not self._sent or sum(one for _, one in self._sent) + weight <= allowed

    def asking(self) -> None:
        """A request begins to wait for the budget."""
        self._asking = True

    def sent(self, now: float, weight: int, allowed: float) -> None:
        """That request has been sent, or failed."""
        self._asking = False
        self._sent.append((now, weight))
        self._next = now + WINDOW_S * weight / allowed

    def hold(self, until: float) -> None:
        """Nobody may ask before this time."""
        self._next = max(self._next, until)
