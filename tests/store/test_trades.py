"""The trades fold in Redis: what a caller relies on, on fakeredis and on a real server."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from test_trades_properties import KEYS, SYMBOL, contents, expected, newest_versions

from workers.errors import BadNumber, LeaseLost, StateUnreadable, StoreError
from workers.model.events import Trade
from workers.model.trades.fold import TRIMMED_AT_MOST, Closed, Hole, Skipped, TradesFold
from workers.model.trades.latest import Member, decode_member, trade_of
from workers.model.trades.windows import INTERVALS_MS
from workers.store.keys import TRADES
from workers.store.log.ranges import Ranges
from workers.store.scripts import Scripts
from workers.store.trades.bars import BarReader
from workers.store.trades.fold import TradesState, TradeStore

T0 = 1_723_165_200_000
RAW = KEYS.raw(SYMBOL, TRADES)
AWKWARD = [
    ("61800.20000000", "0.00123000"),
    ("84554.40", "0.054"),
    ("1000", "92233720368.54775807"),
    ("0.00000001", "100.00000000"),
    ("007.50", "1"),
    ("7", "0"),
]
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


async def test_sums_beyond_what_a_double_holds_stay_exact(client: Redis) -> None:
    store = trade_store(client)
    largest = "92233720368.54775807"
    trades = [trade(n, T0 + n, "9999999.99999999", largest) for n in range(60)]
    for at in range(0, 60, 7):
        await store.apply(SYMBOL, unacknowledged(trades[at : at + 7]))
    stats = await client.hgetall(KEYS.stats(SYMBOL, "1d"))
    assert stats[b"volume"] == b"5534023222112.8654842"
    assert 60 * Decimal(largest) == Decimal("5534023222112.8654842")
    quote = 60 * int("999999999999999") * int("9223372036854775807")
    whole, fraction = divmod(quote, 10**16)
    assert stats[b"quote_volume"].decode() == f"{whole}.{fraction:016d}".rstrip("0")
    assert stats[b"buy_volume"].decode() == f"{30 * Decimal(largest):f}".rstrip("0")


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


async def test_bars_are_kept_as_many_as_asked_for(client: Redis) -> None:
    store = trade_store(client, bar_retention={"100ms": 200})
    for at in range(0, 1000, 50):
        await store.apply(SYMBOL, unacknowledged(tape(1000, 100)[at : at + 50]))
    assert 200 <= await client.xlen(KEYS.bars(SYMBOL, "100ms")) <= 400
    assert await client.xlen(KEYS.bars(SYMBOL, "1m")) == 1


async def test_bars_that_go_are_not_read_where_no_revision_is_among_them(real_server: str) -> None:
    client = Redis.from_url(real_server, protocol=2)
    try:
        await client.flushall()
        await client.config_resetstat()
        store = trade_store(client, bar_retention={"100ms": 200})
        for at in range(0, 1000, 50):
            await store.apply(SYMBOL, unacknowledged(tape(1000, 100)[at : at + 50]))
        assert 200 <= await client.xlen(KEYS.bars(SYMBOL, "100ms")) <= 300
        found = await client.info("commandstats")
        assert found["cmdstat_xtrim"]["calls"] >= 7
        assert "cmdstat_xrange" not in found
    finally:
        await client.flushall()
        await client.aclose()


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


async def test_revisions_push_no_bars_out(client: Redis) -> None:
    store = trade_store(client, bar_retention={"100ms": 200})
    count = 0
    for at in range(0, 600, 20):
        await store.apply(SYMBOL, unacknowledged([trade(count + n, T0 + (at + n) * 100) for n in range(20)]))
        count += 20
        for n in range(40):
            await store.apply(SYMBOL, unacknowledged([trade(count, T0 + at * 100 + n)]))
            count += 1
    bars = await client.xrange(KEYS.bars(SYMBOL, "100ms"))
    revisions = sum(fields[b"revision"] != b"0" for _, fields in bars)
    assert 200 <= len({fields[b"start"] for _, fields in bars}) <= 320
    assert revisions > 200
    counted = await client.hget(KEYS.trades_state(SYMBOL), "revisions")
    assert counted is not None
    assert int(counted.split()[0]) == revisions


async def test_a_state_of_an_older_version_goes_on(client: Redis) -> None:
    store = trade_store(client)
    await store.apply(SYMBOL, unacknowledged([trade(1, T0), trade(2, T0 + 60_000)]))
    state = KEYS.trades_state(SYMBOL)
    await client.hdel(state, "revisions")
    text = (await client.hget(state, "1m")).decode()
    closed = text.replace(f"{T0 + 60_000} 0 1 0", f"{T0 + 60_000} 1 1 0", 1)
    assert closed != text
    await client.hset(state, "1m", closed)
    await store.apply(SYMBOL, unacknowledged([trade(3, T0 + 61_000), trade(4, T0 + 120_000)]))
    _, fields = (await client.xrange(KEYS.bars(SYMBOL, "1m")))[-1]
    assert (fields[b"start"], fields[b"complete"]) == (str(T0 + 60_000).encode(), b"1")


@pytest.mark.parametrize("price", ["0.00000074408", "0.000000000000000001"])
async def test_a_symbol_goes_on_exactly_when_its_numbers_become_finer(client: Redis, price: str) -> None:
    store, twin = trade_store(client), TradesFold()
    coarse = [trade(n, T0 + 40_000 * n, "0.00000001", "1.00000001") for n in range(5)]
    fine = [trade(n, T0 + 40_000 * n, price, "0.000000000000000001") for n in range(5, 9)]
    again = [trade(9, T0 + 300_000), trade(10, T0 + 400_000)]  # one of them late
    for batch in (coarse, fine, again):
        assert await store.apply(SYMBOL, unacknowledged(batch)) == twin.apply(batch)
        await matches(client, twin)
        state = await client.hgetall(KEYS.trades_state(SYMBOL))
        assert state.get(b"digits") == (None if batch is coarse else b"18")
    stats = await client.hgetall(KEYS.stats(SYMBOL, "1d"))
    assert stats[b"volume"] == b"8.000000050000000004"
    assert Fraction(stats[b"quote_volume"].decode()) == sum(
        Fraction(one.price) * Fraction(one.quantity) for one in coarse + fine + again
    )
    assert stats[b"low_price"] == min([b"0.00000001", price.encode()], key=float)


async def test_a_state_of_decimals_that_nobody_wrote_is_refused(client: Redis) -> None:
    store = trade_store(client)
    await store.apply(SYMBOL, unacknowledged(tape(2)))
    await client.hset(KEYS.trades_state(SYMBOL), "digits", "27")
    with pytest.raises(StateUnreadable, match="digits are not 18"):
        await store.apply(SYMBOL, unacknowledged(tape(3)))
    assert (await store.state(SYMBOL)).last_id == 1


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


async def test_the_latest_set_is_trimmed_a_little_at_a_time(client: Redis) -> None:
    """However much is old, one call removes no more than what takes Redis well under a millisecond."""
    store = trade_store(client, retention_ms=1000)
    latest, count = KEYS.trades_latest(SYMBOL), 1000 + 2 * TRIMMED_AT_MOST
    await store.apply(SYMBOL, unacknowledged(tape(count, 1)))
    assert await client.zcard(latest) == count - TRIMMED_AT_MOST
    await store.apply(SYMBOL, unacknowledged([trade(count, T0 + 10_000)]))
    assert await client.zcard(latest) == count - 2 * TRIMMED_AT_MOST + 1
    for left in range(count - 3 * TRIMMED_AT_MOST + 1, 0, -TRIMMED_AT_MOST):
        await store.close(SYMBOL, T0 + 10_500, 0)
        assert await client.zcard(latest) == left
    await store.close(SYMBOL, T0 + 11_001, 0)
    assert await client.zcard(latest) == 0


async def test_the_cap_of_the_latest_set_takes_out_the_oldest_and_is_counted(client: Redis) -> None:
    store = trade_store(client, retention_ms=60_000, latest_max=50)
    latest, trades = KEYS.trades_latest(SYMBOL), tape(90, 1)
    assert (await store.apply(SYMBOL, unacknowledged(trades[:50]))).capped == 0
    assert (await store.apply(SYMBOL, unacknowledged(trades[50:]))).capped == 40
    assert [int(score) for _, score in await client.zrange(latest, 0, -1, withscores=True)] == [
        one.trade_time for one in trades[40:]
    ]
    # A trade that is too old for the retention was not taken out by the cap.
    assert (await store.apply(SYMBOL, unacknowledged([trade(90, T0 + 60_045)]))).capped == 0
    assert await client.zcard(latest) == 46
    assert (await store.state(SYMBOL)).capped == 40
    lower = trade_store(client, retention_ms=60_000, latest_max=6)
    assert (await lower.close(SYMBOL, T0 + 60_046, 0)).capped == 39
    assert (await store.state(SYMBOL)).capped == 79


async def test_packed_members_give_back_what_json_members_hold(client: Redis) -> None:
    trades = [trade(n, T0 + 40 * n, price, quantity) for n, (price, quantity) in enumerate(AWKWARD)]
    forms: list[Member] = ["json", "packed"]
    for form in forms:
        await client.flushall()  # this test's own server
        await trade_store(client, member=form).apply(SYMBOL, unacknowledged(trades))
        members = await client.zrange(KEYS.trades_latest(SYMBOL), 0, -1, withscores=True)
        assert [trade_of(decode_member(member, SYMBOL, int(score))) for member, score in members] == trades
        assert all(member.startswith(b"{") for member, _ in members) == (form == "json")


async def test_a_set_may_hold_both_forms(client: Redis) -> None:
    trades = tape(20, 40)
    await trade_store(client).apply(SYMBOL, unacknowledged(trades[:10]))
    await trade_store(client, member="packed").apply(SYMBOL, unacknowledged(trades[10:]))
    found = [one async for page in Ranges(client, KEYS).trades(SYMBOL, 0, T0 * 2) for one in page]
    assert found == trades
    assert await Ranges(client, KEYS).trade_ids(SYMBOL) == (0, 19)


async def test_a_fold_begun_anew_appends_after_the_bars_that_are_there(client: Redis) -> None:
    store = trade_store(client)
    await store.apply(SYMBOL, unacknowledged(tape(10, 100)))
    await client.delete(KEYS.trades_state(SYMBOL))
    await store.apply(SYMBOL, unacknowledged([trade(n, T0 + 50 * n) for n in range(14, 40)]))
    bars = await client.xrange(KEYS.bars(SYMBOL, "100ms"))
    first = next(fields for entry, fields in bars if entry == f"{T0 + 800}-1".encode())
    assert (first[b"start"], first[b"complete"]) == (str(T0 + 700).encode(), b"0")
    assert len(bars) == 9 + 12


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


async def counts(client: Redis) -> dict[str, bytes | None]:
    return {i: await client.hget(KEYS.stats(SYMBOL, i), "trades_count") for i in INTERVALS_MS}


async def test_long_windows_wait_until_the_minute_the_second_or_the_trades_end(client: Redis) -> None:
    """Five windows that most calls need not touch; what a reader or the next owner is told is right all the same."""
    store, twin, trades = trade_store(client, long_windows_s=1e9), TradesFold(), tape(8)
    twin.apply(trades[:3])
    for one in trades[:3]:
        await store.apply(SYMBOL, unacknowledged([one]))
    long = ("5m", "15m", "1h", "4h", "1d")
    assert await counts(client) == {"100ms": b"3", "1m": b"3", **dict.fromkeys(long, b"1")}
    assert await client.hget(KEYS.stats(SYMBOL, "1d"), "last_update_time") == str(T0).encode()
    assert await store.fills(SYMBOL) == (0, 22)  # of all three
    assert store.may_lag(SYMBOL)
    await store.close(SYMBOL, 0, 0)
    assert not store.may_lag(SYMBOL)
    await matches(client, twin)
    # another process, or another release, folds at once what was waiting
    twin.apply(trades[3:6])
    await store.apply(SYMBOL, unacknowledged(trades[3:4]))
    await store.apply(SYMBOL, unacknowledged(trades[4:5]))
    await trade_store(client).apply(SYMBOL, unacknowledged(trades[5:6]))
    await matches(client, twin)
    # the next minute ends the waiting
    later = [trade(6, T0 + 59_990), trade(7, T0 + 60_010)]
    twin.apply(later)
    for one in later:
        await store.apply(SYMBOL, unacknowledged([one]))
    await matches(client, twin)


async def test_what_an_earlier_release_left_waiting_and_went_past_is_folded_by_nobody(client: Redis) -> None:
    store, trades = trade_store(client, long_windows_s=1e9), tape(5)
    for one in trades[:3]:
        await store.apply(SYMBOL, unacknowledged([one]))
    await client.hincrby(KEYS.trades_state(SYMBOL), "last_id", 1)
    await store.apply(SYMBOL, unacknowledged(trades[4:]))
    assert (await counts(client))["1d"] == b"2"


async def test_waiting_trades_that_nobody_can_read_are_said_to_be_so(client: Redis) -> None:
    store, trades = trade_store(client, long_windows_s=1e9), tape(2)
    await store.apply(SYMBOL, unacknowledged(trades[:1]))
    await client.hset(KEYS.trades_state(SYMBOL), "long_windows", f"{T0} 0|rubbish")
    with pytest.raises(StateUnreadable, match="long_windows has no block"):
        await store.apply(SYMBOL, unacknowledged(trades[1:]))


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
