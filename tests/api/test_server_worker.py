"""A worker of the API: what its settings say of every question, and how it ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from aiohttp import ClientError, ClientSession, WSCloseCode, WSMsgType
from test_server import serving, settings

from workers.api.server import main
from workers.runtime.process import Process


async def test_the_default_symbol_and_the_most_rows_are_those_of_the_settings(real_server: str) -> None:
    async for client in serving(real_server, settings(default_symbol="币安人生USDT", most_rows=10)):
        assert (await (await client.get("/trades")).json())["symbol"] == "币安人生USDT"
        assert (await (await client.get("/trades?venue=spot&limit=10")).json())["symbol"] == "BNBBTC"
        assert (await client.get("/trades?limit=11")).status == 422
        assert (await client.get("/bars/1m?limit=11")).status == 422
        assert (await client.get("/gaps?limit=11")).status == 422


async def started(url: str) -> tuple[Process, asyncio.Task[None], str]:
    process = Process("api", settings(port=0), 0, url)
    running = asyncio.create_task(main(process))
    async with asyncio.timeout(60):
        while "address" not in process.details:
            await asyncio.sleep(0.01)
    return process, running, str(process.details["address"])


async def test_a_worker_told_to_stop_lets_its_live_clients_go(real_server: str) -> None:
    process, running, address = await started(real_server)
    async with (
        ClientSession() as session,
        session.ws_connect(f"{address}/ws") as socket,
        session.get(f"{address}/sse?channel=trades&symbols=BTCUSDT") as events,
    ):
        process.stop.set()
        message = await socket.receive(timeout=30)
        assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.GOING_AWAY)
        async with asyncio.timeout(60):
            await running
            with suppress(ClientError):
                await events.content.read()
    await process.client.aclose()


async def test_a_worker_whose_reader_broke_ends_so_that_it_is_started_again(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, running, _ = await started(real_server)

    async def broken(_: object) -> None:
        raise KeyError("start")

    monkeypatch.setattr("workers.api.books.reader.Reader.step", broken)
    with pytest.raises(KeyError):
        async with asyncio.timeout(60):
            await running
    await process.client.aclose()
