"""Warnings about requests that could not be answered: clients ask as often as they like, and the log shall not grow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()

TOLD_EVERY_S: Final = 10.0


class RequestLog:
    """Logs each kind of warning of each route once in ten seconds, and how many there were meanwhile.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """By event and route, of which there are few: when it was logged last, and how often not since."""

    def tell(self, event: str, route: str, **fields: str) -> None:
        """One more; `fields` are those of the request that is logged."""
        now = self._clock()
        at, more = self._told.get((event, route), (float("-inf"), 0))
        if now < at + TOLD_EVERY_S:
            self._told[event, route] = at, more + 1
            return
        self._told[event, route] = now, 0
        log.warning(event, route=route, untold=more, **fields)
