"""Trades under any schedule of lines, repairs, trims and restarts: each once and in order, or told missing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from client_world import KEYS, T0, S, World

from workers.client import FleetClient, Gap, Trade

FIRST, COUNT = 100, 120
RAW = KEYS.raw(S, "aggTrade")


class Schedule:
    """What happens to one tape: which ids no line brought, which of them nobody has, and when the fold gets so far."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.draw = world, random.Random(seed)
        self.last = FIRST + COUNT - 1
        self.unseen = set(self.draw.sample(range(FIRST + 1, self.last), 25))
        self.lost = {number for number in self.unseen if self.draw.random() < 0.3}
        self.streamed, self.folded = FIRST - 1, FIRST - 1

    async def act(self) -> None:
        """One thing at random."""
        what = self.draw.choice(["stream", "stream", "fold", "fold", "trim"])
        if what == "stream":
            await self.stream(self.draw.randint(1, 12))
        elif what == "fold":
            await self.fold(self.draw.randint(0, self.streamed))
        elif self.folded == self.streamed:
            # the fold has its own place in the stream: it reads before entries go
            await self.world.redis.xtrim(RAW, maxlen=self.draw.randint(1, 20), approximate=False)

    async def stream(self, count: int) -> None:
        until = min(self.last, self.streamed + count)
        await self.world.stream(*(n for n in range(self.streamed + 1, until + 1) if n not in self.unseen))
        self.streamed = until

    async def fold(self, until: int) -> None:
        for number in range(self.folded + 1, min(until, self.streamed) + 1):
            if number in self.lost:
                await self.world.accept(number, number)
            else:
                await self.world.fold(number)
            self.folded = number

    async def finish(self) -> None:
        """Everything that still comes."""
        await self.stream(COUNT)
        await self.fold(self.last)


async def collect(feed: Any, found: list[Any], seconds: float) -> None:
    """What a reading brings in a while."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found.append(await anext(feed))
    except TimeoutError:
        return


@pytest.mark.parametrize("seed", range(3))
async def test_each_trade_once_and_in_order_or_told_missing(world: World, fleet: FleetClient, seed: int):
    schedule, found, token = Schedule(world, seed), list[Any](), None
    await schedule.stream(1)
    await schedule.fold(FIRST)
    for _ in range(12):
        async with fleet.trades([S], resume=token, from_ms=T0, repair_wait_s=60) as feed:
            for _ in range(schedule.draw.randint(1, 3)):
                await schedule.act()
                await collect(feed, found, schedule.draw.choice([0.01, 0.03]))
            token = feed.token
    await schedule.finish()
    async with fleet.trades([S], resume=token, from_ms=T0, repair_wait_s=60) as feed:
        async with asyncio.timeout(20):
            while not found or not isinstance(found[-1], Trade) or found[-1].trade_id < schedule.last:
                found.append(await anext(feed))
    ids = [record.trade_id for record in found if isinstance(record, Trade)]
    assert ids == [n for n in range(FIRST, schedule.last + 1) if n not in schedule.lost]
    gaps = [record for record in found if isinstance(record, Gap)]
    assert {gap.reason for gap in gaps} <= {"ids jump"}
    told = [n for gap in gaps for n in range(int(gap.first), int(gap.last) + 1)]
    assert told == sorted(schedule.lost)
    assert sum(gap.missing or 0 for gap in gaps) == len(told)
    assert schedule.lost
