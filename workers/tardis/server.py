"""The server: tardis-machine's routes, HTTP on one port and WebSocket on the next, over what the fleet holds.

| route | answers |
|---|---|
| `GET /replay-normalized?options=` | one message a line, `application/x-json-stream` |
| `/ws-replay-normalized?options=` | one message a frame; 1000 at the end, 1011 and why after an error |
| `GET /replay`, `/ws-replay` | that there is no raw replay, and why: 500, or 1011 |
| `/ws-stream-normalized?options=` | what happens from now on; 1008 for who reads too slowly |
| `GET /v1/<exchange>/<dataset>/<year>/<month>/<day>/<symbol>.csv.gz` | a day as a CSV dataset |
| `GET /health-check`, `GET /metrics` | that it runs, and what went wrong |

A replay is read no faster than its client takes it. Either port takes every route, but a WebSocket path asked over
plain HTTP is 426.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import date
from typing import Final

import msgspec
import structlog
from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from redis.exceptions import RedisError

from workers.api.security.access import Access
from workers.errors import BadInput, FleetError, NotKnown, RequestProblem, SymbolError
from workers.runtime.tasks import end
from workers.tardis.datasets import dataset
from workers.tardis.holdings import Holdings
from workers.tardis.live import stream
from workers.tardis.options import parse_live, parse_past
from workers.tardis.replaying import replay

log = structlog.get_logger()

FAILED: Final = Counter(
    "fleet_tardis_answer_failed_total", "Answers of `fleet serve-tardis` that an error ended", ["path"]
)
SLOW: Final = Counter(
    "fleet_tardis_client_slow_total", "Clients that `fleet serve-tardis` cut off as they did not read"
)
BATCH: Final = 32
"""Lines of a reply that are sent at once."""
MOST_UNSENT: Final = 5 << 20
"""Bytes that may wait for a client of a live stream."""
MOST_ANSWERS: Final = 64
"""Replays and streams under way at once: each holds a book a symbol."""
HEARTBEAT_S: Final = 30.0
UNREAD_S: Final = 60.0
"""Time the client of a reply may read nothing of it: each takes one of the answers under way."""
LARGEST_FRAME: Final = 512 << 10
LONGEST_REASON: Final = 123
"""Bytes of the reason of a close."""
LONGEST_QUERY: Final = 1 << 20
"""Bytes of the head of a request: lists of symbols are long."""
DATASET: Final = "/v1/{exchange}/{dataset}/{year:[0-9]{4}}/{month:[0-9]{2}}/{day:[0-9]{2}}/{symbol}.csv.gz"
NO_RAW: Final = "trades are kept decoded, each once, and no frame as it came; ask replay-normalized"
GONE: Final = (ClientConnectionResetError, ConnectionError)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TardisServer:
    """The application.

    Args:
        url: of Redis, for live streams.
    """

    def __init__(self, holdings: Holdings, url: str, access: Access) -> None:
        self._holdings = holdings
        self._url = url
        self._access = access
        self._under_way = 0
        self._sockets: set[web.WebSocketResponse] = set()

    def build(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/replay-normalized", self._replay)
        app.router.add_get("/ws-replay-normalized", self._socket(self._replayed))
        app.router.add_get("/replay", self._no_raw)
        app.router.add_get("/ws-replay", self._socket(self._no_raw_socket))
        app.router.add_get("/ws-stream-normalized", self._socket(self._streamed))
        app.router.add_get("/health-check", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(DATASET, self._dataset)
        app.router.add_get("/{path:.*}", self._unknown)
        app.on_shutdown.append(self._say_goodbye)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        resource = request.match_info.route.resource
        try:
            self._access.check(request, resource.canonical if resource else "unknown")
            self._access.check_origin(request)
        except RequestProblem as problem:
            return _problem(problem, problem.status)
        return await handler(request)

    async def _say_goodbye(self, _: web.Application) -> None:
        closing = [ws.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops") for ws in self._sockets]
        with suppress(TimeoutError):  # of those that do not read
            async with asyncio.timeout(2.0):
                await asyncio.gather(*closing, return_exceptions=True)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "Healthy", "answersUnderWay": self._under_way})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(max_msg_size=LARGEST_FRAME)
        if not ws.can_prepare(request):
            return web.Response(status=404)
        await ws.prepare(request)
        await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"there is no such path")
        return ws

    async def _replay(self, request: web.Request) -> web.StreamResponse:
        """All messages, 32 lines at a time."""
        return await self._reply(request, batches(self._past(request)), "application/x-json-stream", 500)

    async def _no_raw(self, _: web.Request) -> web.StreamResponse:
        return _problem(BadInput("Raw messages are not kept", NO_RAW), 500)

    async def _no_raw_socket(self, _: web.WebSocketResponse, __: web.Request) -> None:
        raise BadInput("Raw messages are not kept", NO_RAW)

    async def _dataset(self, request: web.Request) -> web.StreamResponse:
        """A day of a symbol."""
        asked = request.match_info
        try:
            day = date(int(asked["year"]), int(asked["month"]), int(asked["day"]))
        except ValueError:
            return web.Response(status=404)
        pieces = dataset(self._holdings, asked["exchange"], asked["dataset"], day, asked["symbol"])
        return await self._reply(request, pieces, "application/gzip", 400)

    async def _reply(
        self, request: web.Request, pieces: AsyncGenerator[bytes], content_type: str, refused: int
    ) -> web.StreamResponse:
        """What a generator brings, as fast as the client takes it; an error after its first piece cuts the reply off.

        Args:
            refused: the status where the question cannot be answered.
        """
        if self._under_way >= MOST_ANSWERS:
            return web.Response(status=503, headers={"Retry-After": "1"})
        response = web.StreamResponse(headers={"Content-Type": content_type})
        self._under_way += 1
        try:
            async with aclosing(pieces) as found:
                first = await anext(found, b"")
                await response.prepare(request)
                await _write(request, response.write(first))
                async for piece in found:
                    await _write(request, response.write(piece))
            await _write(request, response.write_eof())
        except GONE:
            return response
        except (FleetError, RedisError, OSError) as error:
            if not response.prepared:
                return _problem(error, 404 if isinstance(error, NotKnown) else refused)
            _failed(request, error)
            if request.transport is not None:
                request.transport.abort()  # an end without its last chunk: the client sees that it is none
        finally:
            self._under_way -= 1
        return response

    async def _past(self, request: web.Request) -> AsyncGenerator[str]:
        async with aclosing(replay(self._holdings, parse_past(_options(request)))) as lines:
            async for line in lines:
                yield line

    def _socket(self, send: Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]) -> Answer:
        async def handler(request: web.Request) -> web.StreamResponse:
            ws = web.WebSocketResponse(
                heartbeat=HEARTBEAT_S, compress=False, max_msg_size=LARGEST_FRAME, timeout=2.0
            )
            if not ws.can_prepare(request):
                return web.Response(status=426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
            await ws.prepare(request)
            if self._under_way >= MOST_ANSWERS:
                await ws.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too many replays are under way")
                return ws
            self._under_way += 1
            self._sockets.add(ws)
            sending = asyncio.create_task(self._send(ws, request, send), name="tardis: sending")
            try:
                async for message in ws:  # pongs and the close are seen here; nothing a client says is wanted
                    if message.type is WSMsgType.ERROR:
                        break
            finally:
                await end([sending])
                self._sockets.discard(ws)
                self._under_way -= 1
            return ws

        return handler

    async def _send(
        self,
        ws: web.WebSocketResponse,
        request: web.Request,
        send: Callable[[web.WebSocketResponse, web.Request], Awaitable[None]],
    ) -> None:
        try:
            await send(ws, request)
        except GONE:
            return
        except (FleetError, RedisError, OSError) as error:
            _failed(request, error)
            await _close(ws, WSCloseCode.INTERNAL_ERROR, _sentence(error))
        except Exception as error:
            _failed(request, error, exc_info=True)
            await _close(ws, WSCloseCode.INTERNAL_ERROR, "this server has a fault; its log tells which")

    async def _replayed(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        async with aclosing(self._past(request)) as lines:
            async for line in lines:
                await ws.send_str(line)
        await _close(ws, WSCloseCode.OK, "WS replay-normalized finished")

    async def _streamed(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        """Nothing waits for a client that does not read: what comes meanwhile waits here, up to a bound."""
        outgoing = Outgoing(ws)
        sending = asyncio.create_task(outgoing.run(), name="tardis: outgoing")
        try:
            wanted = parse_live(_options(request))
            async with aclosing(stream(self._url, self._holdings, wanted)) as lines:
                async for line in lines:
                    if not outgoing.put(line):
                        SLOW.inc()
                        log.warning("tardis_client_slow", peer=request.remote)
                        await _close(ws, WSCloseCode.POLICY_VIOLATION, "Too much backpressure")
                        if request.transport is not None:
                            request.transport.abort()  # it reads nothing, so no answer to the close either
                        return
        finally:
            await end([sending])


class Outgoing:
    """What waits for a client of a live stream, `MOST_UNSENT` bytes at the most."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._size = 0

    def put(self, line: str) -> bool:
        """Send a message when there is room; False: the client is too slow, and it was not taken."""
        if self._size + len(line) > MOST_UNSENT:
            return False
        self._size += len(line)
        self._waiting.put_nowait(line)
        return True

    async def run(self) -> None:
        """Send until the connection ends."""
        with suppress(*GONE):
            while True:
                line = await self._waiting.get()
                await self._ws.send_str(line)
                self._size -= len(line)


async def _write(request: web.Request, writing: Awaitable[None]) -> None:
    """Write, as long as somebody reads. Raises: ConnectionError."""
    try:
        async with asyncio.timeout(UNREAD_S):
            await writing
    except TimeoutError:
        SLOW.inc()
        log.warning("tardis_client_slow", peer=request.remote)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError from None


async def batches(lines: AsyncGenerator[str]) -> AsyncGenerator[bytes]:
    """Lines, 32 at a time."""
    async with aclosing(lines) as found:
        waiting: list[str] = []
        async for line in found:
            waiting.append(line)
            if len(waiting) >= BATCH:
                yield _joined(waiting)
                waiting = []
        if waiting:
            yield _joined(waiting)


def _joined(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _options(request: web.Request) -> str:
    """The `options` of a question. Raises: BadInput."""
    text = request.query.get("options", "")
    if not text:
        raise BadInput('Invalid "options"', "name them as JSON, URL-encoded: ?options={…}", "options")
    return text


def _failed(request: web.Request, error: Exception, *, exc_info: bool = False) -> None:
    if isinstance(error, RequestProblem | SymbolError):
        return  # the question cannot be answered; who asked is told
    resource = request.match_info.route.resource
    FAILED.labels(resource.canonical if resource else "unknown").inc()
    log.error("tardis_answer_failed", path=request.path, error=_sentence(error), exc_info=exc_info)


def _sentence(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _problem(error: Exception, status: int) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode({"message": _sentence(error)}),
        content_type="application/json",
        headers={"X-Content-Type-Options": "nosniff"},
    )


async def _close(ws: web.WebSocketResponse, code: int, reason: str) -> None:
    """Close; the reason is cut to what a frame holds, between two characters."""
    cut = reason.encode()[:LONGEST_REASON].decode(errors="ignore").encode()
    with suppress(TimeoutError, *GONE):
        async with asyncio.timeout(5.0):
            await ws.close(code=code, message=cut)
