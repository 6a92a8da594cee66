"""Which streams a round reads while books are left alone until they may be published."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

from books_world import World
from hypothesis import given
from hypothesis import strategies as st

from workers.books.reading import FEWEST_AT_ONCE, PARTS, READ_AT_ONCE, SHORT_ROUND_S, TOGETHER_S, BookReading
from workers.books.worker import ALL, LONGEST_ALONE_S, MOST_AHEAD_S, RESTLESS
from workers.model.books.sync import SyncState
from workers.model.books.top_of_book import Pace
from workers.settings.schema import BookSettings

NOW = 1_000.0


def reading_of(left_alone: list[float]) -> tuple[BookReading, dict[str, float]]:
    """Streams that are left alone until some time; 0: they are not."""
    until = {f"raw:S{number}": at for number, at in enumerate(left_alone)}
    nothing: Any = None
    books: Any = until
    reading = BookReading(nothing, books, nothing, nothing, BookSettings(), nothing, nothing, nothing)
    reading._left_alone.update({key: at for key, at in until.items() if at})
    return reading, until


@given(
    st.lists(st.sampled_from([0.0, NOW - 3, NOW - 2, NOW - 1, NOW, NOW + 1, NOW + 2])),
    st.sampled_from([0.0, SHORT_ROUND_S, 1.0]),
)
def test_those_due_longest_come_first_and_a_part_at_once(left_alone: list[float], last_s: float) -> None:
    reading, until = reading_of(left_alone)
    wanted = reading._wanted(list(until), NOW, last_s)
    free = [key for key, at in until.items() if not at]
    due = [key for key, at in until.items() if 0 < at <= NOW]
    most = max(FEWEST_AT_ONCE, sum(at > 0 for at in left_alone) // PARTS)
    if last_s >= SHORT_ROUND_S:
        most = len(due)  # or a slow worker would read each book once in six rounds, and let it fall behind
    assert wanted[: len(free)] == free
    chosen = wanted[len(free) :]
    assert len(set(chosen)) == len(chosen) == min(most, len(due))
    left = set(due) - set(chosen)
    assert reading.has_due == bool(left)
    assert all(until[key] <= until[other] for key in chosen for other in left)
    assert reading.unwanted_until == (min(left_alone, default=0.0))


@given(
    st.lists(st.sampled_from([NOW, NOW + 0.01, NOW + 0.015, NOW + 0.03]), max_size=14),
    st.integers(1, 14),
    st.sampled_from([0.0, 0.005, 0.01]),
)
def test_few_wait_a_little_for_the_next_whom_they_can_be_read_with(
    left_alone: list[float], number: int, after_s: float
) -> None:
    reading, _ = reading_of(left_alone)
    keys, wanted_at = [f"raw:N{place}" for place in range(number)], NOW + after_s
    until = reading.leave_alone(keys, wanted_at)
    joined = [
        at
        for at in sorted(set(left_alone))
        if wanted_at < at <= wanted_at + TOGETHER_S and left_alone.count(at) + number <= FEWEST_AT_ONCE
    ]
    assert until == (joined[0] if joined else wanted_at)
    assert all(reading._left_alone[key] == until for key in keys)


async def test_an_interval_that_ends_while_a_round_publishes_is_seen_to_by_the_next(world: World) -> None:
    """Nothing would be due before the next look at restless books else."""
    worker, book = world.worker, world.book
    await worker.step()
    book.pace.published((time.monotonic() - 1) * 1000)
    book.pace.changed()
    ended_at = book.pace.due_at_ms / 1000
    worker._schedule([book], {}, judged_at=ended_at - 0.001)
    assert worker._deadlines.next <= ended_at
    nothing_is_due(world)
    worker._schedule([book], {}, judged_at=ended_at)  # it might have been published, and was not
    assert worker._deadlines.next > ended_at


def test_all_are_read_in_a_few_rounds() -> None:
    reading, until = reading_of([NOW - 1] * 100)
    rounds, read = 0, set[str]()
    while rounds == 0 or reading.has_due:
        rounds += 1
        for key in reading._wanted(list(until), NOW, 0.0):
            read.add(key)
            reading.leave_alone([key], NOW + 1)
    assert read == set(until)
    assert rounds == -(-100 // (100 // PARTS))


async def test_what_was_lost_while_others_were_read_is_read_no_more() -> None:
    """Its next owner would lack what the group gave."""
    unused: Any = None
    books: Any = {key: SimpleNamespace(claim=key, reread=False, read=True, unreadable="") for key in "abc"}
    read: list[Sequence[str]] = []

    class Reader:
        refused: Final[dict[str, Exception]] = {}

        async def new(self, keys: Sequence[str], _: int) -> dict[str, Any]:
            read.append(keys)
            books.pop("b", None)
            return {}

    always: Any = SimpleNamespace(
        safe=lambda _: True,
        due=lambda *_: True,
        held_back=lambda _: "",
        is_due=lambda _: False,
        progress=SimpleNamespace(made=lambda: None),
    )
    reader: Any = Reader()
    settings = BookSettings(read_count=READ_AT_ONCE)
    reading = BookReading(reader, books, always, always, settings, unused, unused, always)
    reading._busy = True  # so that each stream is read by itself
    await reading.round(0.0)
    assert [key for keys in read for key in keys] == ["a", "c"]
    reading._attention.returning = "b"
    await reading.catch_up()
    assert [key for keys in read for key in keys] == ["a", "c"]


async def test_while_much_comes_a_stream_is_left_alone_until_a_change_may_be_shown(world: World) -> None:
    worker, book, a_minute = world.worker, world.book, 60_000
    book.pace = Pace(a_minute)
    worker._rounds.took(10_000, more=False)
    book.pace.changed()
    await world.event()
    began = time.monotonic()
    await worker.step()
    shown = book.sync.last_update_id
    assert shown == world.u
    assert began < worker._reading.unwanted_until <= time.monotonic() + LONGEST_ALONE_S  # not for a minute
    await world.event()
    worker._reading.leave_alone([book.key], time.monotonic() + a_minute)
    await worker.step()
    assert book.sync.last_update_id == shown
    worker._reading.leave_alone([book.key], time.monotonic())
    await worker.step()
    assert book.sync.last_update_id == world.u == shown + 1
    worker._reading.leave_alone([book.key], time.monotonic())
    await worker.step()
    assert not worker._reading.unwanted_until  # it brought nothing: it is read in every round


async def test_reading_begins_so_early_that_a_book_is_ready_when_it_may_be_shown(world: World) -> None:
    worker, book = world.worker, world.book
    book.pace = Pace(60_000)
    book.pace.changed()
    worker._longest_alone_s = 120.0
    worker._reading_s = MOST_AHEAD_S
    worker._rounds.took(10_000, more=False)
    await world.event()
    await worker.step()
    due_at = book.pace.due_at_ms / 1000
    assert due_at - MOST_AHEAD_S <= worker._reading.unwanted_until < due_at
    worker._reading_s = 120.0  # more than what is left
    worker._reading.leave_alone([book.key], time.monotonic())
    await world.event()
    await worker.step()
    assert book.pace.waiting
    assert worker._reading.unwanted_until == due_at


async def test_a_stream_that_seldom_brings_anything_is_never_left_alone(world: World) -> None:
    world.book.pace = Pace(60_000)
    world.book.pace.changed()
    await world.event()
    await world.worker.step()
    assert not world.worker._reading.unwanted_until


async def test_a_stream_that_was_not_read_to_its_end_is_not_left_alone(world: World) -> None:
    """Else a book would take in no more than one reply in each pause, however fast its stream is."""
    worker, book = world.worker, world.book
    world.process.settings.books.read_count = worker._reading._count = 2
    book.pace = Pace(60_000)
    worker._rounds.took(10_000, more=False)
    for _ in range(3):
        await world.event()
    await worker.step()
    assert book.sync.last_update_id < world.u
    assert not worker._reading.unwanted_until
    await worker.step()
    assert book.sync.last_update_id == world.u
    assert worker._reading.unwanted_until


async def test_the_stream_of_a_book_that_is_not_shown_is_not_left_alone(world: World) -> None:
    """Else those that are due longest, which it would be for ever, would be all that a round reads."""
    worker, book = world.worker, world.book
    book.pace = Pace(60_000)
    worker._rounds.took(10_000, more=False)
    worker._reading.leave_alone([book.key], time.monotonic())
    await world.event(missed=1)
    await worker.step()
    assert book.sync.state is not SyncState.SYNCED
    assert not worker._reading.unwanted_until


def nothing_is_due(world: World) -> None:
    """As between two rounds over all books."""
    world.worker._deadlines.set(ALL, math.inf)
    for name in (RESTLESS, world.book.key):
        world.worker._deadlines.drop(name)


async def test_what_was_heard_of_while_its_stream_was_left_alone_is_read_when_that_is_over(
    world: World,
) -> None:
    """Its entry is not heard of again, and no other may follow for long."""
    worker, book, rounds = world.worker, world.book, world.worker._rounds
    rounds._gather_s = 0.0
    await worker.step(await rounds.next(time.monotonic()))
    nothing_is_due(world)
    worker._reading.leave_alone([book.key], math.inf)
    await world.event()
    heard = await rounds.next(time.monotonic() + 60)
    assert heard
    assert heard.keys() == {book.key}
    await worker.step(None)  # as if more was gathered: a round over all but those left alone
    assert book.sync.last_update_id == world.u - 1
    worker._reading.leave_alone([book.key], time.monotonic())
    await worker.step(await rounds.next(time.monotonic()))
    assert book.sync.last_update_id == world.u
    assert not worker._reading.unwanted_until


async def test_a_book_found_wrong_under_load_is_withdrawn_by_the_next_round(world: World) -> None:
    worker, book = world.worker, world.book
    for _ in range(2):
        await worker.step()
    assert await world.shown()
    assert book.settled
    nothing_is_due(world)
    worker._rounds.took(10_000, more=False)
    book.sync.lose("found wrong elsewhere", 1)
    book.noticed()
    ready = await worker._rounds.next(math.inf)
    assert ready is None
    await worker.step(ready)
    assert not await world.shown()


async def test_a_book_that_is_given_back_leaves_no_stream_alone(world: World) -> None:
    world.worker._reading.leave_alone([world.book.key], time.monotonic() + 60)
    assert world.worker._reading.unwanted_until
    world.worker.forget(world.book.claim)
    assert not world.worker._reading.unwanted_until
    await world.take_over()
    assert not world.worker._reading.unwanted_until
