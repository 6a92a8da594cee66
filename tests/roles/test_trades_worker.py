"""What the trades worker does with more than a call should hold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from workers.errors import NotServed
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import Settings
from workers.store.keys import TRADES, Keys
from workers.trades.repair import Repair
from workers.trades.tape import monotonic_ms
from workers.trades.worker import ALL, APPLIED_AT_ONCE, TradeWorker
from workers.venues.binance.settings import BinanceSettings

KEYS = Keys()
SYMBOL, QUIET = "BTCUSDT", "SOLUSDT"
T0 = 1_723_161_541_000


def own_all(worker: TradeWorker) -> None:
    """What a test hands to `recover` is owned."""
    worker.ownership.safe = lambda claim: True  # type: ignore[method-assign]
    worker.ownership.owns = lambda claim, token: True  # type: ignore[method-assign]


@pytest.fixture
async def worker(real_server: str) -> AsyncIterator[TradeWorker]:
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL, QUIET])})
    process = Process("trades", settings, 0, real_server)
    await process.client.flushall()  # the server is this test process's own
    async with Sessions() as session:
        made = TradeWorker(process, session)
        own_all(made)
        yield made
        for symbol in (SYMBOL, QUIET):
            made.forget(Claim(made._contexts[0], symbol))
        await made._reader_client.aclose()
    await process.client.aclose()


async def append(client: Redis, symbol: str, count: int, spacing_ms: int = 1, began_ms: int = 0) -> None:
    """Trades that a line received the moment they were made."""
    pipe = client.pipeline(transaction=False)
    for n in range(count):
        time = T0 + began_ms + n * spacing_ms
        data = (
            f'{{"e":"aggTrade","E":{time},"a":{n},"s":"{symbol}","p":"61800.10","q":"0.1","f":{n},"l":{n},'
            f'"T":{time},"m":true}}'
        )
        entry = {"data": data, "received": time * 1000, "line": "a"}
        pipe.xadd(KEYS.raw(symbol, TRADES), entry, id=f"{time}-{n}")
    await pipe.execute()


async def test_a_round_reads_so_much_and_leaves_no_stream_out(
    worker: TradeWorker, real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.trades.reading.READ_AT_ONCE", 100)
    client = Redis.from_url(real_server, protocol=2)
    for symbol, count in ((SYMBOL, 300), (QUIET, 2)):
        await append(client, symbol, count)
        await worker.recover(Claim(worker._contexts[0], symbol), 7)
    await worker._reading.read(reread=False)
    assert [len(tape.waiting) for tape in worker.tapes.values()] == [98, 2]
    await worker._reading.read(reread=False)
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
        await worker._reading.read(reread=False)
    for applied in (APPLIED_AT_ONCE, 2 * APPLIED_AT_ONCE, count):
        await worker._apply(context, worker.tapes.values())
        assert int((await client.hget(KEYS.trades_state(SYMBOL), "applied_count")) or 0) == applied
    assert worker.settled
    assert (await client.xpending(KEYS.raw(SYMBOL, TRADES), "trades"))["pending"] == 0
    await client.aclose()


async def test_the_clock_closes_no_window_whose_trades_wait_in_the_stream(
    worker: TradeWorker, real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause of the role: the windows of what it catches up with were over long ago, and are not all read."""
    monkeypatch.setattr("workers.trades.reading.READ_AT_ONCE", 150)
    monkeypatch.setattr("workers.trades.worker.APPLIED_AT_ONCE", 100)
    client = Redis.from_url(real_server, protocol=2)
    count, spacing_ms = 650, 500
    await append(client, SYMBOL, count, spacing_ms)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    await worker.recover(Claim(worker._contexts[0], SYMBOL), 7)
    for _ in range(2):  # the trades of other symbols tell the time
        worker._clocks["usdm"].observe(int(time.time() * 1000), monotonic_ms())
    for _ in range(20):
        await worker.step()
    for interval in INTERVALS_MS:
        bars = [fields for _, fields in await client.xrange(KEYS.bars(SYMBOL, interval))]
        assert {bar[b"revision"] for bar in bars} == {b"0"}, interval
        assert sum(int(bar[b"trades_count"]) for bar in bars) == count, interval
        assert (await client.hget(KEYS.stats(SYMBOL, interval), "closed")) == b"1", interval
    await client.aclose()


async def test_messages_that_say_they_were_sent_far_ahead_close_no_window(
    worker: TradeWorker, real_server: str
) -> None:
    """Of one symbol; the clock is that of all."""
    client = Redis.from_url(real_server, protocol=2)
    await append(client, QUIET, 1)
    for n in range(3):
        data = (
            f'{{"e":"aggTrade","E":{2 * T0},"a":{n},"s":"{SYMBOL}","p":"61800.10","q":"0.1","f":{n},"l":{n},'
            f'"T":{T0},"m":true}}'
        )
        entry = {"data": data, "received": T0 * 1000, "line": "a"}
        await client.xadd(KEYS.raw(SYMBOL, TRADES), entry, id=f"{T0}-{n}")
    for symbol in (QUIET, SYMBOL):
        await client.hset(KEYS.lease("trades", symbol), "token", 7)
        await worker.recover(Claim(worker._contexts[0], symbol), 7)
    for _ in range(3):
        worker._deadlines.set(ALL, 0.0)
        await worker.step()
    for symbol, count in ((QUIET, b"1"), (SYMBOL, b"3")):
        found = await client.hmget(KEYS.stats(symbol, "1d"), "trades_count", "closed")
        assert found == [count, b"0"], symbol
    await client.aclose()


async def test_an_owner_that_goes_leaves_no_window_behind(worker: TradeWorker, real_server: str) -> None:
    """Those of 5 m and longer may lag while it works."""
    client = Redis.from_url(real_server, protocol=2)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    claim = Claim(worker._contexts[0], SYMBOL)
    worker._stores["usdm"]._long_windows_s = 1e9
    await worker.recover(claim, 7)
    for n in range(3):
        data = f'{{"e":"aggTrade","E":{T0},"a":{n},"s":"{SYMBOL}","p":"1.0","q":"1","f":{n},"l":{n},"T":{T0},"m":true}}'
        await client.xadd(
            KEYS.raw(SYMBOL, TRADES), {"data": data, "received": T0 * 1000, "line": "a"}, id=f"{T0}-{n}"
        )
        await worker.step()
    assert await client.hget(KEYS.stats(SYMBOL, "1d"), "trades_count") == b"1"
    await worker.hand_over(claim)
    assert await client.hget(KEYS.stats(SYMBOL, "1d"), "trades_count") == b"3"
    await client.aclose()


async def test_an_ended_symbol_is_folded_to_its_end_and_its_windows_are_closed(
    worker: TradeWorker, real_server: str
) -> None:
    """The symbol is given up while a round has read of it and not applied yet: nobody comes later who would."""
    client = Redis.from_url(real_server, protocol=2)
    await append(client, SYMBOL, 5)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    claim = Claim(worker._contexts[0], SYMBOL)
    await worker.recover(claim, 7)
    await worker._reading.read(reread=False)
    claim.context.symbols.ended = frozenset({SYMBOL})
    handing_over = asyncio.create_task(worker.hand_over(claim))
    await asyncio.sleep(0)
    await worker.step()
    await handing_over
    for interval in INTERVALS_MS:
        [(_, bar)] = await client.xrange(KEYS.bars(SYMBOL, interval))
        assert (bar[b"trades_count"], bar[b"last_agg_trade_id"]) == (b"5", b"4"), interval
    assert worker.tapes == {}
    await client.aclose()


async def test_the_last_windows_of_a_symbol_cost_none_of_its_last_day_of_trades(
    worker: TradeWorker, real_server: str
) -> None:
    """They are closed though the day is not over; what is kept goes by the last trade."""
    client = Redis.from_url(real_server, protocol=2)
    day_ms = INTERVALS_MS["1d"]
    await append(client, SYMBOL, 2, spacing_ms=day_ms - 30_000, began_ms=30_000 - day_ms)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    claim = Claim(worker._contexts[0], SYMBOL)
    await worker.recover(claim, 7)
    await worker.step()
    claim.context.symbols.ended = frozenset({SYMBOL})
    await worker.hand_over(claim)
    assert await client.xlen(KEYS.bars(SYMBOL, "1d")) == 2
    assert await client.zcard(KEYS.trades_latest(SYMBOL)) == 2
    await client.aclose()


async def test_a_former_owner_takes_no_entry_from_the_next(worker: TradeWorker, real_server: str) -> None:
    client = Redis.from_url(real_server, protocol=2)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    await worker.recover(Claim(worker._contexts[0], SYMBOL), 7)
    worker.ownership.safe = lambda claim: False  # type: ignore[method-assign]
    await append(client, SYMBOL, 5)
    await worker.step()
    group = (await client.xinfo_groups(KEYS.raw(SYMBOL, TRADES)))[0]
    assert (group["pending"], group["last-delivered-id"]) == (0, b"0-0")
    await client.aclose()


async def test_what_an_earlier_owner_read_is_taken_from_the_log_and_not_from_the_exchange(
    worker: TradeWorker, real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Redis.from_url(real_server, protocol=2)
    key = KEYS.raw(SYMBOL, TRADES)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    await append(client, SYMBOL, 10)
    await client.xgroup_create(key, "trades", "0")
    await worker.recover(Claim(worker._contexts[0], SYMBOL), 7)
    first = (await client.xrange(key, count=3))[-1][0]
    # The first three are ours, the next four were read by one whose lease had run out, the rest is ours again.
    await worker.step()
    assert int(await client.hget(KEYS.trades_state(SYMBOL), "last_id")) == 9  # type: ignore[misc]
    for number in range(10, 20):
        time = T0 + number
        data = (
            f'{{"e":"aggTrade","E":{time},"a":{number},"s":"{SYMBOL}","p":"61800.10","q":"0.1","f":{number},'
            f'"l":{number},"T":{time},"m":true}}'
        )
        await client.xadd(key, {"data": data, "received": time * 1000, "line": "a"}, id=f"{time}-{number}")
    await client.xreadgroup("trades", "owner", {key: ">"}, count=4)  # type: ignore[arg-type]

    async def asked(*_: object) -> None:
        raise AssertionError("the exchange was asked")

    monkeypatch.setattr(Repair, "fill", asked)
    async with asyncio.timeout(60):
        while int(await client.hget(KEYS.trades_state(SYMBOL), "last_id")) < 19:  # type: ignore[misc]
            await worker.step()
            await asyncio.sleep(0.01)
    assert first
    assert (await client.xpending(key, "trades"))["pending"] == 0
    await client.aclose()


async def test_a_group_that_is_destroyed_costs_its_own_stream_a_moment_and_no_trade(
    worker: TradeWorker, real_server: str
) -> None:
    client = Redis.from_url(real_server, protocol=2)
    for symbol in (SYMBOL, QUIET):
        await client.hset(KEYS.lease("trades", symbol), "token", 7)
        await worker.recover(Claim(worker._contexts[0], symbol), 7)
        await append(client, symbol, 5)
    await worker.step()
    await client.xgroup_destroy(KEYS.raw(SYMBOL, TRADES), "trades")
    for symbol, later in ((SYMBOL, range(5, 9)), (QUIET, range(5, 9))):
        for number in later:
            time = T0 + number
            data = (
                f'{{"e":"aggTrade","E":{time},"a":{number},"s":"{symbol}","p":"61800.10","q":"0.1","f":{number},'
                f'"l":{number},"T":{time},"m":true}}'
            )
            entry = {"data": data, "received": time * 1000, "line": "a"}
            await client.xadd(KEYS.raw(symbol, TRADES), entry, id=f"{time}-{number}")
    for _ in range(4):
        await worker.step()
    for symbol in (SYMBOL, QUIET):
        state = await client.hgetall(KEYS.trades_state(symbol))  # type: ignore[misc]
        assert (state[b"last_id"], state[b"applied_count"]) == (b"8", b"9"), symbol
        assert int(state.get(b"repeated_count", 0)) == 0  # it was made anew where it had stood
    await client.aclose()


async def test_one_trade_with_a_lower_id_and_a_later_time_is_passed_over(
    worker: TradeWorker, real_server: str
) -> None:
    client = Redis.from_url(real_server, protocol=2)
    await append(client, SYMBOL, 60)
    for n, time_ms in ((7, T0 + 60_000), (60, T0 + 60_010), (61, T0 + 60_020)):
        data = (
            f'{{"e":"aggTrade","E":{time_ms},"a":{n},"s":"{SYMBOL}","p":"61800.10","q":"0.1","f":{n},"l":{n},'
            f'"T":{time_ms},"m":true}}'
        )
        entry = {"data": data, "received": time_ms * 1000, "line": "a"}
        await client.xadd(KEYS.raw(SYMBOL, TRADES), entry, id=f"{time_ms}-{n}")
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    await worker.recover(Claim(worker._contexts[0], SYMBOL), 7)
    for _ in range(5):
        await worker.step()
    state = await client.hgetall(KEYS.trades_state(SYMBOL))
    assert (state[b"applied_count"], state[b"last_id"]) == (b"62", b"61")
    assert b"ids_since" not in state
    assert worker.settled
    assert (await client.xpending(KEYS.raw(SYMBOL, TRADES), "trades"))["pending"] == 0
    await client.aclose()


@pytest.mark.parametrize("is_served", [True, False])
async def test_ids_that_begin_anew_at_0_are_followed_once_though_nobody_can_be_asked(
    worker: TradeWorker, real_server: str, monkeypatch: pytest.MonkeyPatch, is_served: bool
) -> None:
    asked = []

    async def get(*_: object) -> bytes:
        asked.append(1)
        if not is_served:
            raise NotServed("usdm", "it")
        rows = [
            {"a": n, "p": "61800.10", "q": "0.1", "f": n, "l": n, "T": T0 + 60_000 + n, "m": True}
            for n in range(25)
        ]
        return json.dumps(rows).encode()

    monkeypatch.setattr(worker._venues["usdm"].restarts._rest, "get", get)
    client = Redis.from_url(real_server, protocol=2)
    await append(client, SYMBOL, 60)
    await client.hset(KEYS.lease("trades", SYMBOL), "token", 7)
    await worker.recover(Claim(worker._contexts[0], SYMBOL), 7)
    await worker.step()
    await append(client, SYMBOL, 25, began_ms=60_000)
    for _ in range(100):
        await worker.step()
        if worker.settled:
            break
        await asyncio.sleep(0.01)
    state = await client.hgetall(KEYS.trades_state(SYMBOL))
    # no fold stands before 0
    assert (state[b"applied_count"], state[b"last_id"], state[b"restarts_count"]) == (b"84", b"24", b"1")
    assert asked == [1]
    assert (await client.xpending(KEYS.raw(SYMBOL, TRADES), "trades"))["pending"] == 0
    await client.aclose()
