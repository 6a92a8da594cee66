"""What the fold keeps: so many bars, and the latest trades in either form."""

from __future__ import annotations

from redis.asyncio import Redis
from test_trades import T0, tape, trade, trade_store, unacknowledged
from test_trades_properties import KEYS, SYMBOL

from workers.model.trades.fold import TRIMMED_AT_MOST
from workers.model.trades.latest import Member, decode_member, trade_of
from workers.store.log.ranges import Ranges

AWKWARD = [
    ("61800.20000000", "0.00123000"),
    ("84554.40", "0.054"),
    ("1000", "92233720368.54775807"),
    ("0.00000001", "100.00000000"),
    ("007.50", "1"),
    ("7", "0"),
]


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
