"""How exact the fold is: sums beyond a double, finer numbers, and states that say how fine they are."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from test_trades import T0, matches, tape, trade, trade_store, unacknowledged
from test_trades_properties import KEYS, SYMBOL, contents

from workers.errors import StateUnreadable
from workers.model.trades.fold import TradesFold


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


async def test_a_late_trade_does_not_change_a_bar_of_a_finer_fold(client: Redis) -> None:
    """The state was removed, and the fold began anew with coarser numbers: what it cannot read it does not add to."""
    store = trade_store(client)
    fine = [trade(n, T0 + 200 * n, "0.0000000123", "0.000000001") for n in (1, 2)]
    await store.apply(SYMBOL, unacknowledged(fine))
    await client.delete(KEYS.trades_state(SYMBOL))
    late = trade(4, T0 + 250, "1", "7")
    await store.apply(SYMBOL, unacknowledged([trade(3, T0 + 600, "1", "1"), late]))
    bars = [(fields[b"start"], fields[b"volume"], fields[b"reason"])
            for _, fields in await client.xrange(KEYS.bars(SYMBOL, "100ms"))]  # fmt: skip
    assert bars == [
        (str(T0 + 200).encode(), b"0.000000001", b"began"),
        (str(T0 + 200).encode(), b"7", b"late"),
    ]


NUMBERS = (
    *("last_id", "last_trade_time", "hole_next_id", "incomplete_next", "ids_since"),
    *(
        f"{name}_count"
        for name in ("applied", "repeated", "not_market", "missing", "late", "capped", "restarts", "breaks")
    ),
)
WINDOWS = ("100ms", "1m", "1h", "1d")


async def test_a_state_that_nobody_wrote_is_refused_by_its_field_and_left_as_it_is(client: Redis) -> None:
    store, state = trade_store(client), KEYS.trades_state(SYMBOL)
    await store.apply(SYMBOL, unacknowledged(tape(2)))
    rubbish = [(name, text) for name in NUMBERS for text in ("x", "9" * 17)]
    rubbish += [*((name, "0 0 0") for name in WINDOWS), ("revisions", "1 2 3"), ("digits", "27")]
    rubbish.append(("long_windows", "0 1|x"))
    for name, text in rubbish:
        before = await client.hgetall(state)
        await client.hset(state, name, text)
        there = await contents(client)
        for attempt in (
            store.apply(SYMBOL, unacknowledged(tape(3))),
            store.skip(SYMBOL, 2, 3),
            store.close(SYMBOL, T0 + 10**9, 0),
        ):
            with pytest.raises((StateUnreadable, ResponseError), match=f"UNREADABLE {name} |its {name} "):
                await attempt
        assert await contents(client) == there
        await client.delete(state)
        await client.hset(state, mapping=before)
    assert (await store.apply(SYMBOL, unacknowledged(tape(3)))).applied == 1
