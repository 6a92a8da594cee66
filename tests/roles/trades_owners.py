"""Two workers of the trades role, of which the second can take over from the first; nothing happens but rounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import Settings
from workers.store.keys import TRADES, Keys
from workers.trades.tape import OwnedTape
from workers.trades.worker import TradeWorker

KEYS = Keys()
SYMBOL = "BTCUSDT"


class Owner:
    """A worker that owns the symbol."""

    def __init__(self, worker: TradeWorker) -> None:
        self.worker = worker
        self.claim = Claim(worker._contexts[0], SYMBOL)
        worker.ownership.safe = lambda claim: True  # type: ignore[method-assign]
        worker.ownership.owns = lambda claim, token: True  # type: ignore[method-assign]

    @property
    def tape(self) -> OwnedTape:
        return self.worker.tapes[KEYS.raw(SYMBOL, TRADES)]

    async def take_over(self, client: Redis) -> None:
        await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
        await self.worker.recover(self.claim, 7)

    async def rounds(self) -> None:
        for _ in range(2):
            await self.worker.step()

    async def settle(self) -> None:
        for _ in range(3_000):
            await self.worker.step()
            if self.worker.settled:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the worker did not come to rest")


@asynccontextmanager
async def two_owners(settings: Settings, url: str) -> AsyncIterator[list[Owner]]:
    processes = [Process("trades", settings, 0, url) for _ in range(2)]
    async with Sessions() as session:
        made = [Owner(TradeWorker(process, session)) for process in processes]
        yield made
        for owner in made:
            owner.worker.forget(owner.claim)
            await owner.worker._reader_client.aclose()
    for process in processes:
        await process.client.aclose()
