"""What happens now, as clients of tardis-machine hear it: books while they are shown, and a bound for who is slow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestServer
from client_world import KEYS, T0, S, World, lay_book
from redis.asyncio import Redis

from workers.api.security.access import Access
from workers.runtime.context import venue_contexts
from workers.settings.loading import parse
from workers.store.connection import connect
from workers.tardis import server as serving
from workers.tardis.holdings import Holdings
from workers.tardis.server import TardisServer

SETTINGS = f'[venues.usdm]\nexchange = "binance"\nmarket = "usdm"\nsymbols = ["{S}"]\n'
EVERYTHING = ["trade", "book_change", "derivative_ticker", "liquidation", "book_snapshot_1_0ms"]
PATIENCE_S = 60.0


@asynccontextmanager
async def served(url: str, more: str = "") -> AsyncIterator[TestServer]:
    settings = parse(SETTINGS + more, "test", {}).settings
    client = connect(url)
    holdings = Holdings(client, venue_contexts(settings), None)
    try:
        running = TestServer(TardisServer(holdings, url, Access(settings.api)).build())
        await running.start_server(max_line_size=serving.LONGEST_QUERY)
        try:
            yield running
        finally:
            await running.close()
    finally:
        await client.aclose()


@asynccontextmanager
async def listening(server: TestServer, **changes: Any) -> AsyncIterator[ClientWebSocketResponse]:
    question = {"exchange": "binance-futures", "symbols": [S.lower()], "dataTypes": EVERYTHING} | changes
    path = server.make_url("/ws-stream-normalized")
    async with (
        ClientSession() as session,
        session.ws_connect(path, params={"options": json.dumps(question)}) as ws,
    ):
        yield ws


async def until(ws: ClientWebSocketResponse, kind: str) -> list[dict[str, Any]]:
    """All messages up to the first of a kind."""
    found = []
    async with asyncio.timeout(PATIENCE_S):
        while not found or found[-1]["type"] != kind:
            found.append(await ws.receive_json())
    return found


async def change(redis: Redis, u: int, previous: int, bids: list[list[str]]) -> None:
    row = {
        "e": "depthUpdate",
        "E": T0 + u,
        "T": T0,
        "s": S,
        "U": u,
        "u": u,
        "pu": previous,
        "b": bids,
        "a": [],
    }
    await redis.xadd(KEYS.raw(S, "depth"), {"data": json.dumps(row), "received": 1}, id=f"{T0 + u}-{u}")


@pytest.fixture
async def world(spare_server: str) -> AsyncIterator[World]:
    redis = Redis.from_url(spare_server, protocol=2)
    yield World(redis)
    await redis.aclose()


async def test_a_book_is_told_whole_and_then_by_its_changes_until_it_is_withdrawn(
    world: World, spare_server: str
):
    await lay_book(world)
    async with served(spare_server) as server, listening(server, withDisconnectMessages=True) as ws:
        first, shown = await until(ws, "book_snapshot")
        assert (first["type"], first["isSnapshot"], first["exchange"]) == (
            "book_change",
            True,
            "binance-futures",
        )
        assert first["bids"] == [{"price": 100.5, "amount": 4}, {"price": 99, "amount": 2}]
        assert shown["bids"] == [{"price": 100.5, "amount": 4}]
        await change(world.redis, 13, 12, [["100.6", "7"]])
        changed, shown = await until(ws, "book_snapshot")
        assert (changed["isSnapshot"], changed["bids"]) == (False, [{"price": 100.6, "amount": 7}])
        assert shown["bids"] == [{"price": 100.6, "amount": 7}]
        await world.withhold("stale", "its stream is silent")
        [gone] = await until(ws, "disconnect")
        assert gone["symbols"] == [S]
        await change(world.redis, 14, 13, [["100.7", "1"]])
        await world.publish(14)
        again, shown = await until(ws, "book_snapshot")
        assert again["isSnapshot"]
        assert again["bids"][0] == {"price": 100.7, "amount": 1}
        await change(world.redis, 20, 19, [["100.8", "1"]])
        assert [one["type"] for one in await until(ws, "disconnect")] == ["disconnect"]


async def test_trades_and_what_is_said_of_contracts(world: World, spare_server: str):
    await lay_book(world)
    await world.fold(1)
    await world.stream(1)
    async with served(spare_server) as server, listening(server) as ws:
        await until(ws, "book_snapshot")  # it listens

        async def tell() -> None:
            number = 2
            while True:
                await world.stream(number)
                await world.fold(number)
                figures = {
                    "mark_price": f"{number}.50",
                    "mark_price_at": T0,
                    "next_funding_time": T0,
                    "next_funding_time_at": T0,
                }
                await world.redis.xadd(KEYS.derivatives(S), figures)
                row = {"side": "sell", "price": "9910", "quantity": "0.014", "time": T0, "event_time": T0 + 1}
                await world.redis.xadd(KEYS.liquidations(S), row)
                number += 1
                await asyncio.sleep(0.1)

        telling = asyncio.create_task(tell(), name="test: telling")
        found: dict[str, dict[str, Any]] = {}
        async with asyncio.timeout(PATIENCE_S):
            while not {"trade", "derivative_ticker", "liquidation"} <= found.keys():
                message = await ws.receive_json()
                found[message["type"]] = message
        telling.cancel()
    assert (found["trade"]["amount"], found["trade"]["symbol"]) == (0.25, S)
    assert found["derivative_ticker"]["fundingTimestamp"] == found["liquidation"]["timestamp"]
    assert "indexPrice" not in found["derivative_ticker"]
    assert (found["liquidation"]["side"], found["liquidation"]["amount"]) == ("sell", 0.014)


async def test_best_levels_as_the_exchange_says_them_are_told_live_and_of_the_last_minute(
    world: World, spare_server: str
):
    key = KEYS.raw(S, "bookTicker")

    async def tell(u: int) -> None:
        row = {
            "e": "bookTicker",
            "u": u,
            "s": S,
            "b": f"{u}.50",
            "B": "4",
            "a": f"{u + 1}",
            "A": "0",
            "T": T0,
            "E": T0 + u,
        }
        await world.redis.xadd(
            key, {"data": json.dumps(row), "received": (T0 + 3) * 1000}, id=f"{T0 + u}-{u}"
        )

    await tell(1)
    question = {"dataTypes": ["book_ticker"], "withDisconnectMessages": True}
    async with served(spare_server, "book_ticker = true\n") as server:
        async with listening(server, **question) as ws:

            async def telling() -> None:
                for u in range(2, 1000):
                    await tell(u)
                    await asyncio.sleep(0.05)

            task = asyncio.create_task(telling(), name="test: telling")
            first, second = (await until(ws, "book_ticker"))[0], (await until(ws, "book_ticker"))[0]
            task.cancel()
            u = second["askPrice"] - 1
            assert first["askPrice"] == u > 1
            assert {**second, "localTimestamp": 0, "timestamp": 0} == {
                "type": "book_ticker", "symbol": S, "exchange": "binance-futures", "askAmount": 0, "askPrice": u + 1,
                "bidPrice": u + 0.5, "bidAmount": 4, "localTimestamp": 0, "timestamp": 0,
            }  # fmt: skip
            await world.redis.xtrim(key, maxlen=3, approximate=False)
        span = {"exchange": "binance-futures", "symbols": [S], "from": "2020-01-01", "to": "2030-01-01"}
        async with ClientSession() as session:
            query = {"options": json.dumps({**span, **question})}
            async with session.get(server.make_url("/replay-normalized"), params=query) as reply:
                found = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert [one["type"] for one in found] == ["disconnect", *["book_ticker"] * 3]
    assert found[0]["localTimestamp"] == "2020-01-01T00:00:00.000Z"
    times = [one["localTimestamp"] for one in found[1:]]
    assert len(set(times)) == 3
    assert times == sorted(times, key=lambda text: text.replace("Z", "000Z") if len(text) == 24 else text)


async def test_a_symbol_that_is_not_followed_closes_the_stream(world: World, spare_server: str):
    async with served(spare_server) as server, listening(server, symbols=["NOTHING"]) as ws:
        message = await ws.receive(PATIENCE_S)
        assert message.type is WSMsgType.CLOSE
        assert (message.data, message.extra) == (
            1011,
            'Invalid "symbols" argument: NOTHING: not followed at binance-futures',
        )


async def test_who_reads_too_slowly_is_closed_and_no_more_than_a_bound_waits(
    spare_server: str, monkeypatch: pytest.MonkeyPatch
):
    line, told = json.dumps({"x": "y" * 10_000}), []

    async def endless(*_: Any) -> AsyncGenerator[str]:
        while True:
            told.append(1)
            yield line
            await asyncio.sleep(0)

    monkeypatch.setattr(serving, "stream", endless)
    async with served(spare_server) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 12)
        question = quote('{"exchange":"binance","dataTypes":["trade"]}')
        head = f"GET /ws-stream-normalized?options={question} HTTP/1.1\r\n"
        names = (
            "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        )
        writer.write(f"{head}{names}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        before, slow = -1, serving.SLOW._value.get()
        async with asyncio.timeout(PATIENCE_S):
            while serving.SLOW._value.get() == slow or before != len(told):
                before = len(told)
                await asyncio.sleep(0.2)
            while await reader.read(1 << 16):
                pass
        writer.close()
    assert len(told) * len(line) < 3 * serving.MOST_UNSENT
