"""Entries that the owner of a book never gets, where no id of the next one shows it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.reading import LATE_S
from workers.books.worker import BookWorker
from workers.model.books.checkpoint import decode_checkpoint
from workers.model.books.sync import SnapshotOutcome, SyncState
from workers.model.events import Snapshot
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import BookSettings, Settings
from workers.store.keys import Keys
from workers.venues.bitstamp.settings import BitstampSettings

S, KEYS = "BTCUSD", Keys()
KEY = KEYS.raw(S, "depth")
BEGAN_US = 1_790_000_000_000_000


class Bitstamp:
    """A worker with one book whose ids only order its events."""

    def __init__(self, url: str, sessions: Sessions) -> None:
        books = BookSettings(two_snapshots=False)
        settings = Settings(venues={"bitstamp": BitstampSettings(symbols=[S])}, books=books)
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.process = Process("books", settings, 0, url)
        self.worker = BookWorker(self.process, sessions)
        self.at_us = BEGAN_US

    async def begin(self) -> None:
        await self.client.flushall()  # the server is this test process's own
        leases = self.worker.ownership._leases["bitstamp"]
        await leases.take([S])
        await self.worker.recover(Claim(self.worker._contexts[0], S), leases.held[S])
        await self.event()
        await self.worker.step()
        snapshot = Snapshot(S, self.at_us, [("9", "1"), ("8", "1")], [("11", "2"), ("12", "2")], limit=2)
        self.book.sync.on_snapshot(snapshot, 1)
        self.book.noticed()
        await self.event()
        await self.worker.step()
        assert self.book.sync.state is SyncState.SYNCED
        self.book.freshness.proven()

    @property
    def book(self) -> OwnedBook:
        return self.worker.books[KEY]

    async def event(self, level: str = '["9","{}"]') -> None:
        self.at_us += 1_000_000
        bids = level.format(self.at_us)
        data = f'{{"timestamp":"1","microtimestamp":"{self.at_us}","bids":[{bids}],"asks":[]}}'
        frame = f'{{"event":"data","channel":"diff_order_book_btcusd","data":{data}}}'
        fields = {"data": frame, "received": self.at_us, "line": "a"}
        await self.client.xadd(KEY, fields, id=f"{self.at_us // 1000}-{self.at_us}")


@pytest.fixture
async def world(real_server: str) -> AsyncIterator[Bitstamp]:
    async with Sessions(limit=1) as sessions:
        made = Bitstamp(real_server, sessions)
        await made.begin()
        yield made
        for fetcher in made.worker._fetchers.values():
            await fetcher.close()
        await made.worker._history.close()
        await made.worker._rounds.close()
        await made.client.aclose()


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("trimmed", [False, True])
async def test_no_book_goes_on_over_what_no_id_shows_to_be_missing(
    world: Bitstamp, heard: bool, trimmed: bool
) -> None:
    """The worker was stopped for longer than the log reaches back."""
    world.book.current_at = time.monotonic() - LATE_S - 1
    for _ in range(3):
        await world.event()
    if trimmed:
        await world.client.xtrim(KEY, maxlen=2, approximate=False)
    ready = await world.worker._rounds.next(time.monotonic() + 1) if heard else None
    await world.worker.step(ready)
    assert world.book.last_stream_id.endswith(b"%d" % world.at_us)
    if trimmed:
        assert (world.book.sync.state, world.book.sync.reason) == (
            SyncState.BROKEN,
            "trimmed before it was read",
        )
        assert world.book.sync.oldest_usable_id == world.at_us - 1_000_000  # no snapshot from before will do
        assert not await world.client.hexists(KEYS.live_orderbook, S)
    else:
        assert world.book.sync.state is SyncState.SYNCED
        assert world.book.sync.last_update_id == world.at_us


async def test_no_book_goes_on_over_what_was_given_to_an_earlier_owner(world: Bitstamp) -> None:
    """That one was stopped between looking at its lease and reading."""
    await world.event()
    late: Any = world.client
    assert await late.xreadgroup("books", "owner", {KEY: ">"}, count=1)
    await world.event()
    world.book.committed_at = 0.0
    await world.worker.step()
    assert (world.book.sync.state, world.book.sync.reason) == (SyncState.BROKEN, "read elsewhere")
    await world.worker.step()
    assert not await world.client.hexists(KEYS.live_orderbook, S)
    assert (await late.xpending(KEY, "books"))["pending"] <= 1


@pytest.mark.parametrize("waiting", [False, True])
async def test_no_book_begins_with_a_snapshot_from_before_a_change_that_cannot_be_read(
    world: Bitstamp, waiting: bool
) -> None:
    """The next event follows it all the same."""
    before, sync = world.at_us, world.book.sync
    if waiting:
        sync.lose("crossed", 2)
        await world.event()
    await world.event("null")
    await world.event()
    await world.worker.step()
    assert (sync.state, sync.reason) == (SyncState.BROKEN, "malformed entry")
    assert sync.oldest_usable_id == world.at_us
    snapshot = Snapshot(S, before, [("9", "1")], [("11", "2")], limit=2)
    assert sync.on_snapshot(snapshot, 3) is SnapshotOutcome.TOO_OLD
    fetcher = world.worker._fetchers["bitstamp"]
    assert await fetcher._over_the_log(world.book, snapshot) is SnapshotOutcome.TOO_OLD
    assert sync.state is SyncState.BROKEN


async def test_what_a_destroyed_group_had_given_is_in_a_checkpoint_at_once(world: Bitstamp) -> None:
    """The owner makes the group anew behind it: an owner after a kill would go on there from an older checkpoint."""
    await world.event()
    await world.worker.step()
    await world.client.xgroup_destroy(KEY, "books")
    for _ in range(2):  # one finds it, the next stores the book
        await world.worker.step()
    stored = await world.client.get(KEYS.book_checkpoint(S))
    assert stored is not None
    assert decode_checkpoint(bytes(stored)).last_update_id == world.at_us
