"""Sockets whose client went away in the moment it was heard of are gone, too."""

from __future__ import annotations

import asyncio

import aiohttp

from workers.sim import SimSettings, SimulatedExchange


async def test_a_client_that_speaks_and_ends_at_once_leaves_no_connection_behind() -> None:
    settings = SimSettings(port=0, usdm_symbols=("BTCUSDT",), spot_symbols=("BTCUSDT",))
    async with SimulatedExchange(settings) as running, aiohttp.ClientSession() as session:
        for number in range(100):
            socket = await session.ws_connect(f"{running.websocket_url}/spot/ws")
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": number})
            await socket.close()

        async def left() -> int:
            async with session.get(f"{running.url}/control/connections") as response:
                return len((await response.json())["connections"])

        async with asyncio.timeout(30):
            while await left():
                await asyncio.sleep(0.05)
