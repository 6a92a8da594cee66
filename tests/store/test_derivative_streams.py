"""`derivatives:{S}` and `liquidations:{S}`: the script says what the pure fold says, repeats are harmless."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import fakeredis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.model.derivatives.figures import FIGURES, Figure, Liquidation, figures_from, merged
from workers.store.derivatives.streams import DerivativeStreams, liquidation_id
from workers.store.keys import Keys
from workers.store.log.streams import newest_ms

KEYS = [Keys().derivatives(symbol) for symbol in ("A", "币B")]
KEPT_MS = 10**9
T0 = 1_723_161_256_000

Update = dict[str, Figure]
FIGURE = st.builds(Figure, st.sampled_from(["1", "1.0", "-0.5", "17217.33"]), st.integers(T0, T0 + 6))
UPDATES = st.lists(
    st.tuples(st.integers(0, 1), st.dictionaries(st.sampled_from(FIGURES), FIGURE, min_size=1)), max_size=12
)


@given(UPDATES, st.randoms(use_true_random=False))
def test_in_any_order_and_repeated_they_leave_the_same(
    updates: list[tuple[int, Update]], drawn: random.Random
) -> None:
    apart: list[Update] = []
    for number, (_, update) in enumerate(updates):  # no two of one figure have the same time
        apart.append({name: Figure(value, at * 100 + number) for name, (value, at) in update.items()})
    inorder: Update = {}
    for update in apart:
        inorder = merged(inorder, update)
    shuffled = apart * 2
    drawn.shuffle(shuffled)
    other: Update = {}
    for update in shuffled:
        other = merged(other, update)
    assert inorder == other
    assert all(inorder[name].time_ms >= figure.time_ms for update in apart for name, figure in update.items())


def test_figures_are_read_from_fields_and_what_is_none_is_left_out() -> None:
    wire = {b"mark_price": b"1.50", b"mark_price_at": b"7", b"open_interest": b"5", b"open_interest_at": b"9"}
    assert figures_from(wire) == {"mark_price": Figure("1.50", 7), "open_interest": Figure("5", 9)}
    assert figures_from(wire | {b"mark_price_at": b"x", b"index_price": b"1", b"else": b"1"}) == {
        "open_interest": Figure("5", 9)
    }


async def compare(client: Any, updates: list[tuple[int, Update]]) -> None:
    """Each update in a call of its own; after each the newest entry is what the fold says."""
    streams, known = DerivativeStreams(client), [dict[str, Figure](), dict[str, Figure]()]
    counts = [0, 0]
    for place, update in updates:
        now = merged(known[place], update)
        counts[place] += now != known[place]
        known[place] = now
        assert not (await streams.merge({KEYS[place]: update}, KEPT_MS)).bad
        for key, expected, count in zip(KEYS, known, counts, strict=True):
            entries = await client.xrange(key)
            assert len(entries) == count
            assert figures_from(entries[-1][1] if entries else {}) == expected
            if entries:
                ms = int(entries[-1][0].partition(b"-")[0])
                assert ms == max(figure.time_ms for figure in expected.values())


@given(UPDATES)
@settings(max_examples=60)
def test_the_script_says_what_the_fold_says_on_fakeredis(updates: list[tuple[int, Update]]) -> None:
    async def run() -> None:
        async with fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer()) as client:
            await compare(client, updates)

    asyncio.run(run())


@given(updates=UPDATES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_script_says_what_the_fold_says_on_a_real_server(
    real_server: str, updates: list[tuple[int, Update]]
) -> None:
    async def run() -> None:
        client = Redis.from_url(real_server, protocol=2)
        await client.flushall()  # the server is this test process's own
        await compare(client, updates)
        await client.aclose()

    asyncio.run(run())


async def test_many_at_once_and_a_key_of_another_type_costs_itself(client: Redis) -> None:
    keys = [Keys().derivatives(f"S{number}") for number in range(450)]
    await client.set(keys[7], "mine")
    await client.xadd(keys[9], {"else": "x", "mark_price_at": "y"})
    streams = DerivativeStreams(client)
    updates = {key: {"mark_price": Figure("1", T0 + place)} for place, key in enumerate(keys)}
    done = await streams.merge(updates, KEPT_MS)
    assert done.appended == 449
    assert [problem.key for problem in done.bad] == [keys[7]]
    assert (await streams.merge(updates, KEPT_MS)).appended == 0
    newest = (await client.xrevrange(keys[9], count=1))[0][1]
    assert figures_from(newest) == {"mark_price": Figure("1", T0 + 9)}


async def test_old_entries_are_trimmed(client: Redis) -> None:
    streams = DerivativeStreams(client)
    for second in range(400):
        await streams.merge({KEYS[0]: {"mark_price": Figure(str(second), T0 + second * 1000)}}, 60_000)
    assert await client.xlen(KEYS[0]) < 250  # blocks of a stream go whole


async def test_liquidations_are_there_once_however_often_they_are_written(client: Redis) -> None:
    streams, key = DerivativeStreams(client), Keys().liquidations("A")
    rows = [
        (key, liquidation_id(f"{T0}-{number}", place), Liquidation("sell", "1.50", str(number), T0, T0 + 1))
        for number in (4, 5)
        for place in (0, 1)
    ]
    assert (await streams.liquidations(rows[:3], KEPT_MS)).appended == 3
    assert (await streams.liquidations(rows, KEPT_MS)).appended == 1
    assert (await streams.liquidations(rows, KEPT_MS)).appended == 0
    found = await client.xrange(key)
    assert [fields[b"quantity"] for _, fields in found] == [b"4", b"4", b"5", b"5"]
    assert found[0][1] == {b"side": b"sell", b"price": b"1.50", b"quantity": b"4", b"time": b"%d" % T0,
                           b"event_time": b"%d" % (T0 + 1)}  # fmt: skip
    await client.set("liquidations:{X}", "mine")
    done = await streams.liquidations([("liquidations:{X}", "1-1", rows[0][2]), *rows], KEPT_MS)
    assert [problem.key for problem in done.bad] == ["liquidations:{X}"]


async def test_the_newest_of_streams(client: Redis) -> None:
    await client.xadd("s", {"a": 1}, id="77-5")
    await client.set("t", "mine")
    assert await newest_ms(client, ["s", "t", "u"]) == {"s": 77, "u": 0}
