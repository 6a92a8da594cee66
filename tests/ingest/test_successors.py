"""A socket and its successor: rotation, notices, quiet symbols, and the return after sudden ends."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from test_connection import NAMES, Bench, Scripted, depth, eventually, fed, server, session  # noqa: F401 -- fixtures

from workers.ingest import settling
from workers.ingest.feed import Feed, jittered
from workers.store.keys import Keys


async def test_rotation_overlaps_and_loses_nothing(session: aiohttp.ClientSession) -> None:  # noqa: F811 -- the fixture
    sockets: list[web.WebSocketResponse] = []
    most_at_once = 0
    ended = asyncio.Event()

    async def handler(socket: web.WebSocketResponse) -> None:
        sockets.append(socket)
        async for _ in socket:
            pass
        sockets.remove(socket)

    async def send() -> None:
        nonlocal most_at_once
        for u in range(1, 300):
            most_at_once = max(most_at_once, len(sockets))
            for socket in sockets:
                for name in NAMES:
                    try:
                        await socket.send_str(depth(u, name))
                    except ConnectionError:
                        pass
            await asyncio.sleep(0.005)
        ended.set()

    async with server(handler) as url:
        bench = Bench(session, url)
        feed = Feed(bench.connection, ("spot", "a"), bench.settings, rotate_s=0.3)
        task = asyncio.create_task(feed.run())
        while not sockets:
            await asyncio.sleep(0.01)
        await send()
        await ended.wait()
        async with asyncio.timeout(60):
            while [entry.update_id for entry in bench.appended].count(299) < len(NAMES):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert most_at_once == 2
    for name in NAMES:
        ids = [entry.update_id for entry in bench.appended if entry.key == Keys().raw(name, "depth")]
        assert ids == list(range(ids[0], 300))
        assert ids[0] < 20


async def test_a_shutdown_notice_makes_a_successor_at_once(session: aiohttp.ClientSession) -> None:  # noqa: F811 -- the fixture
    opened = 0

    async def handler(socket: web.WebSocketResponse) -> None:
        nonlocal opened
        opened += 1
        first = opened == 1
        u = opened * 1000
        while not socket.closed:
            u += 1
            try:
                for name in NAMES:
                    await socket.send_str(depth(u, name))
                if first:
                    await socket.send_str('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
            except ConnectionError:
                return
            await asyncio.sleep(0.02)

    async with server(handler) as url:
        bench = Bench(session, url, id_reset_ms=1)
        task = asyncio.create_task(Feed(bench.connection, ("spot", "a"), bench.settings, rotate_s=60).run())
        for _ in range(3000):
            await asyncio.sleep(0.02)
            if opened == 2:
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert opened == 2


async def test_a_quiet_symbol_keeps_no_successor_from_taking_over(
    session: aiohttp.ClientSession,  # noqa: F811 -- the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "SETTLE_S", 0.3)
    scripted = Scripted(quiet=(NAMES[1],))
    scripted.notices = {1}
    async with fed(session, scripted) as (feed, _):
        await eventually(lambda: scripted.opened == 2 and scripted.open == [2])
        assert feed.alive
        await asyncio.sleep(0.2)
        assert scripted.open == [2]


async def test_a_line_lives_while_its_successor_is_not_settled_and_the_old_socket_has_gone(
    session: aiohttp.ClientSession,  # noqa: F811 -- the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "SETTLE_S", 1000.0)
    scripted = Scripted(quiet=(NAMES[1],))
    scripted.notices = {1}
    async with fed(session, scripted) as (feed, _):
        await eventually(lambda: scripted.opened == 2)
        first = next(iter(feed._tasks))
        first.cancel()  # the exchange closes it a little after its notice
        await eventually(lambda: scripted.open == [2])
        await eventually(lambda: feed.alive)
        scripted.notices = {2}  # and the next notice is acted on, settled or not
        await eventually(lambda: 3 in scripted.open)


async def test_a_feed_comes_back_after_sudden_ends(session: aiohttp.ClientSession) -> None:  # noqa: F811 -- the fixture
    opened = 0

    async def handler(socket: web.WebSocketResponse) -> None:
        nonlocal opened
        opened += 1
        await socket.send_str(depth(opened))
        assert socket._req is not None
        transport = socket._req.transport
        assert transport is not None
        if opened < 4:
            transport.abort()
        else:
            await asyncio.sleep(5)

    async with server(handler) as url:
        bench = Bench(session, url, backoff_first_s=0.01)
        task = asyncio.create_task(Feed(bench.connection, ("spot", "a"), bench.settings, rotate_s=60).run())
        for _ in range(3000):
            await asyncio.sleep(0.02)
            if opened == 4:
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert opened == 4


def test_a_jittered_pause_is_at_least_half_of_it() -> None:
    waits = {jittered(8.0) for _ in range(40)}
    assert len(waits) > 1
    assert 4.0 <= min(waits) < max(waits) <= 8.0
