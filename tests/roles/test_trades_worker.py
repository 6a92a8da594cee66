"""What the trades worker does with more than a call should hold."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from redis.asyncio import Redis

from workers.ownership import Claim
from workers.process import Process
from workers.settings import Settings, VenueSettings
from workers.store.keys import TRADES, Keys
from workers.trades.worker import APPLIED_AT_ONCE, TradeWorker

KEYS = Keys()
SYMBOL, QUIET = "BTCUSDT", "SOLUSDT"
T0 = 1_723_161_541_000


@pytest.fixture
async def worker(real_server: str) -> AsyncIterator[TradeWorker]:
    settings = Settings(venues={"usdm": VenueSettings(market="usdm", symbols=[SYMBOL, QUIET])})
    process = Process("trades", settings, 0, real_server)
    await process.client.flushall()  # the server is this test process's own
    async with aiohttp.ClientSession() as session:
        made = TradeWorker(process, session)
        yield made
        for symbol in (SYMBOL, QUIET):
            made.forget(Claim(made._contexts[0], symbol))
        await made._reader_client.aclose()
    await process.client.aclose()


async def append(client: Redis, symbol: str, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for n in range(count):
        data = (
            f'{{"e":"aggTrade","E":{T0 + n},"a":{n},"s":"{symbol}","p":"61800.10","q":"0.1","f":{n},"l":{n},'
            f'"T":{T0 + n},"m":true}}'
        )
        pipe.xadd(KEYS.raw(symbol, TRADES), {"data": data, "received": n, "line": "a"}, id=f"{T0 + n}-{n}")
    await pipe.execute()


async def test_a_round_reads_so_much_and_leaves_no_stream_out(
    worker: TradeWorker, real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.trades.worker.READ_AT_ONCE", 100)
    client = Redis.from_url(real_server, protocol=2)
    for symbol, count in ((SYMBOL, 300), (QUIET, 2)):
        await append(client, symbol, count)
        await worker.recover(Claim(worker._contexts[0], symbol), 7)
    await worker._read()
    assert [len(tape.waiting) for tape in worker.tapes.values()] == [98, 2]
    await worker._read()
    assert [len(tape.waiting) for tape in worker.tapes.values()] == [198, 2]
    await client.aclose()


async def test_a_long_queue_is_applied_in_calls_that_do_not_hold_redis_up(
    worker: TradeWorker, real_server: str
) -> None:
    client = Redis.from_url(real_server, protocol=2)
    count = 2 * APPLIED_AT_ONCE + 500
    await append(client, SYMBOL, count)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    context = worker._contexts[0]
    await worker.recover(Claim(context, SYMBOL), 7)
    while len(worker.tapes[KEYS.raw(SYMBOL, TRADES)].waiting) < count:
        await worker._read()
    for applied in (APPLIED_AT_ONCE, 2 * APPLIED_AT_ONCE, count):
        await worker._apply(context)
        assert int((await client.hget(KEYS.trades_state(SYMBOL), "applied_count")) or 0) == applied
    assert worker.settled
    assert (await client.xpending(KEYS.raw(SYMBOL, TRADES), "trades"))["pending"] == 0
    await client.aclose()
