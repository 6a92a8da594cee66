"""Taking up a book's history: the last block, the stream after it, and a live book that does not stand still."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.history import MOST_WAITING, HistoryWriter
from workers.model.books.in_band import BookRule
from workers.model.books.sequence import SequenceRule
from workers.model.events import Snapshot
from workers.model.history.block import BookAt, HistoryBlock, Unknown
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.ownership import Claim
from workers.runtime.quarantine import Quarantine
from workers.settings.schema import HistorySettings, Settings
from workers.store.fleet.leases import Leases
from workers.store.history.writing import HistoryStore
from workers.store.keys import Keys
from workers.store.log.streams import Delivered, GroupReader, RawEntry, RawStreams
from workers.venues.binance.settings import BinanceSettings

KEYS = Keys()
S = "BTCUSDT"
RAW = KEYS.raw(S, "depth")
START_MS = 6_000_000
ENTRIES = 80


def context() -> VenueContext:
    return venue_contexts(Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[S])}))[0]


def entry(number: int) -> Delivered:
    """Four events a second; each sets another quantity at one of ten prices."""
    ms, u = START_MS + number * 250, 100 + number
    body = {
        "e": "depthUpdate", "E": ms, "T": ms, "s": S, "U": u, "u": u, "pu": u - 1,
        "b": [[f"{100 - number % 10}.0", f"{number + 1}.0"]], "a": [[f"{101 + number % 7}.0", f"{number + 1}.0"]],
    }  # fmt: skip
    return Delivered(f"{ms}-{u}".encode(), msgspec.json.encode(body), 1)


def owned(one: VenueContext, token: int, taken: int) -> OwnedBook:
    """A book that has taken in so many entries and been in sync since the first one."""
    book = OwnedBook(Claim(one, S), token, one.venue.book_rule.sync(S), Settings(venues={}).books)
    book.take(entry(0), 0)
    book.sync.on_snapshot(Snapshot(S, 100, [("50.0", "1.0")], [("150.0", "1.0")], limit=100), 0)
    for number in range(1, taken):
        book.take(entry(number), 0)
    return book


class Moving(GroupReader):
    """A reader during whose calls the live book takes in more entries than the reply has."""

    def __init__(self, client: Redis, step: int) -> None:
        super().__init__(client, "books")
        self.book: OwnedBook
        self.step = step
        self.taken = 0
        self.calls = 0

    async def range(self, key: str, after: bytes | str, count: int) -> list[Delivered]:
        found = await super().range(key, after, count)
        self.calls += 1
        seen = [one for one in found if one.stream_id <= entry(self.taken - 1).stream_id]
        if self.calls <= 3:
            for number in range(self.taken, self.taken + self.step):
                self.book.take(entry(number), 0)
            self.taken += self.step
        return seen  # what the server had when it was asked


async def blocks_of(store: HistoryStore, client: Redis) -> dict[int, HistoryBlock]:
    members = await client.zrange(KEYS.history(S), 0, -1)
    return {block.start: block for block in map(HistoryBlock.decode, members)}


@pytest.mark.parametrize("step", [0, 1, 3, 6])
async def test_a_history_goes_on_while_the_live_book_moves(client: Redis, step: int) -> None:
    one = context()
    leases = Leases(client, KEYS, "books", "one", 60_000)
    await leases.take([S])
    token = leases.held[S]
    await RawStreams(client, 10_000).append(
        [RawEntry(RAW, START_MS + n * 250, 100 + n, entry(n).data, 1, "a") for n in range(ENTRIES)],
        {RAW: 10**9},
    )
    whole = owned(one, token, 1)  # the twin: one owner for all the time
    whole.recorder = HistoryRecorder(whole.sync, BlockBuilder(S, length=10))
    first = owned(one, token, 1)
    first.recorder = HistoryRecorder(first.sync, BlockBuilder(S, length=10))
    for number in range(1, ENTRIES):
        whole.take(entry(number), 0)
        if number < 20:
            first.take(entry(number), 0)
    settings = HistorySettings(block_s=10)
    await HistoryWriter(client, GroupReader(client, "books"), [one], settings, lambda _: True).leave(first)

    reader = Moving(client, step)
    reader.book = book = owned(one, token, 30)
    reader.taken = 30
    writer = HistoryWriter(client, reader, [one], settings, lambda _: True)
    writer.adopt(book)
    while book.recorder is None:
        await writer._tasks[book]
    for number in range(reader.taken, ENTRIES):
        book.take(entry(number), 0)
    await writer.leave(book)
    await writer.close()

    assert whole.recorder is not None
    current = whole.recorder.builder.block()
    assert current is not None
    held = await blocks_of(HistoryStore(client, KEYS, 24), client)
    known = 0
    for expected in [*whole.recorder.builder.blocks, current]:
        held[expected.start].check()
        for second in range(expected.first, expected.last + 1):
            truth, found = expected.book_at(second), held[expected.start].book_at(second)
            if isinstance(truth, Unknown):
                assert isinstance(found, Unknown)
            else:
                assert isinstance(found, BookAt), (second, found)
                assert found == truth
                known += 1
    assert known >= 17


async def test_what_the_stream_no_longer_has_is_unknown_and_not_guessed(client: Redis) -> None:
    one = context()
    leases = Leases(client, KEYS, "books", "one", 60_000)
    await leases.take([S])
    token = leases.held[S]
    first = owned(one, token, 1)
    first.recorder = HistoryRecorder(first.sync, BlockBuilder(S, length=60))
    for number in range(1, 20):
        first.take(entry(number), 0)
    settings = HistorySettings()
    writer = HistoryWriter(client, GroupReader(client, "books"), [one], settings, lambda _: True)
    await writer.leave(first)
    book = owned(one, token, 40)  # and the stream is empty
    writer.adopt(book)
    await writer._tasks[book]
    for number in range(40, ENTRIES):
        book.take(entry(number), 0)
    await writer.leave(book)
    [block] = (await blocks_of(HistoryStore(client, KEYS, 24), client)).values()
    reasons = {
        second - START_MS // 1000: reason
        for low, high, reason in block.unknown_runs()
        for second in range(low, high + 1)
    }
    assert reasons == dict.fromkeys(range(5, 11), "not recorded")
    assert isinstance(block.book_at(START_MS // 1000 + 12), BookAt)


async def test_a_book_forgotten_while_it_is_written_is_kept_nowhere(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = context()
    leases = Leases(client, KEYS, "books", "one", 60_000)
    await leases.take([S])
    book = owned(one, leases.held[S], 1)
    ours = {book}
    book.recorder = HistoryRecorder(book.sync, BlockBuilder(S, length=10))
    for number in range(1, 20):
        book.take(entry(number), 0)
    writer = HistoryWriter(client, GroupReader(client, "books"), [one], HistorySettings(), ours.__contains__)
    write = HistoryStore.write

    async def forgotten_meanwhile(
        store: HistoryStore, symbol: str, token: int, blocks: Sequence[HistoryBlock]
    ) -> int:
        ours.discard(book)
        writer.forget(book)
        return await write(store, symbol, token, blocks)

    monkeypatch.setattr(HistoryStore, "write", forgotten_meanwhile)
    await writer.leave(book)
    await writer.close()
    assert await blocks_of(HistoryStore(client, KEYS, 24), client)
    monkeypatch.undo()
    assert book not in writer._written
    assert book not in writer._tasks


async def test_nothing_is_held_back_of_a_book_that_was_forgotten_while_its_write_failed(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, quarantine = context(), Quarantine(client, "books")
    book = owned(one, 1, 20)
    ours = {book}
    book.recorder = HistoryRecorder(book.sync, BlockBuilder(S, length=10))
    book.take(entry(20), 0)
    for number in range(21, 30):
        book.take(entry(number), 0)
    writer = HistoryWriter(
        client, GroupReader(client, "books"), [one], HistorySettings(), ours.__contains__, quarantine
    )

    async def fails(*_: object) -> int:
        ours.discard(book)
        quarantine.forget(one, S)
        raise ValueError("forgotten meanwhile")

    monkeypatch.setattr(HistoryStore, "write", fails)
    assert await writer.step([book], 10.0) == []
    assert not ours, "nothing was written"
    assert quarantine.reason(one, S) == ""


async def test_two_books_are_not_written_in_two_rounds_in_a_row(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write holds up what is to be published: those of books that began together are spread."""
    one, books = context(), []
    for _ in range(2):
        book = owned(one, 1, 20)
        book.recorder = HistoryRecorder(book.sync, BlockBuilder(S, length=10))
        for number in range(20, 30):
            book.take(entry(number), 0)
        books.append(book)
    settings = HistorySettings(write_ms=8_000)
    writer = HistoryWriter(client, GroupReader(client, "books"), [one], settings, lambda _: True)
    writes = []

    async def write(*_: object) -> int:
        writes.append(now)
        return 1

    monkeypatch.setattr(HistoryStore, "write", write)
    for now in (10.0, 10.1, 11.9, 12.0, 12.1, 14.1):
        await writer.step(books, now)
    assert writes == [10.0, 12.0]


async def test_of_what_cannot_be_written_the_newest_blocks_are_kept(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = context()
    book = owned(one, 1, 1)
    book.recorder = HistoryRecorder(book.sync, BlockBuilder(S, length=5))
    blocks = book.recorder.builder.blocks
    writer = HistoryWriter(client, GroupReader(client, "books"), [one], HistorySettings(), lambda _: True)

    async def fails(*_: object) -> int:
        raise ValueError("its key is of no use")

    monkeypatch.setattr(HistoryStore, "write", fails)
    for number in range(1, (MOST_WAITING + 5) * 20):
        book.take(entry(number), 0)
    newest = blocks[-1].start
    assert len(blocks) > MOST_WAITING
    assert await writer.step([book], 10.0) == []
    assert (len(blocks), blocks[-1].start) == (MOST_WAITING, newest)


async def test_where_ids_only_order_what_was_trimmed_is_unknown(client: Redis) -> None:
    one = context()
    one.venue.book_rule = BookRule(SequenceRule.RISING)
    leases = Leases(client, KEYS, "books", "one", 60_000)
    await leases.take([S])
    token = leases.held[S]
    first = owned(one, token, 1)
    first.recorder = HistoryRecorder(first.sync, BlockBuilder(S, length=60))
    for number in range(1, 20):
        first.take(entry(number), 0)
    writer = HistoryWriter(client, GroupReader(client, "books"), [one], HistorySettings(), lambda _: True)
    await writer.leave(first)
    left = [RawEntry(RAW, START_MS + n * 250, 100 + n, entry(n).data, 1, "a") for n in range(30, 40)]
    await RawStreams(client, 10_000).append(left, {RAW: 10**9})
    book = owned(one, token, 40)
    writer.adopt(book)
    await writer._tasks[book]
    for number in range(40, ENTRIES):
        book.take(entry(number), 0)
    await writer.leave(book)
    [block] = (await blocks_of(HistoryStore(client, KEYS, 24), client)).values()
    second = START_MS // 1000
    unknown = [(low - second, high - second, reason) for low, high, reason in block.unknown_runs()]
    assert unknown == [(5, 10, "not recorded")]
