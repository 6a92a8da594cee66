"""`/sse`: the messages of `/ws` as Server-Sent Events, one subscription in the query."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError
from msgspec import Meta

from workers.api.http.queries import parse_query
from workers.api.live.hub import Hub, Wanted
from workers.api.live.messages import Channel, Mode
from workers.api.live.outlet import Outlet
from workers.api.live.websocket import hold_little
from workers.api.security.access import Access
from workers.api.security.connections import Connections
from workers.model.trades.windows import Interval
from workers.settings.api import ApiSettings


class SseQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The subscription; `symbols` separated by commas."""

    channel: Channel
    symbols: Annotated[str, Meta(min_length=1, max_length=8000)]
    depth: Annotated[int, Meta(ge=1, le=1000)] = 20
    mode: Mode = "snapshots"
    interval: Interval | Literal[""] = ""


class LiveEvents:
    """The handler of `/sse`."""

    def __init__(self, hub: Hub, settings: ApiSettings, connections: Connections, access: Access) -> None:
        self._hub = hub
        self._settings = settings
        self._connections = connections
        self._access = access

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Send events until the client goes away."""
        self._access.check_origin(request)
        query = parse_query(request.query.items(), {}, SseQuery)
        subscription = Wanted(
            channel=query.channel,
            symbols=query.symbols.split(","),
            depth=query.depth,
            mode=query.mode,
            interval=query.interval,
        )
        client = self._hub.enter("sse")
        try:
            await self._hub.subscribe(client, subscription)
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream",
                    "Cache-Control": "no-store",
                    "X-Content-Type-Options": "nosniff",
                }
            )
            self.allow_origin(request, response)
            await response.prepare(request)
            hold_little(request)
            self._connections.lives(request.transport, client.outlet)
            await self._send(request, response, client.outlet)
        finally:
            self._hub.leave(client)
        return response

    def allow_origin(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say that the page may read, which `check_origin` has decided."""
        if origin := request.headers.get("Origin"):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"

    async def _send(self, request: web.Request, response: web.StreamResponse, outlet: Outlet) -> None:
        pause = self._settings.heartbeat_s
        while True:
            try:
                async with asyncio.timeout(pause):
                    messages = await outlet.take()
            except TimeoutError:
                messages = []
            body = b"".join(b"data: %b\n\n" % message for message in messages) or b": nothing new\n\n"
            try:
                async with asyncio.timeout(pause):
                    await response.write(body)
            except TimeoutError:  # it does not read
                if request.transport is not None:
                    request.transport.abort()
                return
            except (ClientConnectionResetError, ConnectionError):
                return
