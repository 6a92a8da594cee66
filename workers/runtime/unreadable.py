"""Keys that hold what cannot be used: counted, and told once for as long as they do."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from prometheus_client import Counter

from workers.errors import StateUnreadable
from workers.plain_text import plain

log = structlog.get_logger()

UNREADABLE = Counter("fleet_key_unreadable_total", "Keys that came to hold what cannot be used", ["role"])


class UnreadableKeys:
    """What one role knows to be unreadable now, place by place of its work."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._known: dict[str, set[str]] = {}

    def looked(self, place: str, bad: Iterable[StateUnreadable]) -> None:
        """All keys of a place have been read; those that could not be used. O(bad)."""
        before, now = self._known.get(place, set()), dict[str, StateUnreadable]()
        for error in bad:
            now[error.key] = error
        self._known[place] = set(now)
        for key in sorted(before.difference(now)):
            log.info("key_readable_again", role=self._role, key=key)
        for key, error in now.items():
            if key not in before:
                UNREADABLE.labels(self._role).inc()
                log.error(
                    "key_unreadable", role=self._role, key=key, problem=plain(error.problem), cure=error.cure
                )
