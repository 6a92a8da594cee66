"""Windows of five minutes and longer, which may wait for the trades of a minute."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from test_trades import T0, matches, tape, trade, trade_store, unacknowledged
from test_trades_properties import KEYS, SYMBOL

from workers.errors import StateUnreadable
from workers.model.trades.fold import TradesFold
from workers.model.trades.windows import INTERVALS_MS


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


async def test_a_price_without_a_digit_before_its_point_waits_like_any_other(client: Redis) -> None:
    store, twin = trade_store(client, long_windows_s=1e9), TradesFold()
    for number, price in enumerate((".75", "5.", ".5", "0.6")):
        one = trade(number, T0 + number, price)
        twin.apply([one])
        await store.apply(SYMBOL, unacknowledged([one]))
    await store.close(SYMBOL, 0, 0)
    await matches(client, twin)


async def test_waiting_trades_that_nobody_can_read_are_said_to_be_so(client: Redis) -> None:
    store, trades = trade_store(client, long_windows_s=1e9), tape(2)
    await store.apply(SYMBOL, unacknowledged(trades[:1]))
    await client.hset(KEYS.trades_state(SYMBOL), "long_windows", f"{T0} 0|rubbish")
    with pytest.raises(StateUnreadable, match="long_windows has no block"):
        await store.apply(SYMBOL, unacknowledged(trades[1:]))
