"""Which symbols have a line whose sockets are all alive, as the heartbeats of the lines' processes say."""

from __future__ import annotations

from collections.abc import Sequence

from workers.model.books.freshness import LivingLine
from workers.model.symbols.shares import Share
from workers.store.fleet.leases import Registry, milliseconds_of

ASKED_EVERY_S = 1.0


class LivingLines:
    """What the heartbeats of both lines said last. Times are monotonic seconds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._alive: dict[str, list[tuple[Share, LivingLine]]] = {}
        self._listening: dict[str, list[Share]] = {}
        self._asked_at = float("-inf")

    def of(self, venue: str, symbol: str) -> Sequence[LivingLine]:
        """The living lines of a symbol."""
        return [line for share, line in self._alive.get(venue, ()) if share.has(symbol)]

    def listen_to(self, venue: str, symbol: str) -> bool:
        """Whether the process of a line that follows a symbol has all its sockets to the venue open, whatever they
        deliver."""
        return any(share.has(symbol) for share in self._listening.get(venue, ()))

    async def ask(self, now: float) -> None:
        """Look about once a second; a heartbeat whose times are none says nothing."""
        if now - self._asked_at < ASKED_EVERY_S:
            return
        self._asked_at = now
        lines = await self._registry.workers(("ingest-a", "ingest-b"))
        self._alive, self._listening = {}, {}
        for line in lines:
            share = Share.from_heartbeat(line)
            for name in line.get("open", "").split(","):
                self._listening.setdefault(name, []).append(share)
            beat_ms, since_ms = milliseconds_of(line, "beat_ms"), milliseconds_of(line, "since_ms")
            if beat_ms is None or since_ms is None:
                continue
            for name in line.get("alive", "").split(","):
                self._alive.setdefault(name, []).append((share, LivingLine(beat_ms, since_ms)))
