"""The books worker while its snapshots, which are fetched beside its loop, take a book out of sync."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.worker import BookWorker
from workers.context import venue_contexts
from workers.model.checkpoint import decode_checkpoint
from workers.model.events import Snapshot
from workers.ownership import Claim
from workers.process import Process
from workers.settings import BookSettings, Settings, VenueSettings
from workers.store.keys import Keys

S = "BNBBTC"
KEYS = Keys()


class World:
    """One worker with one spot book, whose rounds the test runs; nothing is fetched."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        books = BookSettings(publish_ms=0, commit_ms=0, refresh_below=0)
        settings = Settings(venues={"spot": VenueSettings(market="spot", symbols=[S])}, books=books)
        self.process = Process("books", settings, 0, url)
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.worker = BookWorker(self.process, session)
        self.store: Any = self.worker._stores["spot"]
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
        snapshot = Snapshot(S, self.u, [("9", "1"), ("8", "1")], [("11", "2"), ("12", "2")], limit=1000)
        self.book.sync.on_snapshot(snapshot, 1)
        self.book.noticed()

    async def event(self) -> None:
        self.u += 1
        data = f'{{"s":"{S}","E":{self.u},"U":{self.u},"u":{self.u},"b":[["9","{self.u}"]],"a":[]}}'
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

    async def stored_as_synced(self) -> bool:
        stored = await self.client.get(KEYS.book_checkpoint(S))
        assert stored is not None
        return decode_checkpoint(bytes(stored)).synced


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
    assert await world.stored_as_synced()
    await world.event()
    lost = world.lost_during("commit", monkeypatch)
    await world.worker.step()
    assert lost
    await world.worker.step()
    assert not await world.stored_as_synced(), "the next owner would go on with a book found wrong"


async def test_a_book_lost_while_it_is_handed_over_is_handed_over_as_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.worker.step()
    assert await world.stored_as_synced()
    lost = world.lost_during("commit", monkeypatch)
    await world.worker.hand_over(world.book.claim)
    assert lost
    assert not await world.stored_as_synced()
