"""Windows read back: each in its last revision, wherever that stands in the stream."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.store.keys import Keys
from workers.store.trades import bars
from workers.store.trades.bars import _SHAPES, BarReader

KEYS = Keys()
MINUTE = 60_000


async def write(client: Any, start: int, revision: int, entry_id: str) -> None:
    fields = {"start": start, "revision": revision, "volume": f"{start}.{revision}"}
    await client.xadd(KEYS.bars("S", "1m"), fields, id=entry_id)


class Naive:
    """A stream of windows, and what a reader must make of it."""

    def __init__(self) -> None:
        self.newest: dict[int, int] = {}
        self.last = (0, 0)

    def next_id(self, start: int) -> tuple[str, int]:
        """The id of the next entry about a window, and its revision."""
        revision = self.newest.get(start, -1) + 1
        place = (start, 0) if revision == 0 and (start, 0) > self.last else (self.last[0], self.last[1] + 1)
        self.last, self.newest[start] = place, revision
        return f"{place[0]}-{place[1]}", revision

    def between(self, from_ms: int, to_ms: int, limit: int) -> list[tuple[int, int]]:
        starts = [start for start in sorted(self.newest) if from_ms <= start < to_ms]
        return [(start, self.newest[start]) for start in starts[:limit]]


def told(found: list[Any]) -> list[tuple[int, int]]:
    return [(int(fields["start"]), int(fields["revision"])) for fields in found]


STEPS = st.lists(
    st.one_of(
        st.just("close"),
        st.tuples(st.just("revise"), st.integers(0, 30)),
        st.tuples(st.just("ask"), st.integers(0, 40), st.integers(1, 40), st.integers(1, 12)),
    ),
    min_size=5,
    max_size=60,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_ranges_are_those_of_a_naive_reader(
    client: Redis, monkeypatch: pytest.MonkeyPatch, steps: list[Any]
) -> None:
    monkeypatch.setattr(bars, "PAGE", 3)
    monkeypatch.setattr(bars, "LEAST", 1)
    await client.delete(KEYS.bars("S", "1m"))
    reader, naive, closed = BarReader(client, KEYS), Naive(), 0
    for step in steps:
        if step == "close":
            closed += 1
            entry_id, revision = naive.next_id(closed * MINUTE)
            await write(client, closed * MINUTE, revision, entry_id)
        elif step[0] == "revise" and 1 <= step[1] <= closed:
            entry_id, revision = naive.next_id(step[1] * MINUTE)
            await write(client, step[1] * MINUTE, revision, entry_id)
        elif step[0] == "ask":
            _, first, length, limit = step
            begin, end = max(first * MINUTE - 5, 0), (first + length) * MINUTE
            found = await reader.between("S", "1m", begin, end, limit)
            assert told(found) == naive.between(begin, end, limit)
            newest = told(await reader.newest("S", "1m", limit))
            assert newest == naive.between(0, 10**15, 10**6)[-limit:]
            older = told(await reader.newest("S", "1m", limit, begin))
            assert older == naive.between(0, begin, 10**6)[-limit:]


async def test_a_window_known_only_by_a_late_trade_is_found(client: Redis) -> None:
    await write(client, 5 * MINUTE, 0, f"{5 * MINUTE}-0")
    await write(client, 3 * MINUTE, 1, f"{5 * MINUTE}-1")
    reader = BarReader(client, KEYS)
    assert told(await reader.between("S", "1m", 0, 10 * MINUTE, 10)) == [(3 * MINUTE, 1), (5 * MINUTE, 0)]
    assert told(await reader.between("S", "1m", 0, 4 * MINUTE, 10)) == [(3 * MINUTE, 1)]


async def test_a_revision_is_found_though_the_first_question_was_of_a_time_to_come(client: Redis) -> None:
    reader = BarReader(client, KEYS)
    await write(client, MINUTE, 0, f"{MINUTE}-0")
    assert await reader.between("S", "1m", 5 * MINUTE, 6 * MINUTE, 1) == []
    await write(client, 9 * MINUTE, 0, f"{9 * MINUTE}-0")
    await write(client, MINUTE, 1, f"{9 * MINUTE}-1")
    assert told(await reader.between("S", "1m", 0, 2 * MINUTE, 1)) == [(MINUTE, 1)]


async def test_the_revision_that_proves_a_window_is_given_and_costs_no_memory(client: Redis) -> None:
    for number in range(1, 9):
        await write(client, number * MINUTE, 0, f"{number * MINUTE}-0")
        await write(client, number * MINUTE, 1, f"{number * MINUTE}-1")
    reader = BarReader(client, KEYS)
    for limit in (1, 3, 8):
        found = told(await reader.between("S", "1m", 0, 9 * MINUTE, limit))
        assert found == [(number * MINUTE, 1) for number in range(1, limit + 1)]
    assert not reader._revisions[KEYS.bars("S", "1m")].by_start


async def test_open_windows_are_those_that_are_there(client: Redis) -> None:
    window = {name.decode(): "1" for name in _SHAPES}
    await client.hset(KEYS.stats("S", "100ms"), mapping=window)
    reader = BarReader(client, KEYS)
    assert await reader.open_windows("S", ["100ms", "1m"]) == {"100ms": window}
    await client.hset(KEYS.stats("S", "1m"), "start", "1")
    with pytest.raises(StateUnreadable, match=r"stats:\{S\}:1m"):
        await reader.open_windows("S", ["100ms", "1m"])
