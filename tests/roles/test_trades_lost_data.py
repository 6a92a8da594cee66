"""What a server that lost its data has lost of the trades is told once, whoever begins the fold anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from in_process import KEYS
from redis.asyncio import Redis

from workers.model.events import Trade
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import Settings
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore
from workers.trades.worker import TradeWorker
from workers.venues.binance.settings import BinanceSettings

SYMBOL = "BTCUSDT"
T0 = 1_790_000_000_000
SETTINGS = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])})
CLAIM = Claim(venue_contexts(SETTINGS)[0], SYMBOL)


@pytest.fixture
def client(real_client: Redis) -> Redis:
    return real_client


@pytest.fixture
async def two_workers(real_server: str, client: Redis) -> AsyncIterator[list[TradeWorker]]:
    """Two trades workers that do nothing by themselves."""
    async with Sessions() as session:
        processes = [Process("trades", SETTINGS, number, real_server) for number in range(2)]
        workers = [TradeWorker(process, session) for process in processes]
        for worker in workers:
            worker.ownership.owns = lambda claim, token: True  # type: ignore[method-assign]
        yield workers
        for process, worker in zip(processes, workers, strict=True):
            await asyncio.gather(*worker._lost_data._recording)
            await worker._reader_client.aclose()
            await process.client.aclose()


async def apply(client: Redis, first: int, last: int) -> None:
    """Fold trades, every fifth of which is no market trade."""
    store = TradeStore(client, KEYS, Scripts(client), retention_ms=0, bar_retention={})
    trades = [
        Trade(SYMBOL, number, "10.0", "1.5", number, number, T0 + number, T0 + number, True, number % 5 != 0)
        for number in range(first, last + 1)
    ]
    await store.apply(SYMBOL, [("", trade) for trade in trades])


async def taken(worker: TradeWorker) -> int | None:
    """Take the symbol; the id after which the worker will tell what is missing."""
    await worker.recover(CLAIM, 1)
    await asyncio.gather(*worker._lost_data._recording)
    return worker.tapes[CLAIM.context.keys.raw(SYMBOL, "aggTrade")].lost_after


async def told(client: Redis) -> list[tuple[bytes, bytes, bytes]]:
    entries = await client.xrange(KEYS.gaps(SYMBOL))
    return [(fields[b"from"], fields[b"to"], fields[b"reason"]) for _, fields in entries]


async def test_who_took_a_symbol_over_knows_how_far_it_was_though_nothing_came_since(
    client: Redis, two_workers: list[TradeWorker]
) -> None:
    await apply(client, 100, 120)
    assert await taken(two_workers[0]) is None
    await client.flushall()
    assert await taken(two_workers[0]) == 120
    assert await told(client) == []  # told with the first trade that comes


async def test_a_fold_begun_anew_by_another_worker_is_told_by_the_one_that_knows(
    client: Redis, two_workers: list[TradeWorker]
) -> None:
    await apply(client, 100, 120)
    for worker in two_workers:
        assert await taken(worker) is None
    await client.flushall()
    await apply(client, 131, 140)
    for worker in two_workers:
        assert await taken(worker) is None
    assert await told(client) == [(b"121", b"130", b"redis lost its data")]


async def test_one_that_knows_tells_it_without_the_symbol_being_its_own_again(
    client: Redis, two_workers: list[TradeWorker]
) -> None:
    first, second = two_workers
    await apply(client, 100, 120)
    assert await taken(first) is None
    await client.flushall()
    first.forget(CLAIM)
    await first._lost_data.look()
    assert await told(client) == [], "nobody has begun the fold anew"
    assert await taken(second) is None
    await apply(client, 131, 140)
    for _ in range(2):
        await first._lost_data.look()
        await asyncio.gather(*first._lost_data._recording)
        assert await told(client) == [(b"121", b"130", b"redis lost its data")]


async def test_a_fold_given_up_that_went_on_is_looked_at_once(
    client: Redis, two_workers: list[TradeWorker]
) -> None:
    await apply(client, 100, 120)
    assert await taken(two_workers[0]) is None
    two_workers[0].forget(CLAIM)
    await apply(client, 121, 140)
    await two_workers[0]._lost_data.look()
    before = (await client.info("stats"))["total_commands_processed"]
    await two_workers[0]._lost_data.look()
    assert (await client.info("stats"))["total_commands_processed"] == before + 1, "the question itself"
    assert await told(client) == []


async def test_long_windows_that_an_owner_left_behind_are_brought_up_to_date_by_the_next(
    client: Redis, two_workers: list[TradeWorker]
) -> None:
    store = TradeStore(client, KEYS, Scripts(client), retention_ms=0, bar_retention={}, long_windows_s=1e9)
    for number in (100, 101):
        await store.apply(
            SYMBOL, [("", Trade(SYMBOL, number, "10.0", "1.5", number, number, T0, T0, True, True))]
        )
    assert (await store.state(SYMBOL)).long_windows_lag
    assert await client.hget(KEYS.stats(SYMBOL, "1h"), "last_agg_trade_id") == b"100"
    await client.hset(KEYS.lease("trades", SYMBOL), "token", "1")
    await taken(two_workers[0])
    assert not (await store.state(SYMBOL)).long_windows_lag
    assert await client.hget(KEYS.stats(SYMBOL, "1h"), "last_agg_trade_id") == b"101"


async def test_a_fold_that_went_on_is_no_loss(client: Redis, two_workers: list[TradeWorker]) -> None:
    await apply(client, 100, 120)
    assert await taken(two_workers[0]) is None
    await apply(client, 121, 140)
    assert await taken(two_workers[1]) is None
    assert await taken(two_workers[0]) is None
    assert await told(client) == []


async def test_the_state_tells_where_the_fold_began(client: Redis) -> None:
    await apply(client, 100, 120)
    store = TradeStore(client, KEYS, Scripts(client), retention_ms=0, bar_retention={})
    await store.skip(SYMBOL, 121, 125)
    await apply(client, 118, 140)  # some of them repeated
    state = await store.state(SYMBOL)
    assert (state.last_id, state.missing, state.not_market) == (140, 5, 8)
    assert state.began_id == 100
