"""A books worker with one spot book, whose rounds a test runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.worker import BookWorker
from workers.model.books.checkpoint import Checkpoint, decode_checkpoint
from workers.model.events import Snapshot
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import BookSettings, Settings
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

S = "BNBBTC"
KEYS = Keys()


class World:
    """One worker with one spot book, whose rounds the test runs; nothing is fetched."""

    def __init__(self, url: str, session: Sessions) -> None:
        venue = BinanceSettings(market="spot", symbols=[S], snapshot_depth=2)
        books = BookSettings(publish_ms=0, commit_ms=0, two_snapshots=False)
        settings = Settings(venues={"spot": venue}, books=books)
        self.process = Process("books", settings, 0, url)
        self.client: Redis = Redis.from_url(url, protocol=2)
        self.worker = BookWorker(self.process, session)
        self.store: Any = self.worker._stores["spot"]
        self.fetcher = self.worker._fetchers["spot"]
        self.u = 100

    async def begin(self) -> None:
        await self.client.flushall()  # the server is this test process's own
        await self.take_over()
        await self.event()
        await self.worker.step()
        self.synced()

    async def take_over(self) -> None:
        """The worker takes up the book under a lease of its own."""
        self.worker.ownership._leases["spot"].held.clear()
        await self.client.delete(KEYS.lease("books", S))
        leases = self.worker.ownership._leases["spot"]
        assert await leases.take([S]) == {S}
        await self.worker.recover(Claim(self.worker._contexts[0], S), leases.held[S])

    async def line(self, since_ms: int) -> None:
        """A line that delivers, and has lived since then."""
        told = {"alive": "spot", "beat_ms": int(time.time() * 1000) + 60_000, "since_ms": since_ms}
        await self.process.registry.beat("ingest-a", "line-a", told)
        self.worker._lines._asked_at = 0.0

    async def state(self) -> str:
        """What the status says."""
        self.book.status_at = 0.0
        self.worker._look_after_at = 0.0
        await self.worker.step()
        found = await self.client.hget(KEYS.book_status(S), "state")
        assert found is not None
        return bytes(found).decode()

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

    async def event(self, bids: str = "", *, missed: int = 0, ago_ms: int = 0) -> None:
        """The next event, after some that were missed, received some time ago."""
        self.u += 1 + missed
        now_ms = int(time.time() * 1000) - ago_ms
        bids = bids or f'[["9","{self.u}"]]'
        data = f'{{"s":"{S}","E":{now_ms},"U":{self.u},"u":{self.u},"b":{bids},"a":[]}}'
        await self.client.xadd(
            KEYS.raw(S, "depth"), {"data": data, "received": now_ms * 1000, "line": "a"}, id=f"1-{self.u}"
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
