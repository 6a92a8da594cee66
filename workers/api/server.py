"""The api role: REST, WebSocket and Server-Sent Events over what the fleet keeps in Redis."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from workers.api.books.live import LiveBooks
from workers.api.books.reader import Reader
from workers.api.dashboard.files import Dashboard
from workers.api.http.application import Application
from workers.api.http.health import Health
from workers.api.http.markets import Markets
from workers.api.http.routes.alerts import AlertRoutes
from workers.api.http.routes.analytics import AnalyticsRoutes
from workers.api.http.routes.books import BookRoutes
from workers.api.http.routes.fleet import FleetRoutes
from workers.api.http.routes.health import HealthRoutes
from workers.api.http.routes.history import Histories, HistoryRoutes
from workers.api.http.routes.orders import OrderRoutes
from workers.api.http.routes.trades import TradeRoutes
from workers.api.live.alert_topics import AlertTopics
from workers.api.live.analytics_topics import AnalyticsTopics
from workers.api.live.families import Family
from workers.api.live.hub import Hub
from workers.api.live.messages import Channel
from workers.api.live.order_topics import OrderTopics
from workers.api.live.sse import LiveEvents
from workers.api.live.trade_holes import TradeHoles
from workers.api.live.websocket import LiveSocket
from workers.api.orders.live import LiveOrders
from workers.api.security.access import Access
from workers.api.security.connections import RESERVED, Connections, GuardedSite, raise_descriptor_limit
from workers.archive.files.past import readable_archive
from workers.model.host_names import http_url
from workers.runtime.follow_symbols import follow
from workers.runtime.process import Process
from workers.runtime.tasks import end
from workers.store.alerts.book import AlertBook
from workers.store.books.watch import Watch
from workers.store.connection import connect_reader

log = structlog.get_logger()


STOP_S = 2.0
"""How long requests under way may take once the worker is told to stop."""


class Api:
    """Everything one API process holds."""

    def __init__(self, process: Process) -> None:
        settings = process.settings
        self._reader_client = connect_reader(process.url)
        self.markets = Markets(settings)
        self.reader = Reader(Watch(self._reader_client), settings.api.read_ms)
        self.books = LiveBooks(process.client, self.reader, settings)
        self.orders = LiveOrders(process.client, self.reader, settings)
        archive = readable_archive(settings)
        histories = Histories(self.markets, process.client, archive)
        self.health = Health(process.url, settings.fleet, self.markets, process.pulse)
        fleet = FleetRoutes(process, self.markets, self.health)
        holes = TradeHoles(process.client, self.reader.watch)
        alerts = AlertBook(process.client)
        families: dict[Channel, Family] = {
            "alerts": AlertTopics(alerts, self.reader),
            "orders": OrderTopics(process.client, self.reader),
            "analytics": AnalyticsTopics(
                process.client,
                self.reader,
                settings.api.status_ms / 1000,
                is_enabled=settings.analytics.enabled,
            ),
        }
        self.hub = Hub(settings.api, self.markets, self.books, self.reader, fleet.states_of, holes, families)
        self.operations = [
            *fleet.operations(),
            *HealthRoutes(self.health).operations(),
            *BookRoutes(self.markets, self.books, histories).operations(),
            *HistoryRoutes(self.markets, histories, settings.api.most_seconds).operations(),
            *OrderRoutes(self.markets, self.orders).operations(),
            *AlertRoutes(self.health, alerts, settings.api.most_rows).operations(),
            *AnalyticsRoutes(self.markets, self.health, process.client, settings.api.most_rows).operations(),
            *TradeRoutes(self.markets, process.client, settings.api.most_rows, archive).operations(),
        ]
        descriptors = raise_descriptor_limit()
        self.connections = Connections(
            settings.api, max(1, min(settings.api.most_connections, descriptors - RESERVED))
        )
        access = Access(settings.api)
        live = LiveSocket(self.hub, settings.api, self.connections, access)
        events = LiveEvents(self.hub, settings.api, self.connections, access)
        others = [
            *Dashboard().routes(),
            # not for HEAD, which aiohttp adds by itself: an answer without an end cannot leave out its body
            web.get("/ws", live.handle, allow_head=False),
            web.get("/sse", events.handle, allow_head=False),
        ]
        self.application = Application(
            settings.api, self.operations, others, [live.say_goodbye], self.connections, access
        )
        self._process = process
        self.reader.every(1.0, self._tell)
        self.reader.is_idle = lambda: (
            not self.hub.clients and not self.books.followed and not self.orders.followed
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to read, and to keep the lists of symbols up to date."""
        contexts = list(self.markets.contexts.values())
        self._tasks = [
            asyncio.create_task(self.reader.run(), name="api: reader"),
            asyncio.create_task(follow(self._process, contexts), name="api: following"),
            asyncio.create_task(self.connections.watch(), name="api: connections"),
            asyncio.create_task(self.health.run(), name="api: health"),
        ]

    async def failed(self) -> None:
        """Return or raise when one of the tasks has ended, which only an error nobody foresaw can make it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _tell(self) -> None:
        """Say in the heartbeat what this process does."""
        self._process.details.update(clients=len(self.hub.clients), books=len(self.books.followed))

    async def close(self) -> None:
        """End what is under way."""
        await end(self._tasks)
        await self.hub.close()
        await self.books.close()
        await self.orders.close()
        await self.health.close()
        await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    settings = process.settings.api
    api = Api(process)
    # Packed bodies are refused: what is small here could be huge, and unpacking it hold up everybody.
    runner = web.AppRunner(
        api.application.build(), access_log=None, shutdown_timeout=STOP_S, auto_decompress=False
    )
    await runner.setup()
    api.start()
    try:
        while not process.stop.is_set():
            try:
                await GuardedSite(runner, settings.host, settings.port, api.connections).start()
                break
            except OSError as error:
                log.error("api_port_taken", host=settings.host, port=settings.port, error=str(error))
                await process.sleep(5)
        else:
            return
        host, port = runner.addresses[0][:2]
        process.details["address"] = http_url(host, port)
        log.info("api_ready", address=process.details["address"])
        waiting = [
            asyncio.create_task(process.stop.wait(), name="api: stop"),
            asyncio.create_task(api.failed(), name="api: failure"),
        ]
        done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await end(left)
        for task in done:
            task.result()
    finally:
        await runner.cleanup()
        await api.close()
