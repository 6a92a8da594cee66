"""A shard of streams, always served: reconnects with backoff, rotates sockets with overlap."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import Counter

from workers.ingest.connection import Connection
from workers.model.pauses import Pauses
from workers.runtime.tasks import end
from workers.settings.schema import IngestSettings
from workers.venues.messages import Subscription

log = structlog.get_logger()

RECONNECTS = Counter("fleet_reconnects_total", "Sockets opened again after one ended", ["venue", "line"])
ROTATIONS = Counter("fleet_rotations_total", "Sockets replaced with overlap", ["venue", "line"])
FAILED = Counter("fleet_socket_failed_total", "Sockets ended by an error nobody foresaw", ["venue", "line"])

BRIEF_S: Final = 5.0
MOST_SOCKETS: Final = 3
"""Sockets of one shard at the same time, should each new one want to be replaced before it is settled."""


def jittered(pause_s: float) -> float:
    """Seconds to wait instead of a pause, at least half of it: lines that fell together do not come back together."""
    return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, not a secret


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
        self._pauses = Pauses(settings.backoff_first_s, settings.backoff_max_s)
        self._tasks: dict[asyncio.Task[str], Connection] = {}

    async def run(self) -> None:
        """Serve for ever; cancel to stop. Closing sockets on the way out is part of the cancellation."""
        try:
            while True:
                await self._serve()
        finally:
            await end(list(self._tasks))

    async def _serve(self) -> None:
        """Open one socket, let it succeed those there are, and serve with it until it ends or wants a successor."""
        older = dict(self._tasks)
        connection = self._open()
        task = asyncio.create_task(connection.run(), name="ingest: connection")
        self._tasks[task] = connection
        task.add_done_callback(self._ended)
        started = time.monotonic()
        await self._ready(connection, task, older)
        if not task.done() and connection.settled.is_set():
            await self._succeed(connection, older)
        if not task.done() and all(one.done() for one in older):
            await self._until_due(connection, task)
        lived_s = time.monotonic() - started
        if lived_s > 60:
            self._pauses.reset()
        if not task.done():
            ROTATIONS.labels(*self._labels).inc()
            log.info("rotating", venue=self._labels[0], line=self._labels[1], url=connection.url)
            if lived_s < BRIEF_S:  # one that wants to be replaced as soon as it is there may not be the last
                await asyncio.sleep(jittered(self._pauses.take()))
            await end(list(self._tasks)[: -MOST_SOCKETS + 1])
        elif any(not one.done() for one in self._tasks):
            await asyncio.sleep(
                jittered(self._pauses.take())
            )  # another socket goes on serving while we try again
        else:
            await self._pause(connection, task)

    def _ended(self, task: asyncio.Task[str]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            FAILED.labels(*self._labels).inc()
            log.error("socket_failed", venue=self._labels[0], line=self._labels[1], exc_info=error)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want more streams on the socket that serves, and on the one that is about to succeed it."""
        for connection in self._tasks.values():
            connection.subscribe(subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want these streams no more."""
        for connection in self._tasks.values():
            connection.unsubscribe(subscriptions)

    def revive(self, names: Collection[tuple[str, str]]) -> None:
        """Subscribe anew to those of some streams (channel, symbol) that are dead here."""
        for connection in self._tasks.values():
            connection.revive(names)

    def renew(self, names: Collection[tuple[str, str]]) -> None:
        """Subscribe anew to those of some streams (channel, symbol) that are on the newest socket, for whole books."""
        if self._tasks:
            list(self._tasks.values())[-1].renew(names)

    @property
    def alive(self) -> bool:
        """Whether one of its sockets delivered something just now: while one succeeds another there are two."""
        return any(connection.alive for connection in self._tasks.values())

    @property
    def is_open(self) -> bool:
        """Whether a socket is connected, whatever it delivers."""
        return any(connection.is_open for connection in self._tasks.values())

    @property
    def expected(self) -> bool:
        """Whether data is to be expected of it at all."""
        return not self._tasks or any(connection.expected for connection in self._tasks.values())

    async def _pause(self, connection: Connection, task: asyncio.Task[str]) -> None:
        wait = jittered(self._pauses.take())
        RECONNECTS.labels(*self._labels).inc()
        reason = "an error nobody foresaw" if task.cancelled() or task.exception() else task.result()
        log.warning("reconnecting", venue=self._labels[0], line=self._labels[1], url=connection.url,
                    reason=reason, wait_s=round(wait, 2))  # fmt: skip
        await asyncio.sleep(wait)

    @staticmethod
    async def _ready(
        connection: Connection, task: asyncio.Task[str], older: Mapping[asyncio.Task[str], Connection]
    ) -> None:
        """Wait until a new socket can be relied on, ended, wants a successor itself, or is the only one left."""
        watched = [
            asyncio.create_task(one.wait(), name="ingest: successor")
            for one in (connection.settled, connection.replace)
        ]
        try:
            while any(not one.done() for one in older):
                left = [one for one in older if not one.done()]
                await asyncio.wait({*watched, task, *left}, return_when=asyncio.FIRST_COMPLETED)
                if task.done() or any(one.done() for one in watched):
                    return
        finally:
            for one in watched:
                one.cancel()

    @staticmethod
    async def _succeed(connection: Connection, older: Mapping[asyncio.Task[str], Connection]) -> None:
        """End the sockets before this one; what they brought just now counts for it, which is as good."""
        connection.last_data = max([connection.last_data, *(one.last_data for one in older.values())])
        await end(older)

    async def _until_due(self, connection: Connection, task: asyncio.Task[str]) -> None:
        due = asyncio.create_task(connection.replace.wait(), name="ingest: replacement")
        try:
            await asyncio.wait({due, task}, timeout=self._rotate_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
