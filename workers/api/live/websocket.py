"""`/ws`: live data by subscription, JSON text frames both ways."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.client_exceptions import ClientConnectionResetError
from msgspec import Meta

from workers.api.http.queries import parse_message
from workers.api.live.hub import Client, Hub, Wanted
from workers.api.live.messages import encode
from workers.api.live.outlet import Outlet
from workers.api.security.access import PROTOCOL, Access
from workers.api.security.connections import Connections
from workers.errors import BadInput, RequestProblem
from workers.runtime.tasks import end, seen
from workers.settings.api import ApiSettings

LARGEST_MESSAGE = 65_536
SEND_BUFFER = 131_072
"""Bytes the kernel may hold for one client: what waits there is old by the time a slow client reads it."""

CLOSE_S = 1.0
"""How long a client may take to answer a close."""

RequestId = Annotated[int, Meta(ge=-(2**53), le=2**53)] | Annotated[str, Meta(max_length=64)] | None


class Subscribe(Wanted, tag_field="op", tag="subscribe", forbid_unknown_fields=True, kw_only=True):
    """Begin to send."""

    id: RequestId = None


class Unsubscribe(Wanted, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True, kw_only=True):
    """Send no longer."""

    id: RequestId = None


class Ping(msgspec.Struct, tag_field="op", tag="ping", forbid_unknown_fields=True, kw_only=True):
    """Answer."""

    id: RequestId = None


REQUESTS: Final[dict[str, type[msgspec.Struct]]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
}

_decode = msgspec.json.Decoder(Subscribe | Unsubscribe | Ping).decode


class _Id(msgspec.Struct):
    id: RequestId = None


class LiveSocket:
    """The handler of `/ws`."""

    def __init__(self, hub: Hub, settings: ApiSettings, connections: Connections, access: Access) -> None:
        self._hub = hub
        self._settings = settings
        self._connections = connections
        self._access = access
        self._open: set[web.WebSocketResponse] = set()

    async def say_goodbye(self, _: web.Application) -> None:
        """Close every connection, so that clients connect again at once, to whoever listens then."""
        closing = [ws.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops") for ws in self._open]
        with suppress(TimeoutError):  # of those that do not read
            async with asyncio.timeout(2 * CLOSE_S):
                await asyncio.gather(*closing, return_exceptions=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        self._access.check_origin(request)
        ws = web.WebSocketResponse(
            heartbeat=self._settings.heartbeat_s,
            max_msg_size=LARGEST_MESSAGE,
            compress=False,
            protocols=(PROTOCOL,),
            timeout=CLOSE_S,
        )
        if not ws.can_prepare(request):
            raise BadInput("This path speaks WebSocket", "connect with ws://, or use GET /sse")
        client, transport = self._hub.enter("ws"), request.transport
        try:
            await ws.prepare(request)
            hold_little(request)
            self._connections.lives(transport, client.outlet)
            self._open.add(ws)
            sending = seen(asyncio.create_task(_send(ws, client.outlet), name="api: sending"))
            try:
                async for message in ws:
                    if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                        await self._act(client, message.data)
                        await client.outlet.room()
                        await asyncio.sleep(0)  # whatever it sends at once, the others have their turn
            finally:
                await end([sending])
        finally:
            self._open.discard(ws)
            self._hub.leave(client)
            if ws.close_code == WSCloseCode.ABNORMAL_CLOSURE and transport is not None:
                transport.abort()  # it did not answer: to wait until it has read would be for ever
        return ws

    async def _act(self, client: Client, data: str | bytes) -> None:
        """Do what a frame asks; whatever it holds, the connection goes on."""
        try:
            request = parse_message(data, REQUESTS, _decode)
        except BadInput as problem:
            self._refuse(client, _id_of(data), problem)
            return
        if isinstance(request, Ping):
            self._reply(client, type="pong", id=request.id)
            return
        begins = isinstance(request, Subscribe)
        after: dict[str, int] = {}
        try:
            if begins:
                symbols, after = await self._hub.subscribe(client, request)
            else:
                symbols = self._hub.unsubscribe(client, request)
        except RequestProblem as problem:
            self._refuse(client, request.id, problem)
        else:
            answer: dict[str, Any] = {"type": "subscribed" if begins else "unsubscribed", "id": request.id}
            more = {"after": after} if after else {}
            self._reply(client, **answer, channel=request.channel, symbols=symbols, **more)

    def _refuse(self, client: Client, request: RequestId, problem: RequestProblem) -> None:
        says = {"status": problem.status, "title": problem.title, "detail": problem.detail}
        self._reply(client, type="error", id=request, **says)

    @staticmethod
    def _reply(client: Client, **fields: Any) -> None:
        client.outlet.reply(encode(fields))


async def _send(ws: web.WebSocketResponse, outlet: Outlet) -> None:
    """Send what waits, as fast as the client reads; ends with the connection."""
    try:
        while True:
            for message in await outlet.take():
                await ws.send_frame(message, WSMsgType.TEXT)
    except (ClientConnectionResetError, ConnectionError, RuntimeError):
        return  # the reading side notices too


def _id_of(data: str | bytes) -> RequestId:
    """The id of a request that cannot be used otherwise."""
    try:
        return msgspec.json.decode(data, type=_Id).id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def hold_little(request: web.Request) -> None:
    """Let little wait in the socket's buffers, so that a slow client gets what is new and not what is old."""
    transport = request.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=SEND_BUFFER // 2)
    bare = transport.get_extra_info("socket")
    if bare is not None and bare.family in (socket.AF_INET, socket.AF_INET6):
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
