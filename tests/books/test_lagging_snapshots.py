"""Snapshots that lag the stream by more than is buffered, or are wrong: what the owner of a book makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from books_world import KEYS, S, World
from redis.asyncio import Redis

from workers.model.books.sync import SyncState
from workers.runtime.proxies import Sessions
from workers.store.books.publishing import BookStore
from workers.store.log.streams import RawEntry, RawStreams

LAG = 700
"""Events: a buffer holds 500, and at 25 a second they are half a minute."""


@pytest.fixture
async def world(real_server: str) -> AsyncIterator[World]:
    async with Sessions() as session:
        world = World(real_server, session)
        world.worker._settings.books.two_snapshots = True
        await world.client.flushall()  # the server is this test process's own
        await world.take_over()
        yield world
        await world.fetcher.close()
        await world.worker._history.close()
        await world.worker._reader_client.aclose()
        await world.process.client.aclose()
        await world.client.aclose()


async def busy(world: World, events: int) -> None:
    for number in range(events):
        await world.event()
        if number % 100 == 99:
            await world.worker.step()
    await world.worker.step()


async def answered(world: World) -> None:
    world.book.snapshot_at = 1.0  # the pause is over
    world.fetcher.consider(world.book, 1e9)
    world.fetcher.start_busiest()
    await asyncio.gather(*world.fetcher._tasks)


async def test_a_snapshot_that_lags_by_more_than_the_buffer_syncs_over_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy(world, LAG + 100)
    world.answer(monkeypatch, world.u - LAG, '[["9","5"],["8","1"]]')
    await answered(world)
    assert world.book.sync.state is SyncState.SYNCED
    assert world.book.sync.last_update_id == world.u
    assert world.book.sync.book.best_bid == ("9", str(world.u))  # the newest event's
    assert not await world.shown()
    await busy(world, 20)
    world.answer(monkeypatch, world.u - LAG, f'[["9","{world.u - LAG}"],["8","1"]]')
    await answered(world)
    await world.worker.step()
    assert not world.book.sync.single_source
    assert await world.shown()


async def test_the_log_that_does_not_reach_back_is_no_book(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy(world, LAG)
    world.answer(monkeypatch, 20, '[["9","5"],["8","1"]]')  # before the first event
    await answered(world)
    assert world.book.sync.state is SyncState.WAITING
    await busy(world, 1)
    await world.event(missed=3)
    await busy(world, 5)
    world.answer(monkeypatch, world.u - 50, '[["9","5"],["8","1"]]')  # before a gap
    await answered(world)
    assert world.book.sync.state is not SyncState.SYNCED


async def test_a_wrong_snapshot_is_never_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await busy(world, 10)
    world.answer(monkeypatch, world.u, f'[["9","{world.u}"],["8","77"]]')  # really 1
    await answered(world)
    assert await world.state() == "unconfirmed"
    assert not await world.shown()
    assert await world.stored()
    await busy(world, 3)
    world.answer(monkeypatch, world.u, f'[["9","{world.u}"],["8","1"]]')
    await answered(world)
    assert (world.book.sync.state, world.book.sync.reason) == (SyncState.BROKEN, "snapshot mismatch")
    assert await world.state() == "broken"
    for _ in range(2):
        await busy(world, 3)
        world.answer(monkeypatch, world.u, f'[["9","{world.u}"],["8","1"]]')
        await answered(world)
    assert await world.state() == "synced"
    assert await world.shown()
    [shown] = [await world.client.hget(KEYS.live_orderbook, S)]
    assert b'["8","1"]' in bytes(shown or b"")


async def test_a_successor_shows_nothing_that_was_not_borne_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy(world, 10)
    world.answer(monkeypatch, world.u, f'[["9","{world.u}"],["8","77"]]')
    await answered(world)
    await world.worker.step()
    assert (await world.stored()).single_source
    await world.take_over()
    assert await world.state() == "unconfirmed"
    assert not await world.shown()


async def test_it_costs_a_small_request_that_goes_before_first_syncs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float]] = []

    async def get(request: Any, urgency: float, *_: Any) -> bytes:
        asked.append((request.url, urgency))
        return f'{{"lastUpdateId":{world.u},"bids":[["9","{world.u}"]],"asks":[["11","2"]]}}'.encode()

    monkeypatch.setattr(world.fetcher._rest, "get", get)
    await busy(world, 10)
    await answered(world)
    await busy(world, 1)
    await answered(world)
    assert [url.partition("limit=")[2] for url, _ in asked] == ["2", "50"]
    assert asked[1][1] > asked[0][1]


async def test_the_place_of_an_id_in_the_log_is_found(client: Redis) -> None:
    key, store = KEYS.raw(S, "depth"), BookStore(client, KEYS, 10)

    async def from_id(update_id: int) -> list[int]:
        pages = [page async for page in store.log_from(S, update_id)]
        return [int(entry.stream_id.partition(b"-")[2]) for page in pages for entry in page]

    assert await from_id(5) == []
    times = [1_000, 1_000, 1_007, 1_007, 1_007, 9_000, 9_001, 500_000]
    entries = [RawEntry(key, ms, 10 * number, b"{}", 1, "a") for number, ms in enumerate(times, 1)]
    await RawStreams(client, 10**9).append(entries, {key: 10**9})
    ids = [entry.update_id for entry in entries]
    for update_id in range(1, 95):
        assert await from_id(update_id) == [one for one in ids if one >= update_id], update_id
