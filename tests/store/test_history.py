"""History in Redis: only the owner writes, a block replaces itself, and readers get the truth or "unknown"."""

from __future__ import annotations

import random

import msgspec
import pytest
from chained_rules import CHAINED
from redis.asyncio import Redis

from workers.errors import LeaseLost, MalformedFrame
from workers.model.books.in_band import BookRule
from workers.model.books.sync import BookSync, SequenceRule, SyncState
from workers.model.events import DepthEvent, Snapshot
from workers.model.history.block import (
    NOT_REACHED,
    NOT_RECORDED,
    OUTSIDE,
    BookAt,
    HistoryBlock,
    QuantityAt,
    Unknown,
)
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.store.fleet.leases import Leases
from workers.store.history.reading import UNREADABLE, HistoryReader
from workers.store.history.writing import HistoryStore
from workers.store.keys import Keys
from workers.store.log.streams import Delivered, RawEntry, RawStreams

KEYS = Keys()
S = "BTCUSDT"
RAW = KEYS.raw(S, "depth")
START = 600
LENGTH = 10


def decode(symbol: str, entry: Delivered) -> DepthEvent:
    try:
        return msgspec.json.decode(entry.data, type=DepthEvent)
    except msgspec.DecodeError as error:
        raise MalformedFrame("test", "depth event", str(error), entry.data) from error


class Owner:
    """A book, its stream and its history; `seconds` is what each second's book was."""

    def __init__(self, client: Redis, rule: SequenceRule = SequenceRule.FUTURES) -> None:
        self.client, self.rule = client, rule
        self.draw = random.Random(4)
        self.sync = BookSync(S, rule)
        self.builder = BlockBuilder(S, length=LENGTH)
        self.recorder = HistoryRecorder(self.sync, self.builder)
        self.leases = Leases(client, KEYS, "books", "one", 60_000)
        self.store = HistoryStore(client, KEYS, 1.0)
        self.streams = RawStreams(client, 10_000)
        self.last_id, self.ms = 100, START * 1000
        self.seconds: dict[int, tuple[int, object]] = {}

    async def feed(self, until_s: int, step_ms: int = 250) -> None:
        """Events up to and beyond a second: all that is before it is proven."""
        while self.ms <= until_s * 1000:
            for second in range(START, until_s + 1):
                if self.ms > second * 1000 and second not in self.seconds:
                    self.seconds[second] = (self.sync.last_update_id, self.sync.book.top(1000))
            await self.event()
            self.ms += step_ms

    async def event(self, *, lost: bool = False) -> None:
        u = self.last_id + self.draw.randint(1, 4)
        bids = [(f"{99 - self.draw.randint(0, 9)}.5", f"{self.draw.randint(0, 5)}.0")]
        asks = [(f"{101 + self.draw.randint(0, 9)}.5", f"{self.draw.randint(0, 5)}.0")]
        previous = self.last_id if self.rule is SequenceRule.FUTURES else -1
        event = DepthEvent(S, self.last_id + 1, u, previous, self.ms, 0, bids, asks)
        self.last_id = u
        if lost:
            return
        await self.streams.append(
            [RawEntry(RAW, self.ms, u, msgspec.json.encode(event), 1, "a")], {RAW: 10**9}
        )
        self.recorder.before(event, self.ms)
        self.recorder.after(event, self.sync.on_event(event, self.ms))
        if self.sync.state is not SyncState.SYNCED:
            levels = [("99.5", "1.0")], [("101.5", "1.0")]
            self.sync.on_snapshot(Snapshot(S, u, *levels, limit=5), self.ms)

    async def write(self) -> None:
        await self.leases.take([S])
        blocks = [*self.builder.blocks]
        self.builder.blocks.clear()
        if (block := self.builder.block()) is not None:
            blocks.append(block)
        await self.store.write(S, self.leases.held[S], blocks)

    def reader(self) -> HistoryReader:
        return HistoryReader(self.client, KEYS, rule=BookRule(self.rule), decode=decode)

    def check(self, second: int, found: BookAt | Unknown) -> None:
        assert isinstance(found, BookAt), found
        assert (found.update_id, (found.bids, found.asks)) == self.seconds[second], second


@pytest.fixture(params=CHAINED)
def owner(client: Redis, request: pytest.FixtureRequest) -> Owner:
    return Owner(client, request.param)


async def test_every_second_is_answered_from_blocks_and_from_the_stream_after_them(owner: Owner) -> None:
    await owner.feed(START + 34)
    await owner.write()
    await owner.feed(START + 58)
    reader = owner.reader()
    first = START + 2  # the first second under way when the book came into sync is not known
    for second in [*range(first, START + 58), START + 12, START + 50]:
        owner.check(second, await reader.book_at(S, second))
    owner.check(START + 50, await owner.reader().book_at(S, START + 50))
    assert await reader.book_at(S, START + 300) == Unknown(START + 300, NOT_REACHED)
    assert await reader.book_at(S, START - 1) == Unknown(START - 1, NOT_RECORDED)
    assert await reader.book_at("ETHUSDT", START) == Unknown(START, NOT_RECORDED)


async def test_a_second_that_is_not_over_by_the_readers_clock_is_unknown_whatever_the_log_says(
    owner: Owner,
) -> None:
    await owner.feed(START + 25)
    await owner.write()
    await owner.feed(START + 33)
    now = START + 20.5
    reader = HistoryReader(owner.client, KEYS, rule=BookRule(owner.rule), decode=decode, clock=lambda: now)
    owner.check(START + 20, await reader.book_at(S, START + 20))
    for second in (START + 21, START + 24, START + 30):
        assert await reader.book_at(S, second) == Unknown(second, NOT_REACHED)
        assert await reader.quantity_at(S, "99.5", second) == Unknown(second, NOT_REACHED)
    series = dict(await reader.series(S, "99.5", START + 15, START + 40))
    assert list(series) == list(range(START + 15, START + 41))
    assert [second for second, quantity in series.items() if quantity is not None] == list(
        range(START + 15, START + 21)
    )
    now = START + 31.0
    owner.check(START + 30, await reader.book_at(S, START + 30))


async def test_a_series_equals_single_questions(owner: Owner) -> None:
    await owner.feed(START + 25)
    await owner.write()
    await owner.feed(START + 33)
    reader = owner.reader()
    for price in ("99.5", "95.50", "103.5", "100"):
        series = await reader.series(S, price, START - 3, START + 40)
        assert [second for second, _ in series] == list(range(START - 3, START + 41))
        for second, quantity in series:
            single = await owner.reader().quantity_at(S, price, second)
            assert quantity == (single.quantity if isinstance(single, QuantityAt) else None)
        assert sum(quantity is not None for _, quantity in series) >= 30
    assert await reader.quantity_at(S, "400", START + 10) == QuantityAt(START + 10, None, "0")


async def test_a_gap_is_unknown_until_the_owner_has_written_that_it_is_over(owner: Owner) -> None:
    await owner.feed(START + 12)
    await owner.write()
    await owner.event(lost=True)
    await owner.feed(START + 20)
    reader = owner.reader()
    found = await reader.book_at(S, START + 15)
    assert isinstance(found, Unknown)
    assert found.reason == "gap"
    await owner.write()
    owner.check(START + 17, await reader.book_at(S, START + 17))
    owner.check(START + 11, await reader.book_at(S, START + 11))
    assert isinstance(await reader.book_at(S, START + 12), Unknown)
    statistics = await reader.statistics(S)
    assert (statistics.first, statistics.last, statistics.blocks) == (START, START + 19, 2)
    assert statistics.gaps[-1].first == START + 12
    assert statistics.seconds_held + sum(gap.last - gap.first + 1 for gap in statistics.gaps) == 20


async def test_a_block_replaces_itself_and_old_ones_are_trimmed(owner: Owner) -> None:
    await owner.feed(START + 8)
    await owner.write()
    await owner.feed(START + 9)
    await owner.write()
    assert await owner.client.zcard(KEYS.history(S)) == 1
    newest = await owner.store.newest(S)
    assert newest is not None
    assert newest.last == START + 8
    owner.ms += 3_700_000
    await owner.feed(owner.ms // 1000 + 11)
    await owner.write()
    members = await owner.client.zrange(KEYS.history(S), 0, -1, withscores=True)
    oldest = members[-1][1] - 3_600_000
    assert [score for _, score in members if score < oldest] == []
    assert await owner.client.zcard(KEYS.history_index(S)) == len(members)
    assert 3_600_000 < await owner.client.pttl(KEYS.history(S)) <= 7_200_000


async def test_who_does_not_own_the_book_writes_nothing(owner: Owner) -> None:
    await owner.feed(START + 5)
    block = owner.builder.block()
    assert block is not None
    with pytest.raises(LeaseLost):
        await owner.store.write(S, 7, [block])
    assert await owner.store.newest(S) is None


async def test_a_damaged_block_is_no_answer(owner: Owner) -> None:
    await owner.feed(START + 25)
    await owner.write()
    members = await owner.client.zrange(KEYS.history(S), 0, 0)
    await owner.client.zremrangebyscore(KEYS.history(S), START * 1000, START * 1000)
    await owner.client.zadd(KEYS.history(S), {members[0][:-20] + b"x" * 20: START * 1000})
    assert await owner.reader().book_at(S, START + 5) == Unknown(START + 5, UNREADABLE)
    owner.check(START + 15, await owner.reader().book_at(S, START + 15))


async def test_outside_of_the_known_range_is_unknown(owner: Owner) -> None:
    owner.builder = BlockBuilder(S, levels=2, length=LENGTH)
    owner.recorder = HistoryRecorder(owner.sync, owner.builder)
    await owner.feed(START + 25)
    await owner.write()
    found = await owner.reader().book_at(S, START + 22)
    assert isinstance(found, BookAt)
    assert float(found.known_low) >= min(float(price) for price, _ in found.bids)
    assert await owner.reader().quantity_at(S, "1", START + 22) == Unknown(START + 22, OUTSIDE)
    newest = await owner.store.newest(S)
    assert isinstance(newest, HistoryBlock)
    newest.check()
