"""The books worker and its snapshots, which are fetched beside its loop and may change a book at any time."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from books_world import KEYS, S, World
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.books import reading
from workers.books.book import BEHIND
from workers.books.status import status_fields
from workers.books.worker import ALL
from workers.model.books.sync import SyncState
from workers.runtime.rounds import Heard
from workers.store.log.doorbell import new_entries


async def test_a_book_lost_while_it_is_published_is_withdrawn_in_the_next_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.worker.step()
    assert await world.shown()
    await world.event()
    assert world.lost_during("publish", monkeypatch) == []
    await world.worker.step()
    assert not world.book.showable
    assert await world.shown(), "what was written before the loss is still there"
    await world.worker.step()
    assert not await world.shown()


async def test_a_book_lost_while_it_is_committed_is_committed_as_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.worker.step()
    assert (await world.stored()).synced
    await world.event()
    lost = world.lost_during("commit", monkeypatch)
    await world.worker.step()
    assert lost
    await world.worker.step()
    assert not (await world.stored()).synced, "the next owner would go on with a book found wrong"


async def test_a_book_lost_while_it_is_handed_over_is_handed_over_as_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.worker.step()
    assert (await world.stored()).synced
    lost = world.lost_during("commit", monkeypatch)
    await world.worker.hand_over(world.book.claim)
    assert lost
    assert not (await world.stored()).synced


async def test_a_range_that_a_snapshot_has_moved_is_stored_though_no_event_follows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.event('[["9","1"],["8","0"]]')
    await world.worker.step()
    await world.worker.step()
    assert (await world.stored()).known == ("8", "12")
    world.book.sync.begin_refresh()
    world.answer(monkeypatch, world.u, '[["9","1"],["7","1"]]')
    assert await world.fetcher._ask(world.book) == "refreshed"
    await world.worker.step()
    assert (await world.stored()).known == ("7", "12")


async def test_a_refresh_answered_too_early_is_not_begun_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.event('[["9","0"],["8","0"],["8.2","1"]]')
    await world.worker.step()
    assert world.book.sync.book.edge_distance() < 0.5
    world.answer(monkeypatch, world.u - 1, '[["9","1"],["8","1"]]')
    await world.fetch(1e9)
    asked_at = world.u
    await world.event('[["8.2","2"]]')
    await world.worker.step()
    assert world.book.sync.book.known_low == "8"
    world.answer(monkeypatch, asked_at, '[["8.2","1"],["7","1"]]')
    await world.fetch(2e9)
    assert world.book.sync.book.known_low == "7"
    assert world.book.sync.state is SyncState.SYNCED


async def test_a_book_taken_over_is_not_shown_before_its_stream_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that was under way when it was recovered has not read its stream."""
    await world.worker.step()
    await world.client.hset(KEYS.live_orderbook, S, "what the last owner showed")
    await world.event(missed=3)
    await world.take_over()
    real, published = world.store.publish, []

    async def publish(publications: Any) -> Any:
        published.extend(one.payload for one in publications)
        return await real(publications)

    monkeypatch.setattr(world.store, "publish", publish)
    await world.worker._publishing.publish([world.book])
    assert published == []
    await world.state()
    assert published == [None]
    assert not await world.shown()


async def old(world: World) -> int:
    """The stored book is 40 s old; ms of its last event."""
    await world.event(ago_ms=40_000)
    await world.worker.step()
    await world.worker.step()
    return world.book.sync.last_event_time


@pytest.mark.parametrize("lived", [True, False])
async def test_an_old_book_taken_over_is_shown_if_a_line_has_lived_since(world: World, lived: bool) -> None:
    heard_ms = await old(world)
    await world.line(heard_ms + (-1_000 if lived else 1_000))
    await world.take_over()
    assert await world.state() == ("synced" if lived else "stale")
    assert await world.shown() == lived
    assert int(status_fields(world.book, "x")["age_ms"]) >= 40_000


async def test_an_old_book_taken_over_is_not_shown_while_there_is_no_line(world: World) -> None:
    await old(world)
    await world.take_over()
    assert await world.state() == "stale"
    assert not await world.shown()


async def test_a_line_that_died_with_the_last_owner_proves_nothing(world: World) -> None:
    heard_ms = await old(world)
    told = {"alive": "spot", "beat_ms": int(time.time() * 1000) - 1_000, "since_ms": heard_ms - 1_000}
    await world.process.registry.beat("ingest-b", "line-b", told)
    await world.line(heard_ms + 1_000)
    await world.take_over()
    assert await world.state() == "stale"


@pytest.mark.parametrize("line", [True, False])
async def test_nor_when_what_the_last_owner_left_unread_is_old_too(world: World, line: bool) -> None:
    heard_ms = await old(world)
    await world.event(ago_ms=39_000)
    await world.take_over()
    if line:
        await world.line(heard_ms + 2_000)
    assert await world.state() == "stale"
    assert world.book.sync.last_update_id == world.u
    assert not await world.shown()


@pytest.mark.parametrize("missed", [0, 1])
async def test_it_is_shown_again_when_an_event_follows(world: World, missed: int) -> None:
    await world.line(await old(world) + 1_000)
    await world.take_over()
    assert await world.state() == "stale"
    await world.event(missed=missed)
    assert await world.state() == ("broken" if missed else "synced")
    assert await world.shown() == (not missed)


@pytest.mark.parametrize("missed", [0, 1])
async def test_or_when_a_snapshot_says_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, missed: int
) -> None:
    await world.line(await old(world) + 1_000)
    await world.take_over()
    assert await world.state() == "stale"
    world.answer(monkeypatch, world.u + missed, f'[["9","{world.u}"],["8","{1 + missed}"]]')
    await world.fetch(1e9)
    assert await world.state() == ("stale" if missed else "synced")
    assert await world.shown() == (not missed)


async def test_a_book_that_lacks_what_its_stream_brought_is_withheld_as_behind(world: World) -> None:
    await world.event()
    assert await world.state() == "synced"
    assert await world.shown()
    world.book.current_at -= world.worker._settings.books.behind_ms / 1000 + 1
    now = time.monotonic()
    world.book.read_until(
        now, world.book.received_us + 36_000_000, end=False
    )  # 36 s behind, and not at the end
    before = BEHIND.labels("spot")._value.get()
    await world.worker._publishing.publish([world.book])
    assert not await world.shown()
    found = await world.client.hgetall(KEYS.book_status(S))  # type: ignore[misc]
    assert found[b"state"] == b"behind"
    assert int(found[b"behind_ms"]) > 2_000
    assert BEHIND.labels("spot")._value.get() == before + 1
    await world.worker.step()  # its stream is read to the end
    assert await world.state() == "synced"
    assert await world.shown()


async def test_a_worker_that_cannot_read_withholds_its_books(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.event()
    assert await world.state() == "synced"

    async def away(*_: Any) -> Any:
        raise RedisConnectionError("away")

    monkeypatch.setattr(world.worker._reader, "new", away)
    world.book.current_at -= world.worker._settings.books.behind_ms / 1000 + 1
    with pytest.raises(RedisConnectionError):
        await world.worker.step()
    assert not await world.shown()


async def test_a_group_that_is_destroyed_is_made_anew_where_the_book_stands(world: World) -> None:
    await world.event()
    await world.worker.step()
    applied = world.book.applied
    await world.client.xgroup_destroy(KEYS.raw(S, "depth"), "books")
    await world.event()
    for _ in range(3):
        await world.worker.step()
    assert world.book.applied == applied + 1
    assert world.book.sync.last_update_id == world.u
    assert await world.state() == "synced"


async def test_a_former_owner_takes_no_entry_from_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.worker.ownership, "safe", lambda _: False)
    await world.event()
    await world.worker.step()
    [group] = await world.client.xinfo_groups(KEYS.raw(S, "depth"))
    assert group["last-delivered-id"] != b"1-%d" % world.u


async def test_a_recovery_commits_as_it_goes_and_ends_when_the_symbol_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many entries left behind by the last owner those that were folded need not be folded again."""
    monkeypatch.setattr(reading, "PENDING_AT_ONCE", 10)
    await world.event()
    await world.worker.step()
    first = (await world.stored()).last_update_id
    assert first == world.u
    for _ in range(50):
        await world.event()
    await world.client.xreadgroup("books", "owner", {KEYS.raw(S, "depth"): ">"})
    looks = iter([True, True])
    monkeypatch.setattr(world.worker.ownership, "owns", lambda *_: next(looks, False))
    await world.take_over()
    assert first < (await world.stored()).last_update_id < world.u
    pending = (await world.client.xpending(KEYS.raw(S, "depth"), "books"))["pending"]
    assert 0 < pending < 50


async def test_a_book_taken_over_whose_stream_is_none_is_withdrawn_and_says_so(world: World) -> None:
    await world.worker.step()
    await world.worker.step()
    assert await world.shown()
    key = KEYS.raw(S, "depth")
    await world.client.delete(key)
    await world.client.set(key, "x")
    world.worker.forget(world.book.claim)
    await world.take_over()
    assert await world.state() == "unreadable"
    assert not await world.shown()


async def test_a_reason_of_two_lines_costs_no_book_its_publication(world: World) -> None:
    await world.client.set(KEYS.book_distrust(S), "found\nwrong")
    for _ in range(2):
        assert await world.state() in ("synced", "broken")
    assert await world.client.hget(KEYS.book_status(S), "reason") == b"found wrong"  # type: ignore[misc]
    assert not await world.shown()


async def test_what_no_owner_is_given_any_more_is_a_gap(world: World) -> None:
    """Its book would be recovered and lost again for ever, if it was taken for given to an earlier owner."""
    await world.event()
    await world.worker.step()
    await world.event()
    await world.client.xgroup_setid(KEYS.raw(S, "depth"), "books", "$")
    await world.event()
    await world.worker.step()
    await asyncio.gather(*world.worker._gaps._recording)
    assert world.book.sync.state is SyncState.BROKEN
    assert await world.client.xlen(KEYS.gaps(S)) == 1


async def round_over_all(world: World) -> None:
    world.worker._deadlines.set(ALL, 0.0)
    await world.worker.step()


async def test_a_book_that_waits_for_its_snapshot_is_not_committed_in_each_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.worker._settings.books
    settings.commit_ms, settings.commit_entries = 3_600_000, 3
    await world.event(missed=1)
    await round_over_all(world)
    await asyncio.gather(*world.worker._gaps._recording)
    for _ in range(5):
        await world.event()
    await round_over_all(world)
    assert world.book.sync.state is SyncState.BROKEN
    assert not world.book.lost  # which is stored at once
    committed: list[Any] = []
    real = world.store.commit

    async def commit(*arguments: Any) -> Any:
        committed.append(arguments)
        return await real(*arguments)

    monkeypatch.setattr(world.store, "commit", commit)
    await world.event()
    for _ in range(5):
        await round_over_all(world)
    assert committed == []
    assert len(world.book.delivery.pending) > settings.commit_entries
    world.book.committed_at -= 10 * 3_600
    await round_over_all(world)
    assert len(committed) == 1
    assert len(world.book.delivery.pending) == settings.commit_entries


async def test_what_the_log_has_from_before_is_no_news_for_who_has_read_nothing_yet(world: World) -> None:
    await world.event()
    await world.worker.step()
    await world.worker.step()
    key = KEYS.raw(S, "depth")
    assert (await world.client.xpending(key, "books"))["pending"] == 0
    await world.client.delete(KEYS.book_checkpoint(S))
    world.worker.forget(world.book.claim)
    await world.take_over()
    await world.worker.step()
    assert not world.book.heard
    place = world.book.last_stream_id
    heard = await new_entries(world.client, {key: place}, 10)
    assert len(heard[key]) == 2
    world.worker._deadlines.set(ALL, math.inf)  # or all would be read
    await world.worker.step({key: Heard(place, heard[key])})
    assert not world.book.heard


@pytest.mark.parametrize("data", [b"{}", b""])
async def test_a_book_is_lost_at_a_change_that_nobody_can_decode(world: World, data: bytes) -> None:
    """No other may follow that can: then it would be shown as it was for ever."""
    assert await world.state() == "synced"
    assert await world.shown()
    key = KEYS.raw(S, "depth")
    for number in (0, world.u):  # of before: nobody's, or a copy
        await world.client.xadd(key, {"data": data, "received": 1, "line": "a"}, id=f"2-{number}")
    assert await world.state() == "synced"
    await world.client.xadd(key, {"data": data, "received": 1, "line": "a"}, id=f"3-{world.u + 1}")
    assert await world.state() == "broken"
    assert await world.client.hget(KEYS.book_status(S), "reason") == b"malformed entry"  # type: ignore[misc]
    assert not await world.shown()
