"""The books worker and its snapshots, which are fetched beside its loop and may change a book at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.worker import BookWorker
from workers.context import venue_contexts
from workers.model.checkpoint import Checkpoint, decode_checkpoint
from workers.model.events import Snapshot
from workers.model.sync import SyncState
from workers.ownership import Claim
from workers.process import Process
from workers.settings import BookSettings, Settings, VenueSettings
from workers.store.keys import Keys

S = "BNBBTC"
KEYS = Keys()


class World:
    """One worker with one spot book, whose rounds the test runs; nothing is fetched."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        venue = VenueSettings(market="spot", symbols=[S], snapshot_depth=2)
        books = BookSettings(publish_ms=0, commit_ms=0)
        settings = Settings(venues={"spot": venue}, books=books)
        self.process = Process("books", settings, 0, url)
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.worker = BookWorker(self.process, session)
        self.store: Any = self.worker._stores["spot"]
        self.fetcher = self.worker._fetchers["spot"]
        self.u = 100

    async def begin(self) -> None:
        await self.client.flushall()  # the server is this test process's own
        [context] = venue_contexts(self.process.settings)
        claim = Claim(self.worker._contexts[0], S)
        leases = self.worker.ownership._leases[context.name]
        assert await leases.take([S]) == {S}
        await self.worker.recover(claim, leases.held[S])
        await self.event()
        await self.worker.step()
        self.synced()

    @property
    def book(self) -> OwnedBook:
        return self.worker.books[KEYS.raw(S, "depth")]

    def synced(self) -> None:
        snapshot = Snapshot(S, self.u, [("9", "1"), ("8", "1")], [("11", "2"), ("12", "2")], limit=2)
        self.book.sync.on_snapshot(snapshot, 1)
        self.book.noticed()

    def answer(self, monkeypatch: pytest.MonkeyPatch, update_id: int, bids: str) -> None:
        """What REST answers from now on."""
        body = f'{{"lastUpdateId":{update_id},"bids":{bids},"asks":[["11","2"],["12","2"]]}}'

        async def get(*_: Any) -> bytes:
            return body.encode()

        monkeypatch.setattr(self.fetcher._rest, "get", get)

    async def fetch(self, now: float) -> None:
        """The book is considered, and what was asked for is answered."""
        self.fetcher.consider(self.book, now)
        await asyncio.gather(*self.fetcher._tasks)

    async def event(self, bids: str = "") -> None:
        self.u += 1
        bids = bids or f'[["9","{self.u}"]]'
        data = f'{{"s":"{S}","E":{self.u},"U":{self.u},"u":{self.u},"b":{bids},"a":[]}}'
        await self.client.xadd(
            KEYS.raw(S, "depth"), {"data": data, "received": "1", "line": "a"}, id=f"1-{self.u}"
        )

    def lost_during(self, call: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """A snapshot contradicts the book once, while the server answers a call of the store."""
        real: Callable[..., Any] = getattr(self.store, call)
        lost: list[bool] = []

        async def meanwhile(*arguments: Any) -> Any:
            answer = await real(*arguments)
            if not lost:
                lost.append(True)
                self.book.sync.lose("snapshot mismatch", 1)
                self.book.noticed()
            return answer

        monkeypatch.setattr(self.store, call, meanwhile)
        return lost

    async def shown(self) -> bool:
        return bool(await self.client.hexists(KEYS.live_orderbook, S))

    async def stored(self) -> Checkpoint:
        found = await self.client.get(KEYS.book_checkpoint(S))
        assert found is not None
        return decode_checkpoint(bytes(found))


@pytest.fixture
async def world(real_server: str) -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as session:
        made = World(real_server, session)
        await made.begin()
        yield made
        await made.worker._reader_client.aclose()
        await made.process.client.aclose()
        await made.client.aclose()


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
