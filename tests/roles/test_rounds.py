"""When rounds begin, and in what order deadlines come."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.runtime.deadlines import Deadlines
from workers.runtime.rounds import BUSY_PER_S, MANY, RECENT_S, Heard, Rounds
from workers.runtime.tasks import end
from workers.store.connection import connect_reader

NEVER_S = 60.0
"""Longer than any of these tests waits: what ends sooner was woken."""


@given(
    st.lists(st.tuples(st.sampled_from(["set", "drop", "due"]), st.sampled_from("abc"), st.integers(0, 9)))
)
def test_deadlines_are_a_dict_of_times(steps: list[tuple[str, str, int]]) -> None:
    deadlines, twin = Deadlines(), dict[str, float]()
    for what, name, at in steps:
        if what == "set":
            deadlines.set(name, at)
            twin[name] = at
        elif what == "drop":
            deadlines.drop(name)
            twin.pop(name, None)
        else:
            due = {name: time for name, time in twin.items() if time <= at}
            assert sorted(deadlines.due(at)) == sorted(due)
            twin = {name: time for name, time in twin.items() if name not in due}
        assert deadlines.next == min(twin.values(), default=math.inf)
        assert all((name in deadlines) == (name in twin) for name in "abc")


class Stream:
    """What a role knows of one of its streams."""

    def __init__(self) -> None:
        self.last_stream_id = b"0-0"
        self.listens = True


@asynccontextmanager
async def rounds_of(
    url: str, *keys: str, gather_ms: int = 0, times: float = 4
) -> AsyncIterator[tuple[Rounds, dict[str, Stream], Redis, asyncio.Event]]:
    reader, client = connect_reader(url), Redis.from_url(url, protocol=2)
    await client.flushall()  # the server is this test process's own
    streams, stop = {key: Stream() for key in keys}, asyncio.Event()
    rounds = Rounds(reader, stop, "books", streams, gather_ms, times)
    try:
        yield rounds, streams, client, stop
    finally:
        await rounds.close()
        await reader.aclose()
        await client.aclose()


def later(client: Redis, key: str) -> asyncio.Task[bytes]:
    async def add() -> bytes:
        while not await client.info("clients") or not (await client.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
        return bytes(await client.xadd(key, {"data": "x"}))

    return asyncio.create_task(add())


async def until_never(rounds: Rounds) -> Mapping[str, Heard] | None:
    return await rounds.next(time.monotonic() + NEVER_S)


async def test_an_entry_begins_a_round_that_reads_its_stream_alone(real_server: str) -> None:
    async with rounds_of(real_server, "one", "two") as (rounds, streams, client, _):
        adding = later(client, "two")
        async with asyncio.timeout(NEVER_S / 2):
            assert set(await until_never(rounds) or ()) == {"two"}
            streams["two"].last_stream_id = await adding
            adding = later(client, "one")
            assert set(await until_never(rounds) or ()) == {"one"}
            await adding


async def test_a_timer_that_comes_early_ends_the_wait_of_who_owns_nothing(monkeypatch) -> None:
    """The loop counts from the beginning of its turn: after a long one its timers come that much too early."""
    loop = asyncio.get_running_loop()
    call_later = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay, *work: call_later(max(0.0, delay - 0.05), *work))
    rounds = Rounds(connect_reader("redis://127.0.0.1:1"), asyncio.Event(), "books", {}, 0)
    try:
        waiting = asyncio.create_task(rounds.next(time.monotonic() + 0.1))
        done, _ = await asyncio.wait([waiting], timeout=NEVER_S / 2)
        assert done
    finally:
        await rounds.close()


@pytest.mark.parametrize("late_s", [0.0, math.inf])
async def test_what_is_due_ends_the_gathering(late_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[float] = []

    async def sleep(delay: float) -> None:
        gathered.append(delay)

    monkeypatch.setattr("workers.runtime.rounds.asyncio.sleep", sleep)
    rounds = Rounds(
        connect_reader("redis://127.0.0.1:1"), asyncio.Event(), "books", {}, 120_000, math.inf, late_s=late_s
    )
    for _ in range(2):
        rounds.took(MANY, more=False)
        await rounds.next(time.monotonic() - 1)
    assert gathered[-1] == (0.0 if late_s == 0.0 else 120.0)
    await rounds.close()


@pytest.mark.parametrize(("times", "waits"), [(0, False), (math.inf, True)])
async def test_what_follows_is_gathered_as_long_as_it_may_wait(
    real_server: str, times: float, waits: bool
) -> None:
    async with rounds_of(real_server, "one", gather_ms=120_000, times=times) as (rounds, streams, client, _):
        async with asyncio.timeout(NEVER_S / 2):
            rounds.touch("one")  # as when it was taken up
            await until_never(rounds)
            rounds.took(1, more=False)
            streams["one"].last_stream_id = await client.xadd("one", {"data": "x"})
        if not waits:
            async with asyncio.timeout(NEVER_S / 2):
                adding = later(client, "one")
                assert set(await until_never(rounds) or ()) == {"one"}
                await adding
            return
        adding = later(client, "one")
        following = asyncio.create_task(until_never(rounds))
        await adding
        done, _ = await asyncio.wait([following], timeout=0.3)
        assert not done
        await end([following])


async def test_what_another_was_given_is_heard_of_once(real_server: str) -> None:
    async with rounds_of(real_server, "one", "two") as (rounds, _, client, _):
        first = await client.xadd("one", {"data": "x"})
        async with asyncio.timeout(NEVER_S / 2):
            assert set(await until_never(rounds) or ()) == {"one"}
            # nothing of it could be read: the next thing heard of is what comes later
            adding = later(client, "one")
            assert set(await until_never(rounds) or ()) == {"one"}
            assert await adding > first


async def test_a_stream_that_is_new_is_listened_to_from_then_on(real_server: str) -> None:
    async with rounds_of(real_server, "one") as (rounds, streams, client, _):
        waiting = asyncio.create_task(until_never(rounds))
        await asyncio.sleep(0.05)
        streams["two"] = Stream()
        rounds.touch("two")
        async with asyncio.timeout(NEVER_S / 2):
            assert set(await waiting or ()) == {"two"}
            adding = later(client, "two")
            assert set(await until_never(rounds) or ()) == {"two"}
            await adding


async def test_the_end_and_a_deadline_end_the_wait(real_server: str) -> None:
    async with rounds_of(real_server, "one") as (rounds, _, _, stop):
        async with asyncio.timeout(NEVER_S / 2):
            assert await rounds.next(time.monotonic() + 0.01) == {}
            asyncio.get_running_loop().call_later(0.05, stop.set)
            assert await until_never(rounds) == {}


async def test_under_load_all_is_read_and_nobody_listens(real_server: str) -> None:
    async with rounds_of(real_server, "one") as (rounds, _, client, _):
        await client.config_resetstat()
        rounds.took(MANY, more=False)
        async with asyncio.timeout(NEVER_S / 2):
            assert await until_never(rounds) is None
        stats = await client.info("commandstats")
        assert "cmdstat_xread" not in stats


async def test_under_load_what_nobody_wants_yet_is_left(real_server: str) -> None:
    async with rounds_of(real_server, "one") as (rounds, _, _, stop):
        async with asyncio.timeout(NEVER_S / 2):
            rounds.took(MANY, more=False)
            wanted_at = time.monotonic() + 0.2
            assert await rounds.next(time.monotonic() + NEVER_S, wanted_at) is None
            assert time.monotonic() >= wanted_at
        for wake in (partial(rounds.touch, "one"), stop.set):
            rounds.took(MANY, more=False)
            following = asyncio.create_task(rounds.next(*[time.monotonic() + NEVER_S] * 2))
            done, _ = await asyncio.wait([following], timeout=0.2)
            assert not done
            wake()
            async with asyncio.timeout(NEVER_S / 2):
                assert await following is None


async def test_what_was_left_of_a_round_is_not_left_longer(real_server: str) -> None:
    async with rounds_of(real_server, "one") as (rounds, _, _, _):
        rounds.took(MANY, more=True)
        async with asyncio.timeout(NEVER_S / 2):
            never = time.monotonic() + NEVER_S
            assert await rounds.next(never, never) is None


async def test_a_deadline_ends_what_is_left_alone(real_server: str) -> None:
    async with rounds_of(real_server, "one") as (rounds, _, _, _):
        rounds.took(MANY, more=False)
        async with asyncio.timeout(NEVER_S / 2):
            assert await rounds.next(time.monotonic() + 0.05, time.monotonic() + NEVER_S) is None


async def test_it_is_busy_by_what_came_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(connect_reader("redis://127.0.0.1:1"), asyncio.Event(), "books", {}, 0)
    now = 1_000.0
    monkeypatch.setattr("workers.runtime.rounds.time.monotonic", lambda: now)
    assert not rounds.busy
    for _ in range(100):  # 10 ms each
        now += 0.01
        rounds.took(int(BUSY_PER_S / 100) // 2, more=False)
    assert not rounds.busy
    for _ in range(100):
        now += 0.01
        rounds.took(int(BUSY_PER_S / 100) * 2, more=False)
    assert rounds.busy
    now += 10 * RECENT_S
    rounds.took(0, more=False)
    assert not rounds.busy


async def test_a_key_that_is_no_stream_does_not_make_it_spin(real_server: str) -> None:
    async with rounds_of(real_server, "one", "two") as (rounds, _, client, _):
        await client.set("two", "x")
        await client.config_resetstat()
        async with asyncio.timeout(NEVER_S / 2):
            assert await until_never(rounds) is None  # the round reads, and finds out which key it is
            for _ in range(6):  # the pause between two tries to listen grows beyond the wait
                await rounds.next(time.monotonic() + 0.01)
        assert (await client.info("commandstats"))["cmdstat_xread"]["calls"] <= 2
