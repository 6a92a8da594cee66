"""Real sockets against a scripted server: silence, floods, huge frames, sudden ends and rotation with overlap."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from workers.ingest.chain import StreamChain
from workers.ingest.connection import Connection
from workers.ingest.feed import Feed
from workers.ingest.line import Line
from workers.settings.schema import IngestSettings
from workers.store.keys import Keys
from workers.store.log.streams import RawEntry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import Message, Subscription

VENUE = BinanceSettings(market="spot", symbols=["BNBBTC"], request_spacing_ms=10, streams_per_request=2)
NAMES = ["BNBBTC", "ETHBTC", "币安人生USDT"]
WANTED = [Subscription(f"{name.lower()}@depth", "depth", name) for name in NAMES]
Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


def depth(u: int, symbol: str = "BNBBTC") -> str:
    import time

    return (
        f'{{"stream":"x@depth","data":{{"e":"depthUpdate","E":{int(time.time() * 1000)},"s":"{symbol}",'
        f'"U":{u},"u":{u},"b":[],"a":[]}}}}'
    )


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await handler(socket)
        return socket

    app = web.Application()
    app.router.add_get("/stream", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}/stream"
    await runner.cleanup()


class Bench:
    """A line with its connection, and everything appended."""

    def __init__(self, session: aiohttp.ClientSession, url: str, **changes: float) -> None:
        self.settings = IngestSettings(**changes)  # type: ignore[arg-type]
        venue = Binance("spot", VENUE)
        self.appended: list[RawEntry] = []
        self.line = Line(venue, Keys(), "a", self.settings, NAMES, self.appended.append)
        self._make = lambda: Connection(session, venue, url, WANTED, "a", self.settings, VENUE, self.line)

    def connection(self) -> Connection:
        return self._make()

    @property
    def ids(self) -> list[int]:
        return [entry.update_id for entry in self.appended]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_subscriptions_go_out_in_frames_with_integer_ids(session: aiohttp.ClientSession) -> None:
    asked: list[dict[str, object]] = []

    async def handler(socket: web.WebSocketResponse) -> None:
        for _ in range(2):
            asked.append(msgspec.json.decode((await socket.receive()).data))
            await socket.send_str(f'{{"result":null,"id":{asked[-1]["id"]}}}')
        for number, name in enumerate(NAMES):
            await socket.send_str(depth(number + 1, name))
        await socket.close()

    async with server(handler) as url:
        bench = Bench(session, url)
        connection = bench.connection()
        assert await connection.run() == "closed with 1000"
    assert [(request["id"], len(request["params"])) for request in asked] == [(1, 2), (2, 1)]  # type: ignore[arg-type]
    assert connection.settled.is_set()
    assert bench.ids == [1, 2, 3]


async def test_unusable_frames_stop_nothing(session: aiohttp.ClientSession) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str(depth(1))
        await socket.send_str("no json")
        await socket.send_bytes(b"\x00\x01")
        await socket.send_str('{"stream":"x@depth","data":[1]}')
        await socket.send_str(depth(2))
        await socket.close()

    async with server(handler) as url:
        bench = Bench(session, url)
        await bench.connection().run()
    assert bench.ids == [1, 2]
    assert bench.line.counts["malformed"] == 3


async def test_a_frame_of_ten_megabytes_ends_the_socket_and_nothing_else(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str(depth(1))
        await socket.send_str("x" * 10_000_000)
        await asyncio.sleep(5)

    async with server(handler) as url:
        bench = Bench(session, url)
        assert await asyncio.wait_for(bench.connection().run(), 60) == "oversized frame"
    assert bench.ids == [1]


async def test_pings_are_answered_with_their_payload(session: aiohttp.ClientSession) -> None:
    answered = asyncio.Event()

    async def handler(socket: web.WebSocketResponse) -> None:
        socket._autoping = False
        await socket.ping(b"1790134675605")
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.PONG:
                assert message.data == b"1790134675605"
                answered.set()
                await socket.close()
                return

    async with server(handler) as url:
        await asyncio.wait_for(Bench(session, url).connection().run(), 60)
    assert answered.is_set()


async def test_a_socket_that_acknowledges_and_stays_silent_is_replaced(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            request = msgspec.json.decode(message.data)
            await socket.send_str(f'{{"result":null,"id":{request["id"]}}}')

    async with server(handler) as url:
        bench = Bench(session, url, first_message_s=0.1)
        reason = await asyncio.wait_for(bench.connection().run(), 60)
    assert reason == "no data after the acknowledgement"


async def test_one_silent_stream_of_several_is_told_and_does_not_cost_the_socket(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        for _ in range(2):
            request = msgspec.json.decode((await socket.receive()).data)
            await socket.send_str(f'{{"result":null,"id":{request["id"]}}}')
        for u in range(1, 25):
            await socket.send_str(depth(u))
            await asyncio.sleep(0.1)
        await socket.close()

    async with server(handler) as url:
        bench = Bench(session, url, first_message_s=0.1)
        connection = bench.connection()
        assert await asyncio.wait_for(connection.run(), 60) == "closed with 1000"
    assert connection.settled.is_set()
    assert bench.ids == list(range(1, 25))


async def test_a_socket_on_which_nothing_arrives_is_replaced(session: aiohttp.ClientSession) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str(depth(1))
        await asyncio.sleep(20)

    async with server(handler) as url:
        reason = await asyncio.wait_for(Bench(session, url, silence_s=0.2).connection().run(), 60)
    assert reason == "silent"


async def test_streams_come_and_go_on_an_open_socket_in_paced_frames(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    times: list[float] = []
    send = aiohttp.ClientWebSocketResponse.send_str

    async def sent(self: aiohttp.ClientWebSocketResponse, *arguments: Any) -> None:  # type: ignore[type-arg]
        times.append(asyncio.get_running_loop().time())
        await send(self, *arguments)

    monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_str", sent)

    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str(depth(1))
        async for message in socket:
            asked.append(msgspec.json.decode(message.data))
            await socket.send_str(f'{{"result":null,"id":{asked[-1]["id"]}}}')

    async with server(handler) as url:
        bench = Bench(session, url)
        connection = bench.connection()
        running = asyncio.create_task(connection.run())
        while len(asked) < 2:
            await asyncio.sleep(0.01)
        more = [Subscription(f"{name}@depth", "depth", name.upper()) for name in ("a", "b", "1000c")]
        connection.subscribe(more)
        connection.unsubscribe([WANTED[0], more[1]])
        while len(asked) < 5:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [(one["id"], one["method"], one["params"]) for one in asked[2:]] == [
        (3, "SUBSCRIBE", ["a@depth", "b@depth"]),
        (4, "SUBSCRIBE", ["1000c@depth"]),
        (5, "UNSUBSCRIBE", ["bnbbtc@depth", "b@depth"]),
    ]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times[2:])]
    assert len(pauses) == 2
    assert all(pause > 0.009 for pause in pauses), pauses


async def test_a_stream_subscribed_late_has_time_for_its_first_message(
    session: aiohttp.ClientSession,
) -> None:
    async def handler(socket: web.WebSocketResponse) -> None:
        for u in itertools.count(1):
            for name in NAMES:
                await socket.send_str(depth(u, name))
            await asyncio.sleep(0.01)

    async with server(handler) as url:
        bench = Bench(session, url, first_message_s=1.0)
        connection = bench.connection()
        running = asyncio.create_task(connection.run())
        with capture_logs() as logs:
            await asyncio.sleep(1.5)  # longer than the first streams had
            assert "stream_silent" not in [entry["event"] for entry in logs]
            subscribed = asyncio.get_running_loop().time()
            connection.subscribe([Subscription("late@depth", "depth", "LATE")])
            async with asyncio.timeout(60):
                while "stream_silent" not in [entry["event"] for entry in logs]:
                    await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - subscribed > 0.9
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    [told] = [entry for entry in logs if entry["event"] == "stream_silent"]
    assert told["silent"] == ["LATE@depth"]


async def test_a_dead_host_is_an_end_with_a_reason(session: aiohttp.ClientSession) -> None:
    assert await Bench(session, "ws://127.0.0.1:9/stream").connection().run() == "connect failed"


class Scripted:
    """A server that acknowledges, refuses some streams, and sends what it is told to on each socket."""

    def __init__(self, quiet: tuple[str, ...] = (), refused: str = "") -> None:
        self.quiet = quiet
        self.refused = refused
        self.opened = 0
        self.open: list[int] = []
        self.notices: set[int] = set()
        """Numbers of the sockets that get a notice as soon as they are there."""
        self.subscribed: dict[int, set[str]] = {}

    async def __call__(self, socket: web.WebSocketResponse) -> None:
        self.opened += 1
        number = self.opened
        self.open.append(number)
        self.subscribed[number] = set()
        sending = asyncio.create_task(self._send(socket, number))
        try:
            async for message in socket:
                request = msgspec.json.decode(message.data)
                if self.refused and self.refused in request["params"]:
                    await socket.send_str(
                        f'{{"error":{{"code":2,"msg":"Invalid request"}},"id":{request["id"]}}}'
                    )
                else:
                    self.subscribed[number] |= set(request["params"])
                    await socket.send_str(f'{{"result":null,"id":{request["id"]}}}')
        finally:
            sending.cancel()
            self.open.remove(number)

    async def _send(self, socket: web.WebSocketResponse, number: int) -> None:
        for u in itertools.count(number * 1000):
            try:
                for name in NAMES:
                    if name not in self.quiet and f"{name.lower()}@depth" in self.subscribed[number]:
                        await socket.send_str(depth(u, name))
                if number in self.notices:
                    self.notices.discard(number)
                    await socket.send_str('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
            except ConnectionError:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def fed(
    session: aiohttp.ClientSession, scripted: Scripted, **changes: float
) -> AsyncIterator[tuple[Feed, Bench]]:
    async with server(scripted) as url:
        bench = Bench(session, url, backoff_first_s=0.05, **changes)
        feed = Feed(bench.connection, ("spot", "a"), bench.settings, rotate_s=1000)
        task = asyncio.create_task(feed.run())
        yield feed, bench
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_refused_stream_costs_the_others_nothing(session: aiohttp.ClientSession) -> None:
    scripted = Scripted(refused=f"{NAMES[1].lower()}@depth")
    with capture_logs() as logs:
        async with fed(session, scripted, first_message_s=1.5, refused_retry_s=0.2, silence_s=10.0) as (
            feed,
            bench,
        ):
            await asyncio.sleep(2.0)  # longer than a stream may be without a first message
            await eventually(lambda: len(bench.ids) > 200)
            assert scripted.opened == 1
            assert feed.alive
            assert [entry["stream"] for entry in logs if entry["event"] == "subscription_refused"] == [
                "ethbtc@depth"
            ]
            scripted.refused = ""
            await eventually(lambda: len(scripted.subscribed[1]) == len(NAMES))
            await eventually(lambda: "raw:{ETHBTC}:depth" in {entry.key for entry in bench.appended})
            assert scripted.opened == 1


async def test_an_error_nobody_foresaw_in_one_frame_costs_that_frame(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = Scripted()
    split = Binance.split

    def broken(self: Binance, frame: bytes | str) -> Any:
        found = split(self, frame)
        if getattr(found, "symbol", "") == NAMES[1]:
            raise RuntimeError("nobody foresaw this")
        return found

    monkeypatch.setattr(Binance, "split", broken)
    with capture_logs() as logs:
        async with fed(session, scripted) as (_, bench):
            await eventually(lambda: len(bench.ids) > 100)
            assert scripted.opened == 1
    keys = {entry.key for entry in bench.appended}
    assert keys == {f"raw:{{{name}}}:depth" for name in NAMES if name != NAMES[1]}
    told = [entry for entry in logs if entry["event"] == "frame_failed"]
    assert 0 < len(told) <= 20
    assert bench.line.counts["failed"] >= len(told)


async def test_an_error_in_what_is_held_back_costs_that_stream_alone(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(session, "ws://127.0.0.1:1")
    now_us = time.time_ns() // 1000
    for name in NAMES[:2]:
        bench.line.frame(depth(1, name), now_us)
        bench.line.frame(depth(5, name), now_us)
    assert bench.ids == [1, 1]
    broken = bench.line._streams["depth", NAMES[0]].chain
    release = StreamChain.release

    def failing(chain: StreamChain, noticed_by_ms: int | None = None) -> list[Message]:
        if chain is broken:
            raise RuntimeError("nobody foresaw this")
        return release(chain, noticed_by_ms)

    monkeypatch.setattr(StreamChain, "release", failing)
    bench.line.tick(now_us + 10_000_000)
    assert bench.ids == [1, 1, 5]
