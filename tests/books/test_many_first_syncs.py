"""More books than a minute's weight has full snapshots for: each is shown by small ones first, then gets its depth."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fakeredis
import msgspec
import pytest

from workers.books import snapshots
from workers.books.book import OwnedBook
from workers.books.snapshots import SnapshotFetcher
from workers.books.worker import LOOK_RESTLESS_S
from workers.model.books.sync import SyncState
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings, Settings
from workers.store.books.publishing import BookStore
from workers.store.fleet.budget import Budget, Urgency
from workers.store.log.streams import Delivered
from workers.venues.binance.settings import BinanceSettings
from workers.venues.requests import RestRequest

LEVELS = 300
"""That the exchange has on each side."""


@cache
def side_text(sign: int, levels: int) -> str:
    side = [[str(10_000 + sign * place), "1"] for place in range(1, levels + 1)]
    return msgspec.json.encode(side).decode()


class World:
    """Books of USD-M futures whose exchange answers each request at once, with a book that has gone on."""

    def __init__(self, count: int, quiet: Collection[str] = ()) -> None:
        self.names = [f"S{number:02d}" for number in range(count)]
        venue = BinanceSettings(market="usdm", symbols=self.names, snapshot_depth=500)
        settings = Settings(
            venues={"usdm": venue}, books=BookSettings(snapshot_delay_ms=0, compare_after_ms=0)
        )
        self.client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        [self.context] = venue_contexts(settings)
        self.asked: list[tuple[str, int, int]] = []
        """Symbol, limit and weight of each request."""
        self.settings = settings.books
        rest: Any = self
        self.fetcher = SnapshotFetcher(
            rest,
            BookStore(self.client, self.context.keys, 10),
            settings,
            lambda book: True,
            self._failed,
            lambda: sum(book.may_soon_sync(self.now()) for book in self.books.values()),
        )
        self.books = {
            name: OwnedBook(
                Claim(self.context, name),
                1,
                self.context.venue.book_rule.sync(name, two_snapshots=True),
                settings.books,
            )
            for name in self.names
        }
        for book in self.books.values():
            book.heard_at = self.now()
        self._u = dict.fromkeys(self.names, 1)
        for name in self.names:
            if name not in quiet:
                self.event(name)

    def now(self) -> float:
        return 0.0

    @staticmethod
    def _failed(book: OwnedBook, error: Exception) -> None:
        raise error

    def event(self, name: str) -> int:
        last, self._u[name] = self._u[name], self._u[name] + 1
        data = f'{{"s":"{name}","E":1,"T":1,"U":{last + 1},"u":{last + 1},"pu":{last},"b":[],"a":[]}}'
        self.books[name].take(Delivered(f"1-{last + 1}".encode(), data.encode(), 0), 0)
        return last + 1

    async def get(
        self,
        request: RestRequest,
        urgency: Urgency,
        timeout_s: float,
        granted: Callable[[], None],
        spared: Callable[[], int],
    ) -> bytes:
        query = parse_qs(urlsplit(request.url).query)
        [name], limit = query["symbol"], int(query["limit"][0])
        self.asked.append((name, limit, request.weight))
        await asyncio.sleep(0)
        granted()
        bids, asks = (side_text(sign, min(limit, LEVELS)) for sign in (-1, 1))
        text = f'{{"lastUpdateId":{self.event(name)},"E":1,"T":1,"bids":{bids},"asks":{asks}}}'
        return text.encode()

    async def until(self, done: Callable[[OwnedBook], bool]) -> None:
        for _ in range(20 * len(self.names)):
            if all(map(done, self.books.values())):
                return
            for book in self.books.values():
                book.snapshot_at = min(book.snapshot_at, 1.0)  # no pause is waited for
                self.fetcher.consider(book, 2.0)
            self.fetcher.start_busiest()
            for _ in range(8):
                await asyncio.sleep(0)
        pytest.fail(f"{sum(map(done, self.books.values()))} of {len(self.names)}")


def is_borne_out(book: OwnedBook) -> bool:
    return book.sync.state is SyncState.SYNCED and not book.sync.single_source


def is_deep(book: OwnedBook) -> bool:
    return min(book.sync.book.known_counts) == LEVELS and not book.shallow


async def test_many_books_are_shown_by_small_snapshots_and_deepened_afterwards() -> None:
    world = World(90)
    await world.until(is_borne_out)
    shown = Counter(limit for _, limit, _ in world.asked)
    # the last of them, when no crowd is left, and those that are deepened meanwhile, may ask for all
    assert shown[50] >= 90 + 25
    first = {name: limit for name, limit, _ in reversed(world.asked)}
    crowd = sum(limit == 50 for limit in first.values())
    assert crowd >= 25
    deepened_before = [place for place, (_, limit, _) in enumerate(world.asked) if limit == 500][:1]
    assert not deepened_before or deepened_before[0] >= crowd
    for book in world.books.values():
        assert book.shallow == (first[book.claim.symbol] == 50 and not is_deep(book))
        assert not (book.shallow and book.settled)
    await world.until(is_deep)
    whole = Counter(name for name, limit, _ in world.asked if limit == 500)
    assert set(whole.values()) == {1}
    assert len(whole) == len(world.names)
    asked = len(world.asked)
    await world.until(lambda book: len(world.asked) > asked or book.fetching or True)
    for book in world.books.values():
        world.fetcher.consider(book, 3.0)
    world.fetcher.start_busiest()
    await asyncio.sleep(0)
    assert len(world.asked) == asked  # who has all is asked for nothing more
    for name in world.names:  # whoever reads it takes it for a whole one
        assert await world.client.xlen(world.context.keys.raw_snapshot(name)) == 1
    await world.fetcher.close()


async def test_few_books_begin_with_all_their_levels() -> None:
    world = World(6)
    await world.until(is_borne_out)
    assert Counter(limit for _, limit, _ in world.asked) == {500: 6, 50: 6}
    assert all(map(is_deep, world.books.values()))
    await world.fetcher.close()


async def test_a_shallow_book_is_known_again_by_its_next_owner() -> None:
    world = World(90)
    await world.until(is_borne_out)
    book = next(book for book in world.books.values() if book.shallow)
    sync = world.context.venue.book_rule.sync(book.claim.symbol, two_snapshots=True)
    sync.restore(book.sync.checkpoint("1-1"))
    heir = OwnedBook(book.claim, 2, sync, world.settings)
    assert not heir.shallow
    heir.recovered(0)
    assert heir.shallow
    await world.until(is_deep)
    sync.restore(book.sync.checkpoint("1-1"))
    heir.recovered(0)
    assert not heir.shallow
    await world.fetcher.close()


class SimulatedTime:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 59.0
        """As little as possible is left of the first minute, so that five of them are needed."""
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        waking = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.now + seconds, waking))
        await waking

    def passes(self, seconds: float) -> None:
        self.now += seconds
        due = [waking for at, waking in self._sleeping if at <= self.now]
        self._sleeping = [one for one in self._sleeping if one[0] > self.now]
        for waking in due:
            waking.set_result(None)


class TimedWorld(World):
    """The same with the weight limit of the exchange, and a reply after a tenth of a second."""

    def __init__(
        self, count: int, time: SimulatedTime, quiet_s: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        self.time, self.asking = time, 0
        super().__init__(count, quiet_s)
        self._quiet_until = {name: time.now + seconds for name, seconds in quiet_s.items()}
        self.spent = Counter[int]()
        """Weight by minute."""
        self.budget = Budget(
            self.client,
            "um+cm",
            assumed_limit=self.context.venue.facts.weight_a_minute,
            share=0.8,
            clock=lambda: 1_700_000_040_000 + int(time.now * 1000),
        )

    def now(self) -> float:
        return self.time.now

    async def get(
        self,
        request: RestRequest,
        urgency: Urgency,
        timeout_s: float,
        granted: Callable[[], None],
        spared: Callable[[], int],
    ) -> bytes:
        while True:
            self.asking += 1
            wait_ms = await self.budget.ask(request.weight, urgency, spared())
            self.asking -= 1
            if not wait_ms:
                break
            await self.time.sleep(min(wait_ms / 1000, 5.0))
        self.spent[int(self.time.now // 60)] += request.weight
        granted()
        await self.time.sleep(0.1)
        return await super().get(request, urgency, timeout_s, lambda: None, spared)

    async def run(self, seconds: float) -> tuple[float, float]:
        """When the last book was borne out, and when the last one had its levels."""
        began, borne_out, step_s = self.time.now, 0.0, LOOK_RESTLESS_S
        restless = [book for name, book in self.books.items() if self._quiet_until.get(name) != math.inf]
        while self.time.now - began < seconds:
            for name in [name for name, until in self._quiet_until.items() if until <= self.time.now]:
                del self._quiet_until[name]
                self.event(name)
            for book in restless:
                self.fetcher.consider(book, self.time.now)
            self.fetcher.start_busiest()
            for _ in range(3):
                await asyncio.sleep(0)
            while self.asking:
                await asyncio.sleep(0)
            if not borne_out and all(map(is_borne_out, restless)):
                borne_out = self.time.now - began
            restless = [book for book in restless if not (is_borne_out(book) and is_deep(book))]
            if not restless:
                return borne_out or self.time.now - began, self.time.now - began
            self.time.passes(step_s)
        pytest.fail(f"{len(restless)} books left")


def goes_by(time: SimulatedTime, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: time.now, time_ns=lambda: int(time.now * 1e9))
    monkeypatch.setattr(snapshots, "time", clock)
    monkeypatch.setattr(snapshots, "steady_ms", lambda: int(time.now * 1000))


async def test_500_perpetuals_are_shown_in_80_s_and_have_all_levels_in_5_minutes_within_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = SimulatedTime()
    world = TimedWorld(500, time)
    goes_by(time, monkeypatch)
    shown_s, deep_s = await world.run(600)
    assert shown_s <= 80
    assert deep_s <= 300
    assert max(world.spent.values()) <= 2_400 * 0.8
    await world.fetcher.close()


async def test_books_that_are_never_heard_keep_the_others_from_no_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = SimulatedTime()
    world = TimedWorld(500, time, {f"S{number:02d}": math.inf for number in range(100, 500)})
    goes_by(time, monkeypatch)
    shown_s, deep_s = await world.run(600)
    assert shown_s <= 80
    assert deep_s <= 200
    await world.fetcher.close()


async def test_books_whose_streams_are_quiet_at_first_find_weight_when_they_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = SimulatedTime()
    time.now = 30.0
    quiet_s = {
        f"S{number:02d}": 30 + number % 6 if number < 420 else 45 + number % 10 for number in range(120, 500)
    }
    world = TimedWorld(500, time, quiet_s)
    goes_by(time, monkeypatch)
    shown_s, deep_s = await world.run(600)
    assert shown_s <= 60  # what was shown before has not spent the second minute on its other levels
    assert deep_s <= 300
    assert max(world.spent.values()) <= 2_400 * 0.8
    await world.fetcher.close()
