"""Workers of a role share symbols out by the messages of their streams: all by one plan, whoever comes or goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.model.symbols.balance import standing
from workers.runtime import sharing
from workers.runtime.context import venue_contexts
from workers.runtime.sharing import Sharing
from workers.settings.processes import ProcessSettings
from workers.settings.schema import Settings
from workers.store.fleet.leases import share_of
from workers.store.fleet.plan import read_plan
from workers.store.keys import DEPTH
from workers.store.keys import plan as plan_key
from workers.venues.binance.settings import BinanceSettings

SYMBOLS = [f"S{number:02d}USDT" for number in range(24)]
PERIOD_S = 30.0


class World:
    """Workers that look in turn, and streams that get entries."""

    def __init__(self, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client, self.now = client, 1_000.0
        monkeypatch.setattr(sharing, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.settings = Settings(
            venues={"usdm": BinanceSettings(market="usdm", symbols=SYMBOLS)},
            processes=ProcessSettings(balance_s=PERIOD_S),
        )
        [self.context] = venue_contexts(self.settings)
        self.workers: dict[str, Sharing] = {}

    def start(self, *names: str) -> None:
        for name in names:
            process: Any = SimpleNamespace(name=name, client=self.client, settings=self.settings)
            self.workers[name] = Sharing(process, "books", [self.context], DEPTH)

    async def look(self) -> dict[str, set[str]]:
        """Every worker looks twice; the shares, of which no two may have a symbol in common."""
        live = sorted(self.workers)
        for _ in range(2):
            for worker in self.workers.values():
                await worker.look(live)
        shares = {name: worker.share(self.context, live) for name, worker in self.workers.items()}
        assert sorted(symbol for share in shares.values() for symbol in share) == SYMBOLS
        return shares

    async def period(self, rates: dict[str, float]) -> dict[str, set[str]]:
        """A period with so many messages a second of some symbols."""
        self.now += PERIOD_S
        pipe: Any = self.client.pipeline(transaction=False)
        for symbol in SYMBOLS:
            for _ in range(1 + int(rates.get(symbol, 0.0) * PERIOD_S)):
                pipe.xadd(self.context.keys.raw(symbol, DEPTH), {"a": 1}, maxlen=10)
        await pipe.execute()
        return await self.look()

    def skew(self, shares: dict[str, set[str]], rates: dict[str, float]) -> float:
        owners = {("usdm", symbol): name for name, share in shares.items() for symbol in share}
        loads = {("usdm", symbol): rate for symbol, rate in rates.items()}
        return standing(owners, loads, list(shares)).skew


@pytest.fixture
def world(client: Redis, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(client, monkeypatch)


def moved(before: dict[str, set[str]], after: dict[str, set[str]]) -> int:
    return sum(len(after[name] - share) for name, share in before.items() if name in after)


async def test_loads_decide_once_they_are_known(world: World) -> None:
    world.start("one", "two", "three")
    shares = await world.look()
    live = sorted(world.workers)
    assert shares == {name: share_of(name, SYMBOLS, live) for name in live}
    # the heaviest are all of one worker
    rates = dict.fromkeys(SYMBOLS, 0.5) | dict.fromkeys(sorted(shares["one"])[:5], 8.0)
    assert world.skew(shares, rates) > 1.0
    history = [shares]
    for _ in range(4):
        history.append(await world.period(rates))
        assert moved(history[-2], history[-1]) <= 8
    assert world.skew(history[-1], rates) < 0.2
    assert history[-1] == history[-2]


async def test_whoever_dies_or_comes_moves_only_what_has_to_move(world: World) -> None:
    world.start("one", "two", "three")
    rates = {symbol: 1.0 + place % 3 for place, symbol in enumerate(SYMBOLS)}
    for _ in range(4):
        shares = await world.period(rates)
    del world.workers["one"]  # the one that made the plan
    after = await world.look()
    assert moved(shares, after) == len(shares["one"])
    assert world.skew(after, rates) < 0.3
    assert after == await world.look()
    world.start("four")
    joined = await world.look()
    assert world.skew(joined, rates) < 0.35
    assert joined["four"]
    assert joined["two"] <= after["two"]
    assert joined["three"] <= after["three"]
    plan = await read_plan(world.client, "books")
    assert plan is not None
    assert plan.workers == {"two", "three", "four"}


async def test_a_listing_goes_to_whoever_has_least_and_a_delisted_symbol_from_its_owner_alone(
    world: World,
) -> None:
    world.start("one", "two")
    rates = dict.fromkeys(SYMBOLS, 1.0)
    for _ in range(3):
        shares = await world.period(rates)
    world.context.symbols.replace(SYMBOLS[:-1])
    live = sorted(world.workers)
    for worker in world.workers.values():
        await worker.look(live)
    assert {name: worker.share(world.context, live) for name, worker in world.workers.items()} == {
        name: share - {SYMBOLS[-1]} for name, share in shares.items()
    }
    world.context.symbols.replace(SYMBOLS)
    assert moved(shares, await world.look()) <= 1


@pytest.mark.parametrize("rubbish", ["another type", "no JSON"])
async def test_rubbish_in_the_plan_is_made_anew(world: World, rubbish: str) -> None:
    world.start("one", "two")
    for _ in range(2):
        await world.period({})
    key = plan_key("books")
    if rubbish == "another type":
        await world.client.delete(key)
        await world.client.set(key, "rubbish")
    else:
        await world.client.hset(key, mapping={"generation": "9" * 17, "owners": "{"})
    await world.look()
    await world.period({})
    await world.period({})
    assert await read_plan(world.client, "books") is not None
    await world.look()


async def test_a_worker_alone_counts_nothing(world: World) -> None:
    world.start("one")
    await world.period({})
    await world.period({})
    assert await world.client.exists(plan_key("books")) == 0
