"""The socket of the announcements, against a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from aiohttp import web

from workers.keeper import announcements
from workers.keeper.announcements import AnnouncementReader
from workers.runtime.tasks import end
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import ContractNotice

Handler = Callable[[web.WebSocketResponse], Awaitable[None]]
NEW = "1000新币USDT"


def event(symbol: str, status: str, family: int = 1) -> str:
    data = f'{{"e":"contractInfo","E":5,"s":"{symbol}","cs":"{status}","st":{family}}}'
    return f'{{"stream":"!contractInfo","data":{data}}}'


class World:
    """A reader and what it took in."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.notices: list[ContractNotice] = []
        self.opened = 0

    def _open(self) -> None:
        self.opened += 1

    @asynccontextmanager
    async def reading(self, handler: Handler) -> AsyncIterator[None]:
        async def serve(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            self.asked.append(msgspec.json.decode((await socket.receive()).data))
            await handler(socket)
            return socket

        app = web.Application()
        app.router.add_get("/market/stream", serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        venue = Binance("usdm", BinanceSettings(market="usdm", symbols=["A"], websocket_url=url))
        where = venue.announcements()
        assert where is not None
        async with aiohttp.ClientSession() as session:
            reader = AnnouncementReader(session, venue, where, self.notices.append, self._open)
            task = asyncio.create_task(reader.run())
            yield
            await end([task])
        await runner.cleanup()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)


async def test_notices_are_taken_and_everything_else_is_passed_over() -> None:
    here = World()

    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"result":null,"id":1}')
        await socket.send_str("no json")
        await socket.send_str(event("BTCUSD_PERP", "TRADING", 2))  # the other market's
        await socket.send_str('{"stream":"!contractInfo","data":{"e":"contractInfo"}}')
        await socket.send_bytes(b"\x00")
        await socket.send_str(event(NEW, "PENDING_TRADING"))
        await socket.send_str(event(NEW, "TRADING"))
        await asyncio.sleep(30)

    async with here.reading(handler):
        await here.until(lambda: len(here.notices) == 2)
    assert here.asked == [{"method": "SUBSCRIBE", "params": ["!contractInfo"], "id": 1}]
    assert here.notices == [ContractNotice(NEW, "PENDING_TRADING", 5), ContractNotice(NEW, "TRADING", 5)]


@pytest.mark.parametrize("how", ["close", "abort", "notice"])
async def test_an_ended_socket_is_opened_again_and_says_so(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "FIRST_PAUSE_S", 0.01)
    here = World()

    async def handler(socket: web.WebSocketResponse) -> None:
        if len(here.asked) >= 3:
            await asyncio.sleep(30)
        elif how == "close":
            await socket.close(code=1001)
        elif how == "abort":
            assert socket._req is not None
            assert socket._req.transport is not None
            socket._req.transport.abort()
        else:
            await socket.send_str('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
            await asyncio.sleep(30)

    async with here.reading(handler):
        await here.until(lambda: here.opened == 3)


async def test_a_socket_that_answers_no_ping_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "PING_S", 0.1)
    monkeypatch.setattr(announcements, "FIRST_PAUSE_S", 0.01)
    here = World()

    async def handler(_: web.WebSocketResponse) -> None:
        await asyncio.sleep(30)  # reads nothing, so it answers no ping

    async with here.reading(handler):
        await here.until(lambda: here.opened == 3)


async def test_an_error_nobody_foresaw_costs_that_frame_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    here = World()
    split = Binance.split

    def broken(self: Binance, frame: bytes | str) -> object:
        if "BROKEN" in str(frame):
            raise RuntimeError("nobody foresaw this")
        return split(self, frame)

    monkeypatch.setattr(Binance, "split", broken)

    async def handler(socket: web.WebSocketResponse) -> None:
        await socket.send_str(event("BROKEN", "TRADING"))
        await socket.send_str(event(NEW, "TRADING"))
        await asyncio.sleep(30)

    async with here.reading(handler):
        await here.until(lambda: len(here.notices) == 1)
    assert here.opened == 1
