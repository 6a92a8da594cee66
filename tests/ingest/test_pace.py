"""Limits of an address over all its sockets: never more than a line's half, a first frame with each socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from workers.ingest.connection import Connection
from workers.ingest.line import Line
from workers.ingest.pace import MARGIN_S, Pace, Window
from workers.settings.exchanges import settings_of
from workers.settings.schema import IngestSettings
from workers.store.keys import Keys
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase
from workers.venues.facts import Limit
from workers.venues.registry import venue_of

LARGE = json.dumps({"filling": "x" * 20_000_000})
"""As large as a book may be, and none."""
NAMES = ["BTC-USD", "ETH-USD"]
SETTINGS = CoinbaseSettings(symbols=NAMES, request_spacing_ms=5)


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 12), st.floats(0.5, 5))
def test_no_period_has_more_than_half_of_the_limit(pauses, weight, seconds):
    window, now, times = Window(Limit(weight, seconds)), 0.0, []
    for pause in pauses:
        now += pause
        now += max(0.0, window.wait_s(now))
        window.count(now)
        times.append(now)
    most = max(1, weight // 2)
    for first, last in zip(times, times[most:], strict=False):
        assert last - first >= seconds + MARGIN_S - 1e-6


@given(st.integers(1, 12), st.floats(0.5, 5), st.integers(1, 8))
def test_all_processes_of_both_lines_stay_within_the_limit(weight, seconds, processes):
    times = []
    for _ in range(2 * processes):
        window, now = Window(Limit(weight, seconds), 2 * processes), 0.0
        for _ in range(10):  # each of them as fast as it may, and all at once
            now += max(0.0, window.wait_s(now))
            window.count(now)
            times.append(now)
    # where each may go but once in a while they go together: over so many periods it is no more than the limit
    span = seconds * max(1.0, 2 * processes / weight)
    times.sort()
    for first in times:
        assert sum(first <= at < first + span for at in times) <= weight * span / seconds + 1e-6


@pytest.mark.parametrize(
    ("exchange", "openings"),
    [
        ("binance", Limit(300, 300.0)),  # else the address is banned
        ("okx", Limit(3, 1.0)),
        ("bybit", Limit(500, 300.0)),
        ("kraken", Limit(150, 600.0)),
        ("coinbase", Limit(8, 1.0)),
        ("bitfinex", Limit(20, 60.0)),  # else the address is blocked for a minute
    ],
)
def test_openings_are_limited_where_the_exchange_says_how(exchange, openings):
    settings = settings_of(exchange)
    market = {} if exchange == "coinbase" else {"market": "spot"}
    assert venue_of(exchange, settings(symbols=["BTC-USD"], **market)).facts.openings == openings


class Permits(Pace):
    """Turns that the test gives."""

    def __init__(self) -> None:
        self.openings, self.frames = asyncio.Semaphore(0), asyncio.Semaphore(0)

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        await self.openings.acquire()
        yield

    @asynccontextmanager
    async def frame(self) -> AsyncIterator[None]:
        await self.frames.acquire()
        yield


async def test_sockets_and_frames_wait_for_their_turns() -> None:
    came: asyncio.Queue[str] = asyncio.Queue()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await came.put("opened")
        await socket.send_str(LARGE)
        async for message in socket:
            await came.put(json.loads(message.data)["channel"])
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pace, venue = Permits(), Coinbase("coinbase", SETTINGS)
    streams = [stream for endpoint in venue.endpoints(NAMES) for stream in endpoint.subscriptions]
    line = Line(venue, Keys(), "a", IngestSettings(), NAMES, lambda entry: None)
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        connection = Connection(
            session, venue, url, streams, "a", IngestSettings(), SETTINGS, line, pace=pace
        )
        running = asyncio.create_task(connection.run())
        for permits, expected in (
            (pace.openings, ["opened", "heartbeats"]),  # the first frame goes with the socket
            (pace.frames, ["level2"]),
            (pace.frames, ["market_trades"]),
        ):
            for _ in range(50):
                await asyncio.sleep(0)
            assert came.empty()
            permits.release()
            assert [await came.get() for _ in expected] == expected
        while not line.counts["malformed"]:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
    await runner.cleanup()


async def test_one_turn_after_another() -> None:
    """What is counted is the end of a turn: so long as it lasts nobody else has one."""
    pace = Pace(Coinbase("coinbase", SETTINGS).facts)
    order: list[str] = []

    async def frame(name: str) -> None:
        async with pace.frame():
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    async def opening() -> None:
        async with pace.opening():
            order.append("socket begins")
            await asyncio.sleep(0)
            order.append("socket ends")

    async with asyncio.timeout(60):
        await asyncio.gather(frame("a"), opening(), frame("b"))
    assert sorted(order[::2]) == ["a begins", "b begins", "socket begins"]
    assert [text.replace("begins", "ends") for text in order[::2]] == order[1::2]
    assert Coinbase("x", CoinbaseSettings(symbols=NAMES, market="exchange")).facts.frames is None


async def test_a_socket_that_hangs_holds_up_no_other_where_only_minutes_are_counted() -> None:
    venue = venue_of("binance", settings_of("binance")(symbols=["BTCUSDT"], market="spot"))
    pace, most = Pace(venue.facts), 150
    opened: list[int] = []
    never = asyncio.Event()

    async def opening(number: int) -> None:
        async with pace.opening():
            opened.append(number)
            await never.wait()

    tasks = [asyncio.create_task(opening(number)) for number in range(most + 1)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert opened == list(range(most))  # half of an address' 300 in five minutes, hanging or not
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
