"""The simulated exchange as a server: one port a flavour, its sockets and REST, and the control endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiohttp import web

from workers.sim.engine.connection import Connection
from workers.sim.engine.control import ControlApi
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.flavour import Root, UpgradeRefusedError
from workers.sim.engine.limits import AttemptLimiter
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings

log = structlog.get_logger(__name__)

SHUTDOWN_S: Final = 1.0
ONCE: Final = ("reset", "shutdown", "maintenance", "lifetime", "mute")
"""Faults that concern the connections which are open when they come on; `lifetime` later ones too."""


class ExchangeClock:
    """Exchange time in ms: wall time at the start, then monotonic, so that it never goes back."""

    def __init__(self, offset_ms: int) -> None:
        self._start_ms = time.time() * 1000 + offset_ms
        self._start_s = time.monotonic()

    def now_ms(self) -> float:
        """The time now, ms since the epoch."""
        return self._start_ms + (time.monotonic() - self._start_s) * 1000


class SimulatedExchange:
    """A running exchange: `async with SimulatedExchange(settings) as exchange: exchange.url`."""

    def __init__(self, settings: SimSettings) -> None:
        self.settings = settings
        self.clock = ExchangeClock(settings.clock_offset_ms)
        flavour = FLAVOURS[settings.flavour](settings)
        self.exchange: Exchange[Any] = Exchange(flavour, settings, int(self.clock.now_ms()))
        self.rest = flavour.rest(self.exchange, self.clock.now_ms)
        self.url = ""
        self._connections: dict[int, Connection] = {}
        self._unflushed: list[Connection] = []
        self._next_number = 1
        self._attempts = {
            root.market: AttemptLimiter(
                *(root.attempts or (settings.connection_attempts, settings.connection_window_s))
            )
            for root in flavour.roots
        }
        self._runner: web.AppRunner | None = None
        self._driver: asyncio.Task[None] | None = None

    @property
    def websocket_url(self) -> str:
        """The base of the websocket URLs, `ws://host:port`."""
        return "ws" + self.url.removeprefix("http")

    def connections(self) -> list[Connection]:
        """The open connections, oldest first."""
        return list(self._connections.values())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen and trade; `url` is set afterwards. Raises OSError when the port is taken."""
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._driver = asyncio.create_task(self._drive(), name="sim: drive")
        log.info(
            "exchange_listening",
            url=self.url,
            flavour=self.settings.flavour,
            **{market: len(self.exchange.listed(market)) for market in self.exchange.flavour.markets},
            seed=self.settings.seed,
        )

    async def close(self) -> None:
        """Stop trading and drop every connection."""
        if self._driver is not None:
            self._driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._driver
        for connection in self.connections():
            connection.reset()
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait(self) -> None:
        """Wait for the generator, which ends only by an error or by `close`."""
        if self._driver is not None:
            await self._driver

    def step(self) -> None:
        """Bring the exchange up to now and write what came of it."""
        self.exchange.advance(self.clock.now_ms())
        self._strike_connections()
        self.flush()

    def _strike_connections(self) -> None:
        """Let the faults that have just come on do to the open connections what they do once."""
        begun = self.exchange.begun
        while begun:
            active = begun.pop()
            for connection in self.connections() if active.fault.kind in ONCE else ():
                if connection.meant(active.fault) and active.strikes():
                    connection.suffer(active.fault)

    def flush(self) -> None:
        """Write every collected event to its socket."""
        for connection in self._unflushed:
            connection.flush()
        self._unflushed.clear()

    async def _drive(self) -> None:
        tick_s = self.settings.tick_ms / 1000
        while True:
            self.step()
            await asyncio.sleep(tick_s)

    def _application(self) -> web.Application:
        application = web.Application()
        application.add_routes(self.rest.routes())
        application.add_routes(ControlApi(self.exchange, self.connections, self.step).routes())
        for root in self.exchange.flavour.roots:
            for route in root.routes:
                application.router.add_get(route, self._websocket(root))
        return application

    def _websocket(self, root: Root) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            agent = request.headers.get("User-Agent", "")
            refused = self.exchange.faults.strike("refuse", root.market, "", root.path, agent)
            if refused is not None:
                return web.Response(status=int(refused.value) or 503)
            now_s = asyncio.get_running_loop().time()
            if not self._attempts[root.market].admit(request.remote or "", now_s):
                # What the real exchange answers is not documented; a refused upgrade is the plainest.
                raise web.HTTPTooManyRequests(text="Too many connection attempts")
            try:
                connection = Connection(
                    number=self._next_number,
                    root=root,
                    request=request,
                    settings=self.settings,
                    exchange=self.exchange,
                    clock_ms=self.clock.now_ms,
                    ready=self._unflushed.append,
                )
            except UpgradeRefusedError as error:
                raise web.HTTPBadRequest(text=str(error)) from None
            self._next_number += 1
            self._connections[connection.number] = connection
            short = self.exchange.faults.strike("lifetime", root.market, "", root.path, agent)
            if short is not None:
                connection.suffer(short)
            try:
                return await connection.run()
            finally:
                connection.subscriptions.detach_all()
                del self._connections[connection.number]

        return handle


async def serve(
    settings: SimSettings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the exchange until `stop` is set (or for ever); `ready` is called with the base URL."""
    async with SimulatedExchange(settings) as exchange:
        if ready is not None:
            ready(exchange.url)
        running = asyncio.create_task(exchange.wait(), name="sim: wait")
        stopping = asyncio.create_task((stop or asyncio.Event()).wait(), name="sim: stop")
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, stopping):
                task.cancel()
