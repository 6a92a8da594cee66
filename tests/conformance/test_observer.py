"""The observer: whatever is published wrong is told, and what is right is not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from workers.conformance.fleet.observer import Observer
from workers.errors import CommandError
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings
from workers.verification.stored import Book
from workers.verification.truth_source import TruthBook

TRUTH = TruthBook([["10.0", "1"], ["9.9", "2"]], [["10.1", "3"], ["10.2", "4"]])


class Told:
    """The truth, the same at every update id up to 100."""

    async def book(self, market: str, symbol: str, update_id: int, depth: int | None = None) -> TruthBook:
        if update_id > 100:
            raise CommandError("/control/truth/book gave status 404: not reached")
        return TRUTH


@pytest.fixture
def book() -> Book:
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["AUSDT"])})
    return Book(venue_contexts(settings)[0], "AUSDT")


class Bench:
    """An observer of one book, and a publisher."""

    def __init__(self, client: Redis, book: Book) -> None:
        self.client, self.book = client, book
        self.observer = Observer(client, [book], lambda _: Told())  # type: ignore[arg-type,return-value]

    async def publish(self, update_id: int, bids: Any = TRUTH.bids, asks: Any = TRUTH.asks) -> None:
        keys = self.book.context.keys
        payload = msgspec.json.encode({"u": update_id, "b": bids, "a": asks, "published": 5_000_000})
        await self.client.hset(keys.live_orderbook, self.book.symbol, payload)
        await self.client.xadd(keys.book_top(self.book.symbol), {"data": payload})

    async def say(self, **status: Any) -> None:
        await self.client.hset(self.book.context.keys.book_status(self.book.symbol), mapping=status)

    async def look(self) -> list[str]:
        watching = asyncio.create_task(self.observer.run())
        await asyncio.sleep(0)
        await self.observer.look()
        await asyncio.wait_for(self.observer.compared_all(), 30)
        watching.cancel()
        return self.observer.problems[self.book]


@pytest.fixture
def bench(client: Redis, book: Book) -> Bench:
    return Bench(client, book)


async def test_what_is_right_is_not_told(bench: Bench):
    await bench.publish(5)
    await bench.publish(6)
    await bench.say(state="synced", updated=5_001)
    assert await bench.look() == []
    assert bench.observer.compared[bench.book] == 2
    assert bench.observer.sights[bench.book].number("updated") == 5_001


async def test_a_wrong_level_is_told(bench: Bench):
    await bench.publish(5, bids=[["10.0", "1"], ["9.9", "2.5"]])
    assert ["Published wrong" in problem for problem in await bench.look()] == [True]


async def test_a_missing_level_is_told_unless_the_book_knows_no_further(bench: Bench):
    await bench.publish(5, bids=[["10.0", "1"]])
    await bench.say(state="synced", known_low="10.0", known_high="inf")
    assert await bench.look() == []
    await bench.say(known_low="0")
    await bench.publish(6, bids=[["10.0", "1"]])
    assert len(await bench.look()) == 1


async def test_a_status_told_after_a_publication_says_nothing_of_what_was_known_at_it(bench: Bench):
    await bench.say(state="synced", known_low="10.0", known_high="inf", updated=4_000)
    assert await bench.look() == []
    await bench.publish(5, bids=[["10.0", "1"]])
    await bench.say(known_low="0", updated=5_001)
    assert await bench.look() == []


async def test_a_crossed_book_is_told(bench: Bench):
    await bench.publish(5, bids=[["10.1", "1"]])
    assert any("crossed" in problem for problem in await bench.look())


async def test_a_step_back_is_told(bench: Bench):
    await bench.publish(6)
    await bench.publish(5)
    assert await bench.look() == ["AUSDT was published at 5 after 6."]


async def test_an_update_id_that_never_was_is_told(bench: Bench):
    await bench.publish(101)
    assert any("never was" in problem for problem in await bench.look())


async def test_a_book_shown_out_of_sync_is_told(bench: Bench):
    await bench.publish(5)
    await bench.say(state="broken", updated=5_001)
    assert any("its status says broken" in problem for problem in await bench.look())


async def test_a_status_older_than_the_publication_says_nothing(bench: Bench):
    await bench.publish(5)
    await bench.say(state="broken", updated=4_999)
    assert await bench.look() == []


async def test_a_book_that_is_not_shown_is_counted(bench: Bench):
    await bench.observer.look()
    await bench.observer.look()
    assert bench.observer.absent[bench.book] == 2
