"""The HTTP application: every request goes through one guard, and every answer comes from an operation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from redis.exceptions import RedisError

from workers.api.http import problems
from workers.api.http.docs_page import page
from workers.api.http.openapi import document
from workers.api.http.operations import Operation, Rendered, render, respond
from workers.api.http.queries import parse_body, parse_query
from workers.api.http.types import Problem
from workers.api.request_log import RequestLog
from workers.api.security.access import Access
from workers.api.security.connections import Connections
from workers.errors import BadInput, RequestProblem, StateUnreadable, TryLater
from workers.settings.api import ApiSettings

log = structlog.get_logger()

REQUESTS = Counter("fleet_api_requests_total", "HTTP requests answered", ["path", "status"])
SECONDS = Histogram(
    "fleet_api_request_seconds",
    "Time from a request's head to its answer",
    ["path"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
FAILURES = Counter("fleet_api_failures_total", "Requests that failed for no reason known to us", ["path"])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LONG_LIVED = {"/ws", "/sse"}


class Application:
    """The routes of all operations, and what they have in common.

    Args:
        operations: what is served and described.
        others: routes with their own handlers: the dashboard, WebSocket, SSE.
        at_stop: what ends long-lived connections when the server stops.
        connections: told of every request that begins and ends.
        access: asked about every request before it is answered.
    """

    def __init__(
        self,
        settings: ApiSettings,
        operations: Sequence[Operation],
        others: Sequence[web.RouteDef] = (),
        at_stop: Sequence[Callable[[web.Application], Awaitable[None]]] = (),
        connections: Connections | None = None,
        access: Access | None = None,
    ) -> None:
        self._settings = settings
        # Without any connection it is empty, and so false.
        self._connections = Connections(settings) if connections is None else connections
        self._access = access or Access(settings)
        self._operations = operations
        self._others = others
        self._at_stop = at_stop
        self._log = RequestLog()
        self._document = document(operations, is_locked=self._access.is_locked)
        self._described = render(self._document)
        self._page = Rendered(page(self._document).encode(), self._described.etag, "text/html; charset=utf-8")

    def build(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard], client_max_size=self._settings.body_bytes)
        for operation in self._operations:
            for method in ("GET", "HEAD") if operation.method == "GET" else (operation.method,):
                app.router.add_route(method, operation.path, self._serve(operation))
        app.router.add_get("/openapi.json", self._answer(self._described))
        app.router.add_get("/docs", self._answer(self._page))
        app.router.add_get("/metrics", self._metrics)
        app.router.add_routes(self._others)
        app.on_shutdown.extend(self._at_stop)
        return app

    def _answer(self, rendered: Rendered) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return respond(request, rendered, self._settings.gzip_bytes)

        return handler

    def _serve(self, operation: Operation) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            arguments: list[Any] = [parse_query(request.query.items(), request.match_info, operation.asked)]
            if operation.body is not None:
                arguments.append(parse_body(await _body(request), operation.body))
            return respond(request, render(await operation.handler(*arguments)), self._settings.gzip_bytes)

        return handler

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport  # None once the connection is lost
        self._connections.begins(transport)
        try:
            return await self._answered(request, handler)
        finally:
            self._connections.ends(transport)

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        path = route_of(request)
        timeout_s = None if path in LONG_LIVED else self._settings.timeout_s
        response = await self._guarded(request, handler, timeout_s)
        REQUESTS.labels(path, str(response.status)).inc()
        if path not in LONG_LIVED:
            SECONDS.labels(path).observe(time.monotonic() - started)
        if not response.prepared:
            response.headers["X-Content-Type-Options"] = "nosniff"
            self._allow_origin(request, response)
        return response

    async def _guarded(
        self, request: web.Request, handler: Handler, timeout_s: float | None
    ) -> web.StreamResponse:
        """The handler's answer, or a problem."""
        try:
            is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
            self._access.check(request, "/" if is_preflight else route_of(request))
            if is_preflight:
                return self._preflight(request)
            async with asyncio.timeout(timeout_s):
                return await handler(request)
        except RequestProblem as error:
            return problems.respond(problems.of_error(error))
        except web.HTTPException as error:
            response = problems.respond(problems.of_http(error))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except StateUnreadable as error:
            self._log.tell("request_failed", route_of(request), path=request.path, error=str(error))
            return _later(
                "A key cannot be read", f"{error.key}: {error.problem}; {error.cure} lets it be made anew"
            )
        except TimeoutError:
            self._log.tell("request_timed_out", route_of(request), path=request.path)
            return _later("The answer took too long", "ask for less")
        except (RedisError, OSError) as error:
            self._log.tell("request_failed", route_of(request), path=request.path, error=str(error))
            return _later("Redis does not answer", "try again")
        except Exception:
            FAILURES.labels(route_of(request)).inc()
            log.exception("request_broke", path=request.path, query=request.query_string)
            title, detail = "This server has a fault", "the log of the api worker tells which"
            return problems.respond(Problem(title=title, status=500, detail=detail))

    def _allow_origin(self, request: web.Request, response: web.StreamResponse) -> None:
        origin, allowed = request.headers.get("Origin"), self._settings.cors_origins
        if origin and (origin in allowed or "*" in allowed):
            response.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
            response.headers["Access-Control-Expose-Headers"] = "ETag"

    def _preflight(self, request: web.Request) -> web.Response:
        response = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-None-Match"
        response.headers["Access-Control-Max-Age"] = "600"
        return response


def route_of(request: web.Request) -> str:
    """The path as it is declared, with its parameters' names; `unknown` for one that is not."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"


async def _body(request: web.Request) -> bytes:
    """The body of a request. Raises: BadInput."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise BadInput("The body cannot be read", "send it unpacked, without Content-Encoding", "body")
    try:
        return await request.read()
    except web.RequestPayloadError as error:
        raise BadInput("The body cannot be read", "it is not whole", "body") from error


def _later(title: str, detail: str) -> web.Response:
    return problems.respond(problems.of_error(TryLater(title, detail)))
