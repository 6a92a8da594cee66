"""The api role: a small status endpoint over what the fleet keeps in Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from redis.exceptions import RedisError

from workers.context import VenueContext, venue_contexts
from workers.following import follow
from workers.process import Process
from workers.store.reading import symbol_status
from workers.tasks import end

log = structlog.get_logger()

REQUESTS = Counter("fleet_api_requests_total", "HTTP requests answered", ["path", "status"])
ROLES = ("ingest-a", "ingest-b", "books", "trades", "keeper", "api")


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


class StatusServer:
    """`GET /status`, `/orderbook`, `/healthz` and `/metrics`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._contexts = {context.name: context for context in venue_contexts(process.settings)}

    async def follow(self) -> None:
        """Keep the lists of symbols up to date until cancelled."""
        await follow(self._process, list(self._contexts.values()))

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._index)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/status", self._status)
        app.router.add_get("/orderbook", self._orderbook)
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            response = self._problem(error.status, error.reason, "see / for the paths there are")
        except (RedisError, OSError) as error:
            log.warning("request_failed", path=request.path, error=str(error))
            response = self._problem(503, "Redis does not answer", "try again")
        resource = request.match_info.route.resource
        REQUESTS.labels(resource.canonical if resource else "unknown", str(response.status)).inc()
        return response

    @staticmethod
    def _problem(status: int, title: str, detail: str) -> web.Response:
        body = msgspec.json.encode({"title": title, "status": status, "detail": detail})
        return web.Response(body=body, status=status, content_type="application/problem+json")

    async def _index(self, _: web.Request) -> web.Response:
        return _json({"paths": ["/status", "/orderbook?symbol=", "/healthz", "/metrics"]})

    async def _healthz(self, _: web.Request) -> web.Response:
        await self._process.client.ping()
        return _json({"ok": True})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, _: web.Request) -> web.Response:
        venues = {}
        for name, context in self._contexts.items():
            symbols = list(context.symbols)
            found = await asyncio.gather(
                *(symbol_status(self._process.client, context.keys, symbol) for symbol in symbols)
            )
            venues[name] = dict(zip(symbols, found, strict=True))
        return _json({"workers": await self._process.registry.workers(ROLES), "venues": venues})

    async def _orderbook(self, request: web.Request) -> web.Response:
        name = request.query.get("venue", next(iter(self._contexts)))
        context: VenueContext | None = self._contexts.get(name)
        if context is None:
            return self._problem(404, f"No venue {name}", f"one of {', '.join(self._contexts)}")
        symbol = request.query.get("symbol") or next(iter(context.symbols), "")
        if symbol not in context.symbols:
            return self._problem(404, f"{name} has no symbol {symbol}", "GET /status lists the symbols")
        payload = await self._process.client.hget(context.keys.live_orderbook, symbol)
        if payload is None:
            status = await symbol_status(self._process.client, context.keys, symbol)
            reason = status["book"].get("reason") or status["book"].get("state") or "not owned yet"
            return self._problem(503, f"The book of {symbol} is not in sync", f"{reason}; try again")
        return web.Response(body=payload, content_type="application/json")


async def main(process: Process) -> None:
    """The role's loop."""
    settings = process.settings.api
    server = StatusServer(process)
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    following = asyncio.create_task(server.follow())
    try:
        while not process.stop.is_set():
            try:
                await web.TCPSite(runner, settings.host, settings.port).start()
                break
            except OSError as error:
                log.error("api_port_taken", host=settings.host, port=settings.port, error=str(error))
                await process.sleep(5)
        else:
            return
        host, port = runner.addresses[0][:2]
        process.details = {"address": f"http://{host}:{port}"}
        log.info("api_ready", address=f"http://{host}:{port}")
        await process.stop.wait()
    finally:
        await end([following])
        await runner.cleanup()
