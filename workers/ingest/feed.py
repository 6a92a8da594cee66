"""A shard of streams, always served: reconnects with backoff, rotates sockets with overlap."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter

from workers.ingest.connection import Connection
from workers.settings import IngestSettings
from workers.tasks import end
from workers.venues.interface import Subscription

log = structlog.get_logger()

RECONNECTS = Counter("fleet_reconnects_total", "Sockets opened again after one ended", ["venue", "line"])
ROTATIONS = Counter("fleet_rotations_total", "Sockets replaced with overlap", ["venue", "line"])


class Backoff:
    """Waits that double to a cap, each with full jitter; forgotten once a socket has lived for a minute."""

    def __init__(self, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._attempt = 0

    def next(self) -> float:
        """Seconds to wait before the next try: at least half of the doubled wait, at most all of it."""
        wait = min(self._cap_s, self._first_s * float(2**self._attempt))
        self._attempt = min(self._attempt + 1, 20)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, not a secret

    def forget(self) -> None:
        """Start small again."""
        self._attempt = 0


class Feed:
    """Keeps one shard of streams connected until told to stop.

    Args:
        open_connection: makes a fresh, unstarted connection for the shard.
        rotate_s: age at which a socket is succeeded by a new one, opened before it is closed.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        labels: tuple[str, str],
        settings: IngestSettings,
        rotate_s: float,
    ) -> None:
        self._open = open_connection
        self._labels = labels
        self._settings = settings
        self._rotate_s = rotate_s
        self._backoff = Backoff(settings.backoff_first_s, settings.backoff_max_s)
        self._tasks: dict[asyncio.Task[str], Connection] = {}
        self._connection: Connection | None = None

    async def run(self) -> None:
        """Serve for ever; cancel to stop. Closing sockets on the way out is part of the cancellation."""
        serving: asyncio.Task[str] | None = None
        try:
            while True:
                connection = self._open()
                task = asyncio.create_task(connection.run())
                self._tasks[task] = connection
                task.add_done_callback(lambda ended: self._tasks.pop(ended, None))
                started = time.monotonic()
                if serving is not None and not serving.done() and not await self._succeeded(connection, task):
                    await asyncio.sleep(self._backoff.next())
                    continue  # the old socket goes on serving while we try again
                if serving is not None:
                    await end([serving])
                serving = task
                self._connection = connection
                await self._until_due(connection, task)
                if not task.done():
                    ROTATIONS.labels(*self._labels).inc()
                    log.info("rotating", venue=self._labels[0], line=self._labels[1], url=connection.url)
                    continue
                serving = None
                await self._pause(connection, task, time.monotonic() - started)
        finally:
            await end(list(self._tasks))

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want more streams on the socket that serves, and on the one that is about to succeed it."""
        for connection in self._tasks.values():
            connection.subscribe(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want these streams no more."""
        for connection in self._tasks.values():
            connection.unsubscribe(subscriptions)

    @property
    def alive(self) -> bool:
        """Whether the socket that serves delivered something just now."""
        return self._connection is not None and self._connection.alive

    @property
    def is_open(self) -> bool:
        """Whether a socket is connected, whatever it delivers."""
        return any(connection.is_open for connection in self._tasks.values())

    async def _pause(self, connection: Connection, task: asyncio.Task[str], lived_s: float) -> None:
        if lived_s > 60:
            self._backoff.forget()
        wait = self._backoff.next()
        RECONNECTS.labels(*self._labels).inc()
        log.warning("reconnecting", venue=self._labels[0], line=self._labels[1], url=connection.url,
                    reason=task.result(), wait_s=round(wait, 2))  # fmt: skip
        await asyncio.sleep(wait)

    @staticmethod
    async def _succeeded(connection: Connection, task: asyncio.Task[str]) -> bool:
        """Wait until a new socket delivers; False when it ended instead."""
        settled = asyncio.create_task(connection.settled.wait())
        await asyncio.wait({settled, task}, return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        return not task.done()

    async def _until_due(self, connection: Connection, task: asyncio.Task[str]) -> None:
        due = asyncio.create_task(connection.replace.wait())
        await asyncio.wait({due, task}, timeout=self._rotate_s, return_when=asyncio.FIRST_COMPLETED)
        due.cancel()
