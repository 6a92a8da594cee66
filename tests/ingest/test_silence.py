"""Sockets that live and bring nothing: a ping is no data, and a stream never heard is subscribed anew."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import pytest
from aiohttp import web
from test_connection import NAMES, WANTED, Bench, depth, server, session  # noqa: F401 -- session is a fixture

from workers.ingest import connection as module


async def until(condition, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_socket_with_pings_and_no_data_is_not_alive_and_wants_a_successor(
    session: aiohttp.ClientSession,  # noqa: F811 -- the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ALIVE_S", 1.5)

    async def handler(socket: web.WebSocketResponse) -> None:
        for name in NAMES:
            await socket.send_str(depth(1, name))
        while not socket.closed:
            await socket.ping(b"1")
            await asyncio.sleep(0.05)

    async with server(handler) as url:
        connection = Bench(session, url, silence_s=2.0).connection()
        running = asyncio.create_task(connection.run())
        await until(lambda: connection.alive)
        await until(lambda: not connection.alive)
        await until(connection.replace.is_set)
        assert not running.done(), "the old socket goes on until its successor delivers"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_quiet_socket_that_answers_is_left_to_a_successor(
    session: aiohttp.ClientSession,  # noqa: F811 -- the fixture
) -> None:
    """Binance's futures ping every three minutes: that of a thin market is not dead, and both lines would leave it."""

    async def handler(socket: web.WebSocketResponse) -> None:
        for name in NAMES:
            await socket.send_str(depth(1, name))
        async for _ in socket:  # aiohttp answers pings
            pass

    async with server(handler) as url:
        connection = Bench(session, url, silence_s=3.0).connection()
        running = asyncio.create_task(connection.run())
        await until(lambda: running.done() or connection.replace.is_set())
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_acknowledgement_is_no_data(session: aiohttp.ClientSession) -> None:  # noqa: F811 -- the fixture
    acknowledged = asyncio.Event()

    async def handler(socket: web.WebSocketResponse) -> None:
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(f'{{"result":null,"id":{msgspec.json.decode(message.data)["id"]}}}')
            acknowledged.set()

    async with server(handler) as url:
        connection = Bench(session, url).connection()
        running = asyncio.create_task(connection.run())
        await acknowledged.wait()
        await asyncio.sleep(0.1)
        assert not connection.alive
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_stream_never_heard_is_subscribed_anew_on_the_same_socket(
    session: aiohttp.ClientSession,  # noqa: F811 -- the fixture
) -> None:
    asked: list[tuple[str, list[str]]] = []

    async def handler(socket: web.WebSocketResponse) -> None:
        number = 0
        while True:
            number += 1
            await socket.send_str(depth(number, NAMES[0]))
            if any(method == "UNSUBSCRIBE" for method, _ in asked) and asked[-1][0] == "SUBSCRIBE":
                for name in NAMES[1:]:
                    await socket.send_str(depth(number, name))
            try:
                request = msgspec.json.decode((await socket.receive(0.05)).data)
            except TimeoutError:
                continue
            except (TypeError, msgspec.DecodeError):
                return
            asked.append((request["method"], request["params"]))
            await socket.send_str(f'{{"result":null,"id":{request["id"]}}}')

    async with server(handler) as url:
        bench = Bench(session, url, first_message_s=0.3)
        connection = bench.connection()
        running = asyncio.create_task(connection.run())
        await until(
            lambda: {entry.key for entry in bench.appended} == {f"raw:{{{name}}}:depth" for name in NAMES}
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    again = [names for method, names in asked if method == "UNSUBSCRIBE"]
    assert again[0] == [f"{name.lower()}@depth" for name in NAMES[1:]]


async def test_between_leaving_and_joining_a_stream_anew_there_is_no_pause(
    session: aiohttp.ClientSession,  # noqa: F811 -- the fixture
) -> None:
    """Both lines do it at the same time; what came in between would be lost on both."""
    connection = Bench(session, "ws://127.0.0.1:1").connection()
    while connection.streams.next() is not None:
        pass
    connection.streams.again(WANTED)
    left_and_joined = []
    while (request := connection.streams.next()) is not None:
        assert request.methods == ("unsubscribe", "subscribe")
        left_and_joined += [one.stream for one in request.streams]
    assert left_and_joined == [f"{name.lower()}@depth" for name in NAMES]
