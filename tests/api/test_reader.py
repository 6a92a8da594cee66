"""The one reader: each stream once, to whoever follows it now; polls in their time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.api.books import reader as reading
from workers.api.books.reader import Reader
from workers.api.http.trust import Evidence, trades_problem, trust_of
from workers.runtime.tasks import end
from workers.store.books.watch import Entry, Watch


class Held(list[bytes]):
    """The ids a follower was given."""

    def __call__(self, entries: Sequence[Entry]) -> None:
        self.extend(entry_id for entry_id, _ in entries)


async def test_each_follower_gets_what_comes_after_its_place(client: Redis) -> None:
    for number in range(1, 4):
        await client.xadd("a", {"n": number}, id=f"{number}-0")
    reader = Reader(Watch(client), 1)
    late, early, nothing = Held(), Held(), Held()
    reader.follow("a", early, b"1-0")
    reader.follow("b", nothing)
    await reader.step()
    assert early == [b"2-0", b"3-0"]
    reader.follow("a", late)
    await reader.step()
    await client.xadd("a", {"n": 4}, id="4-0")
    await client.xadd("b", {"n": 1}, id="1-0")
    await reader.step()
    assert (early, late, nothing) == ([b"2-0", b"3-0"], [b"4-0"], [b"1-0"])
    reader.leave("a")
    await client.xadd("a", {"n": 5}, id="5-0")
    await reader.step()
    assert late == [b"4-0"]


async def test_many_entries_are_read_in_rounds_without_a_hole(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_COUNT", 3)
    for number in range(1, 11):
        await client.xadd("a", {"n": number}, id=f"{number}-0")
    reader, held = Reader(Watch(client), 1), Held()
    reader.follow("a", held, b"0-0")
    for _ in range(4):
        await reader.step()
    assert held == [f"{number}-0".encode() for number in range(1, 11)]


class SlowWatch(Watch):
    """Answers after something else has happened."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self.meanwhile = [lambda: None]

    async def read(self, places: Mapping[str, bytes], count: int) -> dict[str, list[Entry]]:
        found = await super().read(places, count)
        self.meanwhile[0]()
        return found


async def test_an_answer_on_its_way_is_not_given_to_a_new_follower(client: Redis) -> None:
    for number in range(1, 5):
        await client.xadd("a", {"n": number}, id=f"{number}-0")
    watch = SlowWatch(client)
    reader, before, after = Reader(watch, 1), Held(), Held()
    reader.follow("a", before, b"0-0")
    watch.meanwhile[0] = lambda: reader.follow("a", after, b"2-0")
    await reader.step()
    watch.meanwhile[0] = lambda: None
    assert (before, after) == ([], [])
    await reader.step()
    assert (before, after) == ([], [b"3-0", b"4-0"])


async def test_polls_run_when_due_and_at_once_when_hurried(client: Redis) -> None:
    reader, runs = Reader(Watch(client), 1), []

    async def poll() -> None:
        runs.append(len(runs))

    hurry = reader.every(60, poll)
    await reader.step()
    await reader.step()
    assert runs == [0]
    hurry()
    await reader.step()
    assert runs == [0, 1]


async def test_while_redis_is_away_nothing_is_heard_but_rounds_go_on(client: Redis) -> None:
    class Away(Watch):
        async def read(self, places: Mapping[str, bytes], count: int) -> dict[str, list[Entry]]:
            raise RedisConnectionError("refused")

    reader, rounds = Reader(Away(client), 1), []
    reader.after_each_round(lambda: rounds.append(reader.heard_at))
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(30):
        while not rounds:
            await asyncio.sleep(0.01)
    running.cancel()
    assert rounds[0] == float("-inf")


SOUND = Evidence(
    shown=True,
    state="synced",
    connected=True,
    synced_for_ms=3_600_000,
    audit="match",
    audit_age_ms=1_000,
    audit_expected_ms=600_000,
    depth_waiting=0,
    age_ms=10,
    stale_ms=30_000,
)


def test_a_sound_book_is_trusted_fully() -> None:
    assert trust_of(SOUND).score == 1
    assert trust_of(SOUND).why == []
    assert trades_problem(120, 120, 119) == trades_problem(119, 120, 110) == trades_problem(-1, -1, -1) == ""
    assert trust_of(SOUND._replace(audit_expected_ms=0, audit_age_ms=10**9)).score == 1


@pytest.mark.parametrize(
    ("change", "score", "why"),
    [
        ({"shown": False, "state": "broken"}, 0, "broken"),
        ({"shown": False, "state": "not owned"}, 0, "not owned"),
        ({"connected": False}, 0.5, "sockets"),
        ({"audit": "mismatch"}, 0.5, "difference"),
        ({"audit": ""}, 0.9, "never audited"),
        ({"audit": "", "second_source": "checksum"}, 0.9, "no checksum"),
        ({"audit": "", "second_source": "in band"}, 0.9, "no book with an id"),
        ({"audit": "", "second_source": "none"}, 0.9, "nothing to compare"),
        ({"audit": "unconfirmed"}, 0.9, "unconfirmed"),
        ({"audit_age_ms": 700_000}, 0.9, "old"),
        ({"synced_for_ms": 1}, 0.9, "minute"),
        ({"depth_waiting": 2_000}, 0.7, "behind"),
        ({"age_ms": 40_000}, 0.7, "silent"),
        ({"trades_problem": trades_problem(99, 150, 120)}, 0.5, "stand at 99, though the log has had 120"),
        ({"trades_problem": trades_problem(-1, 150, 120)}, 0.5, "stand at -1"),
        ({"trades_problem": trades_problem(2**53, 120, 119)}, 0.5, "lower ids, such as 120"),
    ],
)
def test_each_doubt_has_its_deduction_and_its_reason(
    change: dict[str, object], score: float, why: str
) -> None:
    found = trust_of(SOUND._replace(**change))  # type: ignore[arg-type]
    assert found.score == pytest.approx(score)
    assert len(found.why) == 1
    assert why in found.why[0]


def test_checksums_that_agree_are_as_good_as_an_audit() -> None:
    assert trust_of(SOUND._replace(audit="", second_source="checksum", checksums=1)).score == 1


def test_doubts_multiply() -> None:
    assert trust_of(SOUND._replace(connected=False, audit="")).score == pytest.approx(0.45)


class FrozenWatch(Watch):
    """Does not answer until it is told to."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self.frozen = asyncio.Event()

    async def read(self, places: Mapping[str, bytes], count: int) -> dict[str, list[Entry]]:
        await self.frozen.wait()
        return await super().read(places, count)


async def test_while_redis_does_not_answer_what_depends_on_that_is_done(client: Redis) -> None:
    """Books must be withheld from live clients then, not when the time for an answer has run out."""
    watch = FrozenWatch(client)
    reader, rounds = Reader(watch, 1), list[float]()
    reader.follow("a", Held(), b"0-0")
    reader.after_each_round(lambda: rounds.append(reader.heard_at))
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(60):
        while len(rounds) < 3:
            await asyncio.sleep(0.01)
        assert set(rounds) == {float("-inf")}
        watch.frozen.set()
        while rounds[-1] == float("-inf"):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


async def test_without_a_stream_to_follow_a_round_comes_for_a_poll_or_what_is_new(client: Redis) -> None:
    reader, runs, rounds, held = Reader(Watch(client), 1), list[int](), list[int](), Held()

    async def poll() -> None:
        runs.append(1)

    reader.every(0.2, poll)
    reader.after_each_round(lambda: rounds.append(1))
    running = asyncio.create_task(reader.run())
    async with asyncio.timeout(60):
        while len(runs) < 4:
            await asyncio.sleep(0.01)
        assert len(rounds) <= 3 * len(runs)
        reader.is_idle = lambda: True
        before = len(rounds)
        while len(rounds) < before + 3:  # idle, but Redis is heard of
            await asyncio.sleep(0.01)
        await client.xadd("a", {"n": 1}, id="1-0")
        reader.follow("a", held, b"0-0")
        while not held:
            await asyncio.sleep(0.01)
    await end([running])
