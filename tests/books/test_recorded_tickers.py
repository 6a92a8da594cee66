"""Real recordings through ingest's filing, an owned book and the ticker watch: the exchange's fault is found, and
good books are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest

from workers.books.book import OwnedBook
from workers.books.tickers import TickerWatch
from workers.ingest.line import Line
from workers.model.books.sync import SyncState
from workers.recordings.recording import Recording, merged
from workers.recordings.records import Received, RecordedSnapshot
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings, IngestSettings
from workers.store.keys import DEPTH, TICKER, Keys
from workers.store.log.streams import Delivered, RawEntry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance

KEYS = Keys()
STEP_US = 100_000


class Played:
    """One recording, taken in as the fleet would: entries of the raw streams in their order, snapshots as answers."""

    def __init__(self, *files: Path) -> None:
        self._recordings = [Recording(file) for file in files]
        market = self._recordings[0].market
        symbols = list(dict.fromkeys(name for recording in self._recordings for name in recording.symbols))
        settings = BinanceSettings(market=market, symbols=symbols, book_ticker=True, snapshot_depth=1000)
        self.venue = Binance(market, settings)
        context = VenueContext(market, self.venue, settings, KEYS, symbols)
        self.client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        books = BookSettings(levels=50_000)
        self.watch = TickerWatch(self.client, [context], 100)
        self.books = {
            symbol: OwnedBook(
                Claim(context, symbol), 1, self.venue.book_rule.sync(symbol, max_levels=50_000), books
            )
            for symbol in symbols
        }
        self._watched = {KEYS.raw(symbol, TICKER): book for symbol, book in self.books.items()}
        self._by_depth = {KEYS.raw(symbol, DEPTH): book for symbol, book in self.books.items()}
        self.line = Line(self.venue, KEYS, "a", IngestSettings(), symbols, self._entry)
        self.tickers = 0

    def _entry(self, entry: RawEntry) -> None:
        stream_id = f"{entry.event_ms}-{entry.update_id}".encode()
        delivered = Delivered(stream_id, entry.data, entry.received_us)
        if (book := self._by_depth.get(entry.key)) is not None:
            book.take(delivered, entry.received_us // 1000)
        elif (book := self._watched.get(entry.key)) is not None:
            self.tickers += 1
            self.watch.take(entry.key, book, [delivered])

    def _times(self) -> Iterator[int]:
        for _, record in merged(self._recordings):
            if isinstance(record, Received):
                self.line.frame(record.frame, record.time_us)
                self.line.tick(record.time_us)
            elif isinstance(record, RecordedSnapshot) and record.symbol in self.books:
                book = self.books[record.symbol]
                book.sync.on_snapshot(self.venue.snapshot(record.symbol, record.body), record.time_us // 1000)
                book.noticed()
            yield record.time_us

    async def play(self) -> None:
        due = 0
        for time_us in self._times():
            if time_us >= due:
                due = time_us + STEP_US
                await self.watch.judge(self.books.values(), time_us // 1000)
        await self.watch.judge(self.books.values(), due // 1000)

    @property
    def compared(self) -> int:
        return sum(book.best_levels.compared for book in self.books.values())

    @property
    def disagreed(self) -> dict[str, int]:
        counts = {symbol: book.best_levels.disagreed for symbol, book in self.books.items()}
        return {symbol: count for symbol, count in counts.items() if count}


async def test_the_wrong_snapshots_of_coinm_are_found(recorded_folder: Path) -> None:
    parts = (recorded_folder / f"cryptofeed_binance_coinm_20210417_{part}.zst" for part in ("http", "ws"))
    played = Played(*parts)
    await played.play()
    assert set(played.disagreed) == {"BTCUSD_210924", "BTCUSD_PERP"}
    lost = {symbol for symbol, book in played.books.items() if book.sync.state is not SyncState.SYNCED}
    assert lost == {"BTCUSD_210924"}  # the other one was put right by the stream before it was certain
    book = played.books["BTCUSD_210924"]
    assert (book.sync.state, book.sync.reason) == (SyncState.BROKEN, "best level mismatch")
    assert not book.showable
    assert book.withdraw
    [(_, audit)] = await played.client.xrange(KEYS.audit("BTCUSD_210924"))
    assert audit[b"source"] == b"bookTicker"
    assert (audit[b"outcome"], audit[b"reason"]) == (b"mismatch", b"best level mismatch")
    assert audit[b"differences"] == b"bid 68632.0 held 711 exchange 841"
    status = await played.client.hget(KEYS.book_status("BTCUSD_210924"), "last_audit")
    assert status.startswith(b"mismatch ")
    assert await played.client.exists(KEYS.audit("BTCUSD_PERP")) == 0


@pytest.mark.parametrize(
    ("files", "compared"),
    [
        (["usdm__btcusdt_20240808.gz"], 559),
        (["spot__btcusdt_20240808.gz", "spot__btcusdt_20240809.gz"], 912),
        (["cryptofeed_binance_usdm_20210405.zst"], 215),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_good_books_raise_no_alarm(recorded_folder: Path, files: list[str], compared: int) -> None:
    """Not compared are only the ids at which the market had left the range the snapshot proved."""
    played = Played(*(recorded_folder / name for name in files))
    await played.play()
    assert played.tickers > 500
    assert played.disagreed == {}
    assert played.compared == compared
    assert {book.sync.state for book in played.books.values()} == {SyncState.SYNCED}
