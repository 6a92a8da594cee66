"""The books of seconds that Redis has forgotten: filed by the archive, answered as if it had not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.api.http.markets import Markets
from workers.api.http.queries import HistoryBookQuery, HistoryQuantityQuery, OfSymbol
from workers.api.http.routes.history import Histories, HistoryRoutes
from workers.archive.files.past import FiledPast
from workers.archive.files.storage import LocalStorage
from workers.archive.history import HistoryFiler
from workers.client import FleetClient
from workers.errors import NotKnown, SecondUnknown
from workers.model.books.in_band import BookRule
from workers.model.books.sync import BookSync, SequenceRule
from workers.model.events import DepthEvent, Snapshot
from workers.model.history.block import BookAt, Unknown
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.fleet.leases import Leases
from workers.store.history.reading import HistoryReader
from workers.store.history.writing import HistoryStore
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

S, KEYS, LENGTH = "BTCUSDT", Keys(), 10
START = 1_790_035_200 - 40  # over midnight
END = START + 80


class Market:
    """A book of 80 seconds with a gap, its history in Redis, and what each second's book was."""

    def __init__(self, client: Redis) -> None:
        self.client: Any = client
        self.sync = BookSync(S, SequenceRule.FUTURES)
        self.builder = BlockBuilder(S, length=LENGTH)
        self.recorder = HistoryRecorder(self.sync, self.builder)
        self.books: dict[int, tuple[int, Any]] = {}

    async def make(self) -> None:
        last_id, blocks = 100, []
        for half in range(2 * (END - START)):
            ms = START * 1000 + half * 500 + 1
            second = START + (half + 1) // 2
            lost = half == 61
            event = DepthEvent(
                S, last_id + 1, last_id + 3, last_id - 5 * lost, ms, 0, [(f"{90 + half % 7}.50", "1.0")], []
            )
            last_id += 3
            self.recorder.before(event, ms)
            self.recorder.after(event, self.sync.on_event(event, ms))
            if self.sync.state.value != "synced":
                self.sync.on_snapshot(
                    Snapshot(S, last_id, [("89.5", "1.0")], [("101.5", "1.0")], limit=5), ms
                )
            if half % 2:
                self.books[second] = (self.sync.last_update_id, self.sync.book.top(100))
        blocks = [*self.builder.blocks]
        if (block := self.builder.block()) is not None:
            blocks.append(block)
        leases = Leases(self.client, KEYS, "books", "one", 60_000)
        await leases.take([S])
        await HistoryStore(self.client, KEYS, 1.0).write(S, leases.held[S], blocks)

    def reader(self, archive: FiledPast | None = None) -> HistoryReader:
        def decode(*_: object) -> DepthEvent:
            raise AssertionError("there is no stream")

        return HistoryReader(
            self.client, KEYS, rule=BookRule(SequenceRule.FUTURES), decode=decode, filed=archive
        )


async def answers(reader: HistoryReader) -> list[BookAt | Unknown]:
    return [await reader.book_at(S, second) for second in range(START - 5, END)]


@pytest.fixture
async def market(real_server: str) -> Any:
    client = Redis.from_url(real_server, protocol=2)
    await client.flushall()  # the server is this test process's own
    made = Market(client)
    await made.make()
    yield made
    await client.aclose()


def files_of(folder: Path) -> list[Path]:
    """Whatever files there are."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def filer_of(url: str, folder: Path) -> tuple[HistoryFiler, Claim]:
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[S])})
    settings.archive.rotate_bars_s = 0.001
    process = Process("archive", settings, 0, url)
    claim = Claim(venue_contexts(settings)[0], S)
    filer = HistoryFiler(process, LocalStorage(folder))
    filer.own(claim, 1)
    return filer, claim


async def test_what_redis_forgets_the_archive_answers(
    market: Market, real_server: str, archive_folder: Path
) -> None:
    """Every answer, known or not and why, is the same before Redis forgets, while it forgets, and after it has."""
    filer, claim = filer_of(real_server, archive_folder)
    while await filer.file(claim):
        pass
    files = files_of(archive_folder)
    assert [path.parent.name for path in files] == ["date=2026-09-21", "date=2026-09-22"]
    assert {path.suffix for path in files} == {".parquet"}
    before = await answers(market.reader())
    prices = ["95.50", "89.5", "80"]
    series = [await market.reader().series(S, price, START - 5, END - 1) for price in prices]
    known = [found for found in before if isinstance(found, BookAt)]
    assert len(known) > 60
    for found in known:
        if found.second in market.books:
            assert (found.update_id, (found.bids, found.asks)) == market.books[found.second]
    reasons = {found.reason for found in before if isinstance(found, Unknown)}
    assert {"gap", "not recorded"} <= reasons
    past = FiledPast(LocalStorage(archive_folder), "usdm")
    for forgotten in (START + 20, END + 100):
        for key in (KEYS.history(S), KEYS.history_index(S)):
            await market.client.zremrangebyscore(key, "-inf", forgotten * 1000)
        assert await answers(market.reader(past)) == before
        for price, wanted in zip(prices, series, strict=True):
            assert await market.reader(past).series(S, price, START - 5, END - 1) == wanted
        alone = await answers(market.reader())
        assert sum(isinstance(found, BookAt) for found in alone) < len(known)
    assert await past.ends(S) == (START, END - LENGTH)


async def test_api_and_client_reach_through_the_archive(
    market: Market, real_server: str, archive_folder: Path
) -> None:
    filer, claim = filer_of(real_server, archive_folder)
    while await filer.file(claim):
        pass
    before = await market.reader().book_at(S, START + 12)
    assert isinstance(before, BookAt)
    await market.client.zremrangebyscore(KEYS.history(S), "-inf", (START + 20) * 1000)
    await market.client.zremrangebyscore(KEYS.history_index(S), "-inf", (START + 20) * 1000)
    markets = Markets(Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[S])}))
    histories = Histories(markets, market.client, LocalStorage(archive_folder))
    routes = HistoryRoutes(markets, histories, 3_600)
    held = await routes.statistics(OfSymbol(symbol=S))
    assert (held.from_, held.archived_from, held.archived_to) == (START + 30, START, END - LENGTH)
    book = await routes.book(HistoryBookQuery(symbol=S, at=START + 12))
    assert (book.last_update_id, book.bids, book.asks) == (before.update_id, before.bids, before.asks)
    asked = HistoryQuantityQuery(symbol=S, price="89.5", from_=START + 15, to=START + 34)
    assert [quantity for _, quantity in (await routes.quantity(asked)).seconds[:4]] == ["1.0"] * 4
    with pytest.raises(NotKnown, match="not recorded"):
        await routes.book(HistoryBookQuery(symbol=S, at=START - 100))
    await market.client.set("fleet:venues", '["usdm"]')
    async with FleetClient(real_server, archive=str(archive_folder)) as fleet:
        found = await fleet.get_book(S, at=START + 12)
        assert [(str(price), str(quantity)) for price, quantity in found.bids] == before.bids
    async with FleetClient(real_server) as fleet:
        with pytest.raises(SecondUnknown):
            await fleet.get_book(S, at=START + 12)


async def test_another_owner_files_what_is_left_and_nothing_twice(
    market: Market, real_server: str, archive_folder: Path
) -> None:
    """The first owner is killed right after its first file got its name."""
    first, claim = filer_of(real_server, archive_folder)
    assert await first.file(claim)
    second, claim = filer_of(real_server, archive_folder)
    while await second.file(claim):
        pass
    past = FiledPast(LocalStorage(archive_folder), "usdm")
    assert len(await past.blocks(S, START, END)) == (END - START) // LENGTH
    assert len(files_of(archive_folder)) == 2


async def test_a_block_that_may_still_change_is_left(
    market: Market, real_server: str, archive_folder: Path
) -> None:
    """As long as the log has anything to fold it from, another owner of the book may write it anew."""
    filer, claim = filer_of(real_server, archive_folder)
    filer._final_s = 10**10
    assert not await filer.file(claim)


async def test_a_damaged_file_is_told_as_unknown(
    market: Market, real_server: str, archive_folder: Path
) -> None:
    filer, claim = filer_of(real_server, archive_folder)
    while await filer.file(claim):
        pass
    for path in files_of(archive_folder):
        path.write_bytes(b"PAR1 and no more")
    await market.client.flushall()
    reader = market.reader(FiledPast(LocalStorage(archive_folder), "usdm"))
    assert await reader.book_at(S, START + 5) == Unknown(START + 5, "block unreadable")
    assert await reader.series(S, "95.50", START, START + 1) == [(START, None), (START + 1, None)]
