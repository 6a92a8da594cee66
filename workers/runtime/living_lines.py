"""Which venues have a line whose sockets are all alive, as the lines' heartbeats say."""

from __future__ import annotations

from collections.abc import Sequence

from workers.model.books.freshness import LivingLine
from workers.store.fleet.leases import Registry, milliseconds_of

ASKED_EVERY_S = 1.0


class LivingLines:
    """What the heartbeats of both lines said last. Times are monotonic seconds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._alive: dict[str, list[LivingLine]] = {}
        self._listening: set[str] = set()
        self._asked_at = float("-inf")

    def of(self, venue: str) -> Sequence[LivingLine]:
        """The living lines of a venue."""
        return self._alive.get(venue, [])

    def listen_to(self, venue: str) -> bool:
        """Whether a line has all its sockets to a venue open, whatever they deliver."""
        return venue in self._listening

    async def ask(self, now: float) -> None:
        """Look about once a second; a heartbeat whose times are none says nothing."""
        if now - self._asked_at < ASKED_EVERY_S:
            return
        self._asked_at = now
        lines = await self._registry.workers(("ingest-a", "ingest-b"))
        self._alive, self._listening = {}, set()
        for line in lines:
            self._listening.update(line.get("open", "").split(","))
            beat_ms, since_ms = milliseconds_of(line, "beat_ms"), milliseconds_of(line, "since_ms")
            if beat_ms is None or since_ms is None:
                continue
            for name in line.get("alive", "").split(","):
                self._alive.setdefault(name, []).append(LivingLine(beat_ms, since_ms))
