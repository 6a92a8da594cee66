"""The trades fold in Redis: what a caller relies on, on fakeredis and on a real server."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from test_trades_properties import KEYS, SYMBOL, contents, expected, newest_versions

from workers.errors import BadNumber, LeaseLost, StoreError
from workers.model.events import Trade
from workers.model.trades.fold import Closed, Hole, Skipped, TradesFold
from workers.model.trades.latest import Member
from workers.model.trades.windows import INTERVALS_MS
from workers.store.keys import TRADES
from workers.store.scripts import Scripts
from workers.store.trades.bars import BarReader
from workers.store.trades.fold import TradesState, TradeStore

T0 = 1_723_165_200_000
RAW = KEYS.raw(SYMBOL, TRADES)
WRITTEN = [
    KEYS.trades_state(SYMBOL),
    KEYS.trades_latest(SYMBOL),
    *(KEYS.stats(SYMBOL, interval) for interval in INTERVALS_MS),
    *(KEYS.bars(SYMBOL, interval) for interval in INTERVALS_MS),
]


def trade(number: int, time: int, price: str = "10.0", quantity: str = "1.5", symbol: str = SYMBOL) -> Trade:
    return Trade(
        symbol, number, price, quantity, 10 * number, 10 * number + 2, time, time + 5, number % 2 == 0
    )


def tape(count: int, spacing_ms: int = 37) -> list[Trade]:
    return [trade(n, T0 + n * spacing_ms, f"{100 + n % 7}.5", f"{n % 5}.25") for n in range(count)]


def unacknowledged(trades: list[Trade]) -> list[tuple[str, Trade]]:
    return [("", one) for one in trades]


def trade_store(
    client: Redis,
    retention_ms: int = 0,
    bar_retention: dict[str, int] | None = None,
    latest_max: int = 0,
    member: Member = "json",
    long_windows_s: float = 0.0,
) -> TradeStore:
    return TradeStore(
        client,
        KEYS,
        Scripts(client),
        retention_ms=retention_ms,
        latest_max=latest_max,
        bar_retention=bar_retention or {},
        member=member,
        long_windows_s=long_windows_s,
    )


async def deliver(client: Redis, trades: list[Trade]) -> list[tuple[bytes, Trade]]:
    """Put the trades on the raw stream and hand them to the group."""
    ids = [await client.xadd(RAW, {"data": "{}"}, id=f"{one.trade_time}-{one.trade_id}") for one in trades]
    await client.xgroup_create(RAW, "trades", id="0")
    await client.xreadgroup("trades", "owner", {RAW: ">"})
    return list(zip(ids, trades, strict=True))


async def pending(client: Redis) -> int:
    return int((await client.xpending(RAW, "trades"))["pending"])


async def matches(client: Redis, twin: TradesFold) -> None:
    got, want = await contents(client), expected(twin)
    assert {name: value for name, value in got.items() if name != "state"} == {
        name: value for name, value in want.items() if name != "state"
    }
    assert got["state"].items() <= want["state"].items()


async def test_what_is_applied_or_repeated_is_acknowledged_in_the_same_step(client: Redis) -> None:
    store = trade_store(client)
    entries = await deliver(client, [*tape(6), trade(9, T0 + 900), trade(10, T0 + 901)])
    assert (await store.apply(SYMBOL, entries[:2])).applied == 2
    assert await pending(client) == 6
    result = await store.apply(SYMBOL, entries)
    assert (result.applied, result.repeated, result.hole) == (4, 2, Hole(6, 9))
    assert await pending(client) == 2
    repair = unacknowledged([trade(6, T0 + 300), trade(7, T0 + 301), trade(8, T0 + 302)])
    result = await store.apply(SYMBOL, [*repair, *entries[6:]])
    assert (result.applied, result.hole) == (5, None)
    assert await pending(client) == 0
    # After a lost reply everything is sent again, in another cut.
    result = await store.apply(SYMBOL, entries[3:])
    assert (result.applied, result.repeated) == (0, 5)


async def test_a_batch_that_straddles_the_last_id_is_cut_there(client: Redis) -> None:
    store, twin = trade_store(client), TradesFold()
    entries = await deliver(client, tape(40, 3))
    for at, till in ((0, 10), (5, 25), (0, 40)):
        result = await store.apply(SYMBOL, entries[at:till])
        assert result == twin.apply([one for _, one in entries[at:till]])
    assert await pending(client) == 0
    await matches(client, twin)


async def test_a_wrong_fencing_number_changes_nothing(client: Redis) -> None:
    store = trade_store(client)
    await client.hset(KEYS.lease("trades", SYMBOL), mapping={"owner": "b", "token": "8"})
    await store.apply(SYMBOL, unacknowledged(tape(3)), token="8")
    before = await contents(client)
    with pytest.raises(LeaseLost):
        await store.apply(SYMBOL, unacknowledged(tape(6)), token="7")
    with pytest.raises(LeaseLost):
        await store.skip(SYMBOL, 3, 5, token="7")
    with pytest.raises(LeaseLost):
        await store.restart(SYMBOL, 1, 2, T0 + 10**6, token="7")
    with pytest.raises(LeaseLost):
        await store.close(SYMBOL, T0 + 10**9, 0, token="7")
    await client.delete(KEYS.lease("trades", SYMBOL))
    with pytest.raises(LeaseLost):
        await store.apply(SYMBOL, unacknowledged(tape(6)), token="8")
    assert await contents(client) == before


async def test_one_symbols_trouble_is_its_own(client: Redis) -> None:
    store = trade_store(client)
    await store.apply("GOOD", [])
    await client.set(KEYS.trades_state("BROKEN"), "not a hash")
    results = await store.apply_many(
        {
            "GOOD": unacknowledged([trade(1, T0, symbol="GOOD")]),
            "BAD": unacknowledged([trade(1, T0, symbol="BAD"), trade(2, T0, "1e5", symbol="BAD")]),
            "BROKEN": unacknowledged([trade(1, T0, symbol="BROKEN")]),
            "中文USDT": unacknowledged([trade(1, T0, symbol="中文USDT")]),
            "EMPTY": [],
        }
    )
    assert isinstance(results["BAD"], BadNumber)
    assert "price of trade 2 of BAD" in str(results["BAD"])
    assert await client.exists(KEYS.trades_state("BAD")) == 0
    assert isinstance(results["BROKEN"], ResponseError)
    for symbol in ("GOOD", "中文USDT"):
        result = results[symbol]
        assert not isinstance(result, Exception)
        assert result.applied == 1
    empty = results["EMPTY"]
    assert not isinstance(empty, Exception)
    assert (empty.applied, empty.last_id) == (0, -1)
    closed = await store.close_many(["GOOD", "BROKEN", "EMPTY"], T0 + 200, 0)
    assert closed["GOOD"] == Closed(1, T0 + 60_000)
    assert isinstance(closed["BROKEN"], ResponseError)
    assert closed["EMPTY"] == Closed(0, 0)


@pytest.mark.parametrize("key", [*WRITTEN, RAW])
async def test_a_call_that_an_error_cut_short_is_simply_repeated(client: Redis, key: str) -> None:
    store, twin = trade_store(client, retention_ms=60_000), TradesFold(retention_ms=60_000)
    late = [*tape(30, 3_000), trade(30, T0 + 1000), trade(31, T0 + 1001), trade(32, T0 + 7_300_000)]
    await client.set(key, "of the wrong type")
    with pytest.raises(ResponseError):
        await store.apply(SYMBOL, [("1-1", one) for one in late])
    await client.delete(key)
    for at, till in ((0, 20), (20, 31), (25, 33)):
        twin.apply(late[at:till])
        await store.apply(SYMBOL, unacknowledged(late[at:till]))
    got, want = await contents(client), expected(twin)
    if key == RAW:
        return  # the state was committed before the acknowledgement failed: the repeat counts as repeated
    assert newest_versions(got) == newest_versions(want)
    assert (await store.state(SYMBOL)).applied == 33


async def test_a_failed_acknowledgement_does_not_double(client: Redis) -> None:
    store, twin = trade_store(client), TradesFold()
    await client.set(RAW, "of the wrong type")
    with pytest.raises(ResponseError):
        await store.apply(SYMBOL, [("1-1", one) for one in tape(9)])
    await client.delete(RAW)
    twin.apply(tape(9))
    twin.apply(tape(9))
    result = await store.apply(SYMBOL, unacknowledged(tape(9)))
    assert (result.applied, result.repeated) == (0, 9)
    await matches(client, twin)


async def test_batches_of_thousands(client: Redis) -> None:
    store, twin = trade_store(client), TradesFold()
    entries = await deliver(client, tape(5_000, 11))
    assert (await store.apply(SYMBOL, entries)).applied == 5_000
    twin.apply([one for _, one in entries])
    assert await pending(client) == 0
    await matches(client, twin)


async def test_the_state_tells_how_far_the_fold_has_come(client: Redis) -> None:
    store = trade_store(client)
    assert await store.state(SYMBOL) == TradesState()
    with pytest.raises(StoreError):
        await store.skip(SYMBOL, 1, 2)
    await store.apply(SYMBOL, unacknowledged([*tape(4), trade(7, T0 + 500)]))
    assert await store.state(SYMBOL) == TradesState(
        last_id=3, last_trade_time=T0 + 111, applied=4, hole_next_id=7
    )
    assert await store.close(SYMBOL, T0 + 10**9, 0) == Closed(0, T0 + 200)
    with pytest.raises(StoreError, match="do not follow 3"):
        await store.skip(SYMBOL, 5, 6)
    assert await store.skip(SYMBOL, 2, 6, reason="too old") == Skipped(3, 6)
    assert await store.skip(SYMBOL, 4, 6) == Skipped(0, 6)
    await store.apply(SYMBOL, unacknowledged([trade(7, T0 + 500), trade(7, T0 + 500), trade(8, T0)]))
    assert await store.state(SYMBOL) == TradesState(
        last_id=8, last_trade_time=T0 + 500, applied=6, repeated=1, missing=3, late=1
    )


async def test_what_is_accepted_as_missing_is_in_the_gaps_in_the_same_step(client: Redis) -> None:
    store = trade_store(client)
    await store.apply(SYMBOL, unacknowledged(tape(4)))
    for first, last in ((3, 6), (4, 6), (5, 8)):
        await store.skip(SYMBOL, first, last, reason="too old")
    told = [fields for _, fields in await client.xrange(KEYS.gaps(SYMBOL))]
    assert [(gap[b"from"], gap[b"to"]) for gap in told] == [(b"4", b"6"), (b"7", b"8")]
    assert told[0] == {
        b"channel": b"aggTrade", b"from": b"4", b"to": b"6", b"reason": b"too old", b"repaired": b"no"
    }  # fmt: skip
    await client.set(KEYS.gaps(SYMBOL), "of another type")
    with pytest.raises(ResponseError):  # where it cannot be told, it is not accepted
        await store.skip(SYMBOL, 9, 9)
    assert (await store.state(SYMBOL)).missing == 5


async def test_ids_that_began_anew_are_followed_and_older_entries_are_repeats(client: Redis) -> None:
    store = trade_store(client)
    old = [trade(n, T0 + n) for n in range(1000, 1010)]
    new = [trade(n, T0 + 30_000 + n) for n in range(5, 25)]
    await store.apply(SYMBOL, unacknowledged(old[:8]))
    with pytest.raises(StoreError, match="stand at 1007"):
        await store.restart(SYMBOL, 5, 1009, new[0].trade_time)
    for _ in range(2):  # as a lost reply would have it
        await store.restart(SYMBOL, 5, 1007, new[0].trade_time)
    # another worker, which does not know of it, is given entries of both
    entries = await deliver(client, old + new)
    result = await trade_store(client).apply(SYMBOL, entries)
    assert (result.applied, result.repeated, result.last_id, result.hole) == (20, 10, 24, None)
    assert await pending(client) == 0
    state = await store.state(SYMBOL)
    assert (state.ids_since, state.ids_after) == (new[0].trade_time, old[7].trade_time)
    [told] = [fields for _, fields in await client.xrange(KEYS.gaps(SYMBOL))]
    assert told == {
        b"channel": b"aggTrade", b"from": b"1008", b"to": b"4", b"reason": b"ids restarted", b"repaired": b"no"
    }  # fmt: skip
    stats = await client.hgetall(KEYS.stats(SYMBOL, "1m"))
    assert (stats[b"trades_count"], stats[b"complete"], stats[b"reason"]) == (b"28", b"0", b"missing")
    after = await store.apply(SYMBOL, unacknowledged([trade(25, T0 + 60_000), trade(26, T0 + 120_000)]))
    assert after.applied == 2
    bars = [fields for _, fields in await client.xrange(KEYS.bars(SYMBOL, "1m"))]
    assert [(bar[b"start"], bar[b"complete"]) for bar in bars] == [
        (b"%d" % T0, b"0"), (b"%d" % (T0 + 60_000), b"1")
    ]  # fmt: skip


@pytest.mark.parametrize(("long_windows_s", "hmget", "hset"), [(0.0, 2, 8), (1e9, 1, 3)])
async def test_a_call_costs_few_commands_however_much_it_changes(
    real_server: str, long_windows_s: float, hmget: int, hset: int
) -> None:
    """One for the figures of each window that may not wait and for each bar that ended, and five or six more."""
    client = Redis.from_url(real_server, protocol=2)
    try:
        await client.flushall()
        store = trade_store(client, retention_ms=86_400_000, long_windows_s=long_windows_s)
        entries = await deliver(client, [trade(n, T0 + n // 2 * 100, price=f"{10 + n}.0") for n in range(40)])
        await store.apply(SYMBOL, entries[:1])
        await client.config_resetstat()
        for entry in entries[1:6]:
            await store.apply(SYMBOL, [entry])  # each a new high of every window
        await store.apply(SYMBOL, entries[6:])
        found = await client.info("commandstats")
    finally:
        await client.flushall()
        await client.aclose()
    calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in found.items()}
    del calls["config|resetstat"], calls["evalsha"]
    assert calls == {"hmget": 6 * hmget, "zadd": 6, "hset": 6 * hset, "zcount": 6, "xack": 6, "xadd": 19}


async def test_a_close_that_was_cut_short_leaves_no_bar_without_the_trades_that_come_then(
    client: Redis,
) -> None:
    """It had written some bars; the fold does not know of them, and the next trade belongs to their window."""
    store = trade_store(client)
    await store.apply(SYMBOL, unacknowledged([trade(1, T0 - 60_000), trade(2, T0)]))
    await client.rename(KEYS.stats(SYMBOL, "4h"), "elsewhere")
    await client.set(KEYS.stats(SYMBOL, "4h"), "of another type")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.close(SYMBOL, T0 + 10**9, 0)
    await client.rename("elsewhere", KEYS.stats(SYMBOL, "4h"))
    await store.apply(
        SYMBOL, unacknowledged([trade(3, T0 + 50), trade(4, T0 + 60_000), trade(5, T0 + 10**9)])
    )
    for interval in ("100ms", "1m", "5m", "4h"):
        newest = {fields[b"start"]: fields for _, fields in await client.xrange(KEYS.bars(SYMBOL, interval))}
        start = T0 - T0 % INTERVALS_MS[interval]
        bar = newest[b"%d" % start]
        held = sum(
            start <= time < start + INTERVALS_MS[interval] for time in (T0 - 60_000, T0, T0 + 50, T0 + 60_000)
        )
        assert (bar[b"trades_count"], bar[b"reason"]) != (b"1", b"unproven"), interval
        assert int(bar[b"trades_count"]) == held, interval


async def test_a_server_that_forgot_the_script_gets_it_again(client: Redis) -> None:
    store = trade_store(client)
    await store.apply(SYMBOL, unacknowledged(tape(3)))
    await client.script_flush()
    assert (await store.apply(SYMBOL, unacknowledged(tape(6)))).applied == 3


async def test_a_full_server_refuses_the_whole_call(real_server: str) -> None:
    client = Redis.from_url(real_server, protocol=2)
    await client.flushall()  # the server is this test process's own
    store, twin = trade_store(client), TradesFold()
    await store.apply(SYMBOL, unacknowledged(tape(3)))
    twin.apply(tape(3))
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError):
            await store.apply(SYMBOL, unacknowledged(tape(30)))
    finally:
        await client.config_set("maxmemory", 0)
    await matches(client, twin)
    assert (await store.apply(SYMBOL, unacknowledged(tape(30)))).applied == 27
    await client.aclose()


@pytest.mark.recorded
async def test_a_recording_gives_what_the_pure_fold_says(client: Redis, recorded_folder: Path) -> None:
    trades = []
    with gzip.open(recorded_folder / "usdm__btcusdt_20240808.gz", "rt") as lines:
        for line in lines:
            if '"e":"trade"' in line:
                d = json.loads(line.split(" ", 1)[1])["data"]
                trades.append(
                    Trade(
                        d["s"],
                        d["t"],
                        d["p"],
                        d["q"],
                        d["t"],
                        d["t"],
                        d["T"],
                        d["E"],
                        d["m"],
                        d["X"] == "MARKET",
                    )
                )
    store, twin = trade_store(client, retention_ms=86_400_000), TradesFold(retention_ms=86_400_000)
    for at in range(0, len(trades), 400):
        batch = trades[at : at + 400]
        assert await store.apply(SYMBOL, unacknowledged(batch)) == twin.apply(batch)
    await matches(client, twin)


@pytest.mark.parametrize("foreign", [T0 + 50, 99_999_999_999_999])
@pytest.mark.parametrize("at_once", [1, 40])
async def test_an_entry_of_somebody_else_with_a_later_id_costs_no_bar(
    client: Redis, foreign: int, at_once: int
) -> None:
    store, twin, entries = trade_store(client), TradesFold(), tape(4_000, 43)
    await store.apply(SYMBOL, unacknowledged(entries[:2]))
    twin.apply(entries[:2])
    for interval in INTERVALS_MS:
        await client.xadd(KEYS.bars(SYMBOL, interval), {"start": T0, "x": "y"}, id=f"{foreign}-7")
    for at in range(2, 4_000, 100 * at_once):
        batch = entries[at : at + 100 * at_once]
        await store.apply(SYMBOL, unacknowledged(batch))
        twin.apply(batch)
    closed = [entries[-1].trade_time + 10**9, 0]
    await store.close(SYMBOL, *closed)
    twin.close(*closed)
    reader = BarReader(client, KEYS)
    for interval in INTERVALS_MS:
        found = await reader.between(SYMBOL, interval, T0 - 10**9, T0 + 10**9, 5_000)
        held = {one["start"]: {name: one[name] for name in one if name != "revision"} for one in found}
        assert held == newest_versions(expected(twin))[interval][0]
