"""Which works of a role still get on: one that finishes nothing any more must not keep the symbols it owns for ever.

That leases are renewed proves that a worker lives, not that it works: a reply that never comes, or a loop that goes
round in one symbol, stops the work and not the renewing. So each work says when a piece of it is done, and patience is
counted in renewals that succeeded since. What only takes long is no hang: while the process is stopped, is given no
CPU, or Redis is away, little or nothing is renewed, and a starved worker's renewals count less (`Ownership`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from prometheus_client import Counter

from workers.errors import WorkHung

log = structlog.get_logger()

HUNG = Counter(
    "fleet_work_hung_total", "Works that finished no piece for ten lease lengths", ["role", "work"]
)
PATIENCE_LEASES: Final = 10
"""Lease lengths without a finished piece after which a work hangs."""


class _Work:
    def __init__(self, name: str, limit: asyncio.Timeout | None) -> None:
        self.name = name
        self.limit = limit
        """Ends this work alone; None: the role is of no use without it."""
        self.renewals = 0
        """Since its last finished piece."""


class Progress:
    """What the works of one role have finished of late; each is one task."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._works: dict[asyncio.Task[Any] | None, _Work] = {}
        self.is_hung = False
        """A work without which the role is of no use hangs."""

    @asynccontextmanager
    async def watched(self, name: str, *, alone: bool = False) -> AsyncIterator[None]:
        """Watch what the current task does within.

        Args:
            alone: if it hangs, it alone is ended.

        Raises:
            WorkHung: it hung, and was ended alone.
        """
        task = asyncio.current_task()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._works[task] = _Work(name, limit if alone else None)
                try:
                    yield
                finally:
                    del self._works[task]
        except TimeoutError:
            if limit.expired():
                raise WorkHung(name) from None
            raise

    def made(self) -> None:
        """A piece of what the current task does was finished. Cost: O(1)."""
        if (work := self._works.get(asyncio.current_task())) is not None:
            work.renewals = 0

    def renewed(self, patience: int) -> None:
        """Leases were renewed once more.

        Args:
            patience: renewals without a finished piece after which a work hangs.

        Raises:
            WorkHung: a work hangs without which the role is of no use, or one that does not end.
        """
        for task, work in list(self._works.items()):
            work.renewals += 1
            if work.renewals < patience or task is None:
                continue
            if work.limit is not None and work.renewals < 2 * patience:
                if not work.limit.expired() and work.renewals == patience:
                    self._tell(task, work)
                    work.limit.reschedule(asyncio.get_running_loop().time())
                continue
            self._tell(task, work)
            self.is_hung = True
            raise WorkHung(work.name)

    def _tell(self, task: asyncio.Task[Any], work: _Work) -> None:
        HUNG.labels(self._role, work.name.partition(":")[0]).inc()
        log.error("work_hung", role=self._role, work=work.name, at=place_of(task))


def place_of(task: asyncio.Task[Any]) -> str:
    """Where a task waits: the innermost of our awaits, as `file:line`."""
    waits: Any = task.get_coro()
    place = "unknown"
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None)
        if frame is None:
            break
        place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    return place
