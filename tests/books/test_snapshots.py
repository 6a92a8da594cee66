"""Who asks for a snapshot first when the budget does not suffice for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
from structlog.testing import capture_logs

from workers.books.book import STEADY_S, OwnedBook
from workers.books.snapshots import SnapshotFetcher
from workers.errors import BadNumber, LeaseLost, RestUnavailable
from workers.model.books.sync import SyncState
from workers.model.events import Snapshot
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings, Settings
from workers.store.books.publishing import BookStore
from workers.store.fleet.budget import Urgency
from workers.store.log.streams import Delivered
from workers.venues.binance.settings import BinanceSettings
from workers.venues.requests import RestRequest

NAMES = ["A", "B", "C", "D"]


class Rest:
    """A budget that grants one request at a time, when the test says so; the answers never come."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Urgency]] = []
        self.fails = False
        self.asked: list[Callable[[], int]] = []
        """What each asks again while it waits."""
        self.body = b""
        """What is answered at once, if anything."""
        self._leave = asyncio.Semaphore(0)

    async def get(
        self,
        request: RestRequest,
        urgency: Urgency,
        timeout_s: float,
        granted: Callable[[], None] | None = None,
        spared: Callable[[], int] = lambda: 0,
    ) -> bytes:
        symbol = request.url.partition("symbol=")[2].partition("&")[0]
        self.waiting.append((symbol, urgency))
        self.asked.append(spared)
        if self.body:
            return self.body
        await self._leave.acquire()
        if self.fails:
            raise RestUnavailable(request.url, 503, "of course")
        if granted is not None:
            granted()
        return await asyncio.get_running_loop().create_future()

    async def grant(self) -> None:
        self._leave.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class World:
    """Four spot books of one fetcher."""

    def __init__(self) -> None:
        venue = BinanceSettings(market="spot", symbols=NAMES)
        settings = Settings(venues={"spot": venue}, books=BookSettings(snapshot_delay_ms=0))
        self.rest = Rest()
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        [context] = venue_contexts(settings)
        rest: Any = self.rest
        self.failed: list[Exception] = []
        self.given_away: set[str] = set()
        self.fetcher = SnapshotFetcher(
            rest,
            BookStore(client, context.keys, 10),
            settings,
            lambda book: book.claim.symbol not in self.given_away,
            lambda book, error: self.failed.append(error),
            lambda: 0,
        )
        self.books = {
            name: OwnedBook(Claim(context, name), 1, context.venue.book_rule.sync(name), settings.books)
            for name in NAMES
        }
        self._u = 0

    def events(self, **counts: int) -> None:
        for name, count in counts.items():
            for _ in range(count):
                self._u += 1
                data = f'{{"s":"{name}","E":1,"U":{self._u},"u":{self._u},"b":[],"a":[]}}'
                self.books[name].take(Delivered(f"1-{self._u}".encode(), data.encode(), 0), 0)

    async def round(self, now: float = 1e9) -> list[str]:
        """What each round of the worker does; the symbols that have asked so far."""
        for book in self.books.values():
            self.fetcher.consider(book, now)
        self.fetcher.start_busiest()
        await asyncio.sleep(0)
        return [symbol for symbol, _ in self.rest.waiting]


@pytest.fixture
async def world() -> World:
    return World()


async def test_the_busiest_book_asks_first_and_one_waits_at_a_time(world: World) -> None:
    world.events(A=2, B=5, C=1, D=3)
    assert await world.round() == ["B"]
    world.events(C=10)
    assert await world.round() == ["B"]
    await world.rest.grant()
    assert await world.round() == ["B", "C"]  # busier than D by now
    await world.rest.grant()
    assert await world.round() == ["B", "C", "D"]
    await world.fetcher.close()


async def test_a_book_that_was_lost_does_not_wait_behind_the_first_syncs(world: World) -> None:
    world.events(A=1)
    book = world.books["A"]
    book.sync.on_snapshot(Snapshot("A", world._u, [("1", "1")], [("2", "1")], limit=1000), 0)
    book.noticed()
    assert book.sync.state is SyncState.SYNCED
    world.events(B=9)
    assert await world.round() == ["B"]
    book.sync.lose("crossed", 0)
    book.noticed()
    book.snapshot_at = 0.0
    assert await world.round() == ["B", "A"]
    assert world.rest.waiting == [("B", Urgency.START), ("A", Urgency.BROKEN)]
    await world.fetcher.close()


async def test_a_failed_request_lets_the_next_one_go(world: World) -> None:
    world.events(A=2, B=5)
    assert await world.round() == ["B"]
    world.rest.fails = True
    await world.rest.grant()
    assert await world.round(0.0) == ["B", "A"]  # B pauses
    await world.fetcher.close()


async def test_a_book_lost_again_and_again_asks_ever_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever spoils it goes on, and each new snapshot would be weight that the others lack."""
    now = [1_000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    monkeypatch.setattr("workers.books.book.time", clock)
    monkeypatch.setattr("workers.books.snapshots.time", clock)
    book, pauses = world.books["A"], list[float]()

    async def synced() -> None:
        """By a snapshot that was asked for."""
        world.events(A=1)
        body = f'{{"lastUpdateId":{world._u},"bids":[["1","1"]],"asks":[["2","1"]]}}'
        world.rest.body = body.encode()
        await world.round(now[0])
        await asyncio.gather(*world.fetcher._tasks)
        assert book.sync.state is SyncState.SYNCED

    for steady_s in (STEADY_S, 1, 1, 1, STEADY_S, 1):
        await synced()
        now[0] += steady_s
        book.sync.lose("gap", 0)
        book.noticed()
        pauses.append(book.snapshot_at - now[0])
        now[0] = book.snapshot_at
    assert pauses == [0, 1, 2, 4, 0, 1]
    await synced()
    book.sync.begin_refresh()
    world.rest.body = world.rest.body.replace(b'["1","1"]', b'["1","7"]')
    book.freshness.to_confirm = True
    now[0] += 1
    await world.round(now[0])
    await asyncio.gather(*world.fetcher._tasks)
    assert book.sync.reason == "snapshot mismatch"
    assert book.snapshot_at - now[0] == 2
    await world.fetcher.close()


async def test_a_snapshot_that_was_ahead_of_the_stream_and_agreed_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REST is often a little ahead: the range of a book in a trend was moved ever more rarely, a lost one waited."""
    clock = SimpleNamespace(monotonic=lambda: 1_000.0, time_ns=time.time_ns)
    monkeypatch.setattr("workers.books.book.time", clock)
    monkeypatch.setattr("workers.books.snapshots.time", clock)
    book = world.books["A"]

    async def answered(ahead: int) -> None:
        body = f'{{"lastUpdateId":{world._u + ahead},"bids":[["1","1"]],"asks":[["2","1"]]}}'
        world.rest.body = body.encode()
        await world.round(book.snapshot_at)
        await asyncio.gather(*world.fetcher._tasks)

    world.events(A=1)
    await answered(0)
    for _ in range(5):
        book.unsaved = False
        book.sync.begin_refresh()
        book.freshness.to_confirm = True
        await answered(1)
        assert not book.unsaved
        world.events(A=1)  # brings it there
        assert book.unsaved, "the next owner would have to ask again"
        assert book.snapshot_at == 1_001.0
    await world.fetcher.close()


async def test_a_number_that_cannot_be_used_is_named(world: World) -> None:
    """The book is not shown because of it: whoever looks for the reason must find it."""
    world.events(A=1)
    world.rest.body = b'{"lastUpdateId":1,"bids":[["1E-7","1"]],"asks":[["2","1"]]}'
    with capture_logs() as logs:
        await world.round()
        await asyncio.gather(*world.fetcher._tasks)
    assert [entry["error"] for entry in logs if entry["event"] == "snapshot"] == [
        str(BadNumber("1E-7", "price"))
    ]
    book = world.books["A"]
    book.sync.on_snapshot(Snapshot("A", world._u, [("1", "1")], [("2", "1")], limit=1000), 0)
    book.noticed()
    data = b'{"s":"A","E":1,"U":2,"u":2,"b":[["1","1E5"]],"a":[]}'
    with capture_logs() as logs:
        book.take(Delivered(b"1-2", data, 0), 0)
    assert [entry["error"] for entry in logs if entry["event"] == "sync_lost"] == [
        str(BadNumber("1E5", "quantity"))
    ]
    await world.fetcher.close()


async def test_a_book_that_is_anothers_waits_for_no_leave_any_more(world: World) -> None:
    """A ban may last for days, and books change hands meanwhile: each owner would ask when it is over."""
    world.events(A=1)
    await world.round()
    assert world.rest.asked[0]() == 0
    world.given_away.add("A")
    with pytest.raises(LeaseLost):
        world.rest.asked[0]()
    await world.fetcher.close()
