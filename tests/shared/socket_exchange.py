"""An exchange that a test makes of one socket, and the workers that follow it in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSCloseCode, web
from in_process import Fleet
from redis.asyncio import Redis

from workers.model.books.top_of_book import decode_top
from workers.settings.loading import parse


@asynccontextmanager
async def serving(exchange: Any, path: str) -> AsyncIterator[str]:
    """Serve an exchange (`serve`, `sockets`) at a path while its `market` runs; the URL of its server."""
    app = web.Application()
    app.router.add_get(path, exchange.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    market = asyncio.create_task(exchange.market())
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    market.cancel()
    for socket in list(exchange.sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY)
    await runner.cleanup()


class FollowingFleet(Fleet):
    """Workers with the settings of a test, and what they show."""

    def __init__(self, settings: str, redis_url: str) -> None:
        self.url = redis_url
        self.settings = parse(settings, "a test", {}).settings
        self.client = Redis.from_url(redis_url, protocol=2)
        self.processes, self.tasks, self.workers = {}, {}, {}

    async def shown(self, symbol: str) -> int:
        """The quantity of the best bid as it is shown; -1 while the book is withheld."""
        payload = await self.client.hget("LIVE_ORDERBOOK", symbol)
        return -1 if payload is None else int(decode_top(payload).b[0][1])
