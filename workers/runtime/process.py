"""What every role's process needs around its loop: logs, signals, a Redis client that waits, heartbeat, metrics.

A role is an `async def main(process: Process) -> None` that returns soon after `process.stop` is set. A worker
never dies because Redis is not there yet: it waits, and says so.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
import uvloop
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import FleetError, ServerTooOld
from workers.masking import mask
from workers.model.host_names import http_url
from workers.model.symbols.shares import Share
from workers.runtime.backoff import Backoff
from workers.runtime.logs import configure_logging
from workers.runtime.loop_watch import CPU_S, LoopWatch
from workers.runtime.pulse import Pulse
from workers.runtime.tasks import end
from workers.runtime.unreadable import UnreadableKeys
from workers.settings.exchanges import description
from workers.settings.schema import Settings
from workers.store.connection import connect
from workers.store.fleet.followed import refuse_other_markets
from workers.store.fleet.leases import Registry
from workers.store.server import check_version

log = structlog.get_logger()

REDIS_WAITS = Counter("fleet_redis_unavailable_total", "Times this worker found Redis away and waited")

NOT_EXAMINED = Counter(
    "fleet_redis_not_examined_total", "Times the server's version was not to be learned by this user"
)

PORT_OFFSETS = {
    "ingest-a": 1, "ingest-b": 2, "keeper": 3, "api": 4, "orders": 5, "alerts": 6, "analytics": 7,
    "books": 10, "trades": 40, "archive": 70, "postgres": 80,
}  # fmt: skip
FURTHER_OFFSETS = {"ingest-a": 100, "ingest-b": 130}
"""Of all but the first process of a role that had a single one once."""


class Process:
    """One worker process of a role.

    Args:
        role: `ingest-a`, `ingest-b`, `books`, `trades`, `keeper`, `archive`, `orders`, `postgres`, `alerts`,
            `analytics`, `api`.
        settings: the effective settings.
        number: which of several processes of the role this is, from 0.
        url: the Redis URL (settings resolved: see `workers.settings.loading.redis_url`).
        processes: how many processes of the role there are; asked for by those that share its symbols so (`share`).
    """

    def __init__(self, role: str, settings: Settings, number: int, url: str, processes: int = 1) -> None:
        self.role = role
        self.settings = settings
        self.number = number
        self.share = Share(number, processes)
        self.url = url
        # Containers may share host name and pid: two workers of one name would hold one lease.
        self.name = f"{role}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.stop = asyncio.Event()
        self.client: Redis = connect(url)
        self.registry = Registry(self.client, settings.fleet)
        self.pulse = Pulse()
        self.metrics_address = ""
        self.details: dict[str, str | int | float] = {}
        """What the role wants shown of itself in its heartbeat."""
        self.before_heartbeat: Callable[[], None] = lambda: None
        """Brings `details` up to date, where the role does not do so by itself."""

    async def sleep(self, seconds: float) -> bool:
        """Sleep, but no longer than until `stop`; True when it is time to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), seconds)
        return self.stop.is_set()

    async def wait_for_redis(self) -> None:
        """Return once the server answers and is new enough, or `stop` is set.

        Raises:
            ServerTooOld: it answers but is older than 7.0.
            OtherMarket: its keys hold another market than the settings say.
        """
        waits = Backoff("start")
        venues = {name: description(venue) for name, venue in self.settings.venues.items()}
        while not self.stop.is_set():
            try:
                version = await check_version(self.client, mask(self.url))
                await refuse_other_markets(self.client, venues)
            except (RedisError, OSError) as error:
                REDIS_WAITS.inc()
                await self.sleep(waits.refused(error))
            else:
                log.info("redis_ready", url=mask(self.url), version=version or "not told")
                if not version:
                    NOT_EXAMINED.inc()
                    log.warning("redis_not_examined", user_lacks="INFO and HELLO", needed_version="7.0")
                return

    async def _serve_metrics(self) -> web.AppRunner:
        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        wanted = self.settings.metrics
        port = wanted.base_port and wanted.base_port + port_offset(self.role, self.number)
        try:
            await web.TCPSite(runner, wanted.host, port).start()
        except OSError as error:
            log.warning("metrics_port_taken", port=port, error=str(error))
            await web.TCPSite(runner, wanted.host, 0).start()
        host, bound = runner.addresses[0][:2]
        self.metrics_address = f"{http_url(host, bound)}/metrics"
        return runner

    async def _beat(self) -> None:
        pause = self.settings.fleet.heartbeat_ms / 1000
        unreadable, waits = UnreadableKeys(self.role), Backoff("heartbeat")
        while True:
            try:
                self.before_heartbeat()
                self.registry.late_ms = self.pulse.extra_ms(3 * self.settings.fleet.heartbeat_ms)
                bad = await self.registry.beat(
                    self.role,
                    self.name,
                    {
                        "pid": os.getpid(),
                        "metrics": self.metrics_address,
                        **self.details,
                    },
                )
                unreadable.looked("heartbeat", bad)
                waits.accepted()
            except (RedisError, OSError) as error:
                REDIS_WAITS.inc()
                waits.refused(error)
            await asyncio.sleep(pause)

    async def serve(self, main: Callable[[Process], Awaitable[None]]) -> None:
        """Run the role's loop with its heartbeat, until `stop` is set or it ends; Redis must answer already."""

        async def working() -> None:
            if not self.stop.is_set():
                await main(self)

        tasks = [
            asyncio.create_task(working(), name=self.role),
            asyncio.create_task(self._beat(), name="heartbeat"),
            asyncio.create_task(self.pulse.run(), name="pulse"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # without its heartbeat a worker counts as dead, whatever it does
        finally:
            await end(tasks)
            with suppress(RedisError, OSError):
                await self.registry.leave(self.role, self.name)

    async def run(self, main: Callable[[Process], Awaitable[None]]) -> None:
        """Run the role's loop until SIGTERM, SIGINT or its own end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        structlog.contextvars.bind_contextvars(worker=self.name)
        log.info("worker_started", role=self.role, pid=os.getpid())
        runner = await self._serve_metrics()
        watch = LoopWatch(self.role, CPU_S)
        try:
            await self.wait_for_redis()
            self.pulse.beat = watch.fed
            watch.arm()
            await self.serve(main)
        finally:
            watch.disarm()
            await runner.cleanup()
            await self.client.aclose()
            log.info("worker_stopped", role=self.role)


def port_offset(role: str, number: int) -> int:
    """By how much the port of a worker's metrics is above the first one."""
    offsets = FURTHER_OFFSETS if number and role in FURTHER_OFFSETS else PORT_OFFSETS
    return offsets.get(role, 90) + number


def run_role(
    role: str,
    settings: Settings,
    number: int,
    url: str,
    main: Callable[[Process], Awaitable[None]],
    processes: int = 1,
) -> int:
    """Run a role as this process; the exit code (0: stopped as asked, 1: cannot work at all)."""
    configure_logging(settings.fleet.log_level, settings.fleet.log_format)
    gc.freeze()  # what was imported is there for good: looking through it for cycles took a tenth of the keeper's time
    try:
        uvloop.run(Process(role, settings, number, url, processes).run(main))
    except ServerTooOld as error:
        log.error("server_too_old", error=str(error))
        return 1
    except FleetError as error:
        log.error("worker_failed", role=role, error=str(error))
        return 1
    return 0
