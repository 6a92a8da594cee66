"""Pauses after Redis refused something: they grow, are logged once per change of the reason, and end by themselves.

    waits = Backoff("apply")
    if waits.due(venue, symbol):
        try:
            ...
        except RedisError as error:
            waits.refused(error, venue, symbol)
        else:
            waits.accepted(venue, symbol)

A state of the server holds the whole venue back, one of a key the symbol alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter

from workers.model.pauses import Pauses
from workers.store.refusals import Refusal, refusal_of

log = structlog.get_logger()

REFUSED = Counter(
    "fleet_redis_refused_total", "Calls that Redis refused or did not answer", ["work", "refusal"]
)

FIRST_S: Final = 0.1
MOST_S: Final = 2.0
"""Longest pause in a state of the server: everybody waits for its end."""
MOST_PAUSE_S: Final = 0.5
"""Longest pause of a loop that reads for all its symbols: it must not come late when the refusal is over."""
MOST_OF_KEY_S: Final = 30.0
"""Longest pause over one symbol: it waits for somebody to repair a key."""
SETTLED_S: Final = 5.0
"""A refusal is over when nothing was refused for this long; what comes sooner continues it."""


class _Trouble:
    """One thing that is held back."""

    __slots__ = ("accepted_at", "pauses", "refusal", "since", "times", "until")

    def __init__(self, now: float, longest_s: float) -> None:
        self.refusal: Refusal | None = None
        self.since = now
        self.until = 0.0
        self.pauses = Pauses(FIRST_S, longest_s)
        self.accepted_at: float | None = None
        self.times = 0


class Backoff:
    """The pauses of one kind of work of a role.

    Args:
        work: what is done, for logs and metrics (`append`, `publish`, `commit`, `apply`).
        clock: monotonic seconds.
        most_of_key_s: longest pause over one symbol.
    """

    def __init__(
        self,
        work: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_of_key_s: float = MOST_OF_KEY_S,
    ) -> None:
        self._work = work
        self._clock = clock
        self._most_of_key_s = most_of_key_s
        self._troubles: dict[tuple[str, str], _Trouble] = {}

    def due(self, venue: str = "", symbol: str = "") -> bool:
        """Whether neither the venue nor the symbol is to be left alone now."""
        return not self._troubles or self.pause_s(venue, symbol) <= 0

    def pause_s(self, venue: str = "", symbol: str = "") -> float:
        """How long to wait still; 0 when there is nothing to wait for."""
        now = self._clock()
        troubles = (self._troubles.get(key) for key in {(venue, ""), (venue, symbol)})
        return max((trouble.until - now for trouble in troubles if trouble), default=0.0)

    def refused(self, error: BaseException, venue: str = "", symbol: str = "") -> float:
        """Take note of a refusal; the seconds to wait before the next try.

        A state of the server counts for the venue, whichever symbol met it; one of a key for the symbol, where one is
        named. Several refusals of one round are one step of the pause.
        """
        refusal, now = refusal_of(error), self._clock()
        REFUSED.labels(self._work, refusal.value).inc()
        symbol = "" if refusal.of_server else symbol
        longest_s = self._most_of_key_s if symbol else MOST_S
        trouble = self._troubles.setdefault((venue, symbol), _Trouble(now, longest_s))
        trouble.times += 1
        trouble.accepted_at = None
        if now >= trouble.until:
            trouble.until = now + trouble.pauses.take()
        if refusal is not trouble.refusal:
            trouble.refusal = refusal
            log.error("redis_refused", work=self._work, venue=venue, symbol=symbol, refusal=refusal.value,
                      error=str(error), retry_in_s=round(trouble.until - now, 3))  # fmt: skip
        return max(0.0, trouble.until - now)

    def accepted(self, venue: str = "", symbol: str = "") -> None:
        """Take note that a call of the venue, or of a symbol of it, was answered well. Cost: O(1)."""
        if not self._troubles:
            return
        now = self._clock()
        for key in {(venue, ""), (venue, symbol)}:
            if (trouble := self._troubles.get(key)) is None:
                continue
            if trouble.accepted_at is None:
                trouble.accepted_at, trouble.until = now, 0.0
            if now - trouble.accepted_at >= SETTLED_S:
                del self._troubles[key]
                log.info("redis_accepts_again", work=self._work, venue=key[0], symbol=key[1],
                         refusal=trouble.refusal and trouble.refusal.value, refusals=trouble.times,
                         seconds=round(trouble.accepted_at - trouble.since, 1))  # fmt: skip

    def is_over(self, venue: str = "", symbol: str = "") -> bool:
        """Whether nothing of a venue, or of a symbol of it, was refused of late."""
        return (venue, symbol) not in self._troubles

    def forget(self, venue: str, symbol: str) -> None:
        """A symbol is no more ours: so is what it waits for."""
        self._troubles.pop((venue, symbol), None)
