"""An event dated ahead of our clock, or without a time: log, history and what follows are as if it were right."""

from __future__ import annotations

import random

import pytest

from workers.books.book import OwnedBook
from workers.books.folding import take_several
from workers.ingest.line import Line
from workers.model.events import Snapshot
from workers.model.history.block import HistoryBlock, Unknown
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings, IngestSettings, Settings
from workers.store.keys import Keys
from workers.store.log.streams import Delivered, RawEntry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.coinbase.settings import CoinbaseSettings

S = "BNBBTC"
START_MS = 1_672_515_780_000
SETTINGS = BinanceSettings(market="spot", symbols=[S])


def frame(u: int, ms: int, draw: random.Random) -> bytes:
    level = b'["%d","%d"]' % (draw.randint(80, 89), draw.randint(0, 3))
    return b'{"stream":"x@depth","data":{"e":"depthUpdate","E":%d,"s":"%s","U":%d,"u":%d,"b":[%s],"a":[]}}' % (
        ms, S.encode(), u, u, level,
    )  # fmt: skip


def recorded(ahead_ms: int) -> tuple[HistoryBlock, list[RawEntry], OwnedBook]:
    """30 s of events, of which every 50th is dated ahead, through a line, the log's rule of ids, and a book."""
    venue, entries, draw = Binance("spot", SETTINGS), list[RawEntry](), random.Random(5)
    line = Line(venue, Keys(), "a", IngestSettings(), [S], entries.append)
    for number in range(300):
        sent_ms = START_MS + 100 * number
        dated = sent_ms + (ahead_ms if number % 50 == 25 else 0)
        line.frame(frame(number + 1, dated, draw), (sent_ms + 20) * 1000)
    [context] = venue_contexts(Settings(venues={"spot": SETTINGS}))
    book = OwnedBook(Claim(context, S), 1, venue.book_rule.sync(S), BookSettings())
    builder = BlockBuilder(S, levels=50, length=60)
    book.recorder = HistoryRecorder(book.sync, builder)
    filed_ms = 0
    for entry in entries:
        filed_ms = max(filed_ms, entry.event_ms)  # as append.lua does
        book.take(Delivered(b"%d-%d" % (filed_ms, entry.update_id), entry.data, entry.received_us), filed_ms)
        if entry.update_id == 1:
            book.sync.on_snapshot(Snapshot(S, 1, [("85", "1")], [("99", "1")], limit=1000), filed_ms)
    block = builder.block()
    assert block is not None
    return block, entries, book


@pytest.mark.parametrize("ahead_ms", [300, 2_000, 590_000])
def test_the_history_is_that_of_the_right_times(ahead_ms: int) -> None:
    right, _, _ = recorded(0)
    found, entries, book = recorded(ahead_ms)
    assert (found.first, found.last) == (right.first, right.last)
    books = [found.book_at(second) for second in range(found.first, found.last + 1)]
    assert books == [right.book_at(second) for second in range(found.first, found.last + 1)]
    assert sum(not isinstance(one, Unknown) for one in books) > 25
    assert all(entry.event_ms * 1000 <= entry.received_us for entry in entries)
    assert book.sync.last_event_time <= START_MS + 30_000


def test_each_is_told() -> None:
    venue, entries = Binance("spot", SETTINGS), list[RawEntry]()
    line = Line(venue, Keys(), "a", IngestSettings(), [S], entries.append)
    line.frame(frame(1, START_MS + 590_000, random.Random(1)), START_MS * 1000)
    line.frame(frame(2, START_MS + 50, random.Random(1)), (START_MS + 60) * 1000)
    assert line.counts["ahead"] == 1
    assert [entry.event_ms for entry in entries] == [START_MS, START_MS + 50]


@pytest.mark.parametrize("together", [False, True])
def test_a_change_without_a_time_is_of_the_ms_it_is_filed_under(*, together: bool) -> None:
    """Coinbase Exchange has sent the year 1: a book would be shown with it, and trades seem to go on after it."""
    settings = CoinbaseSettings(market="exchange", symbols=["BTC-USD"])
    [context] = venue_contexts(Settings(venues={"coinbase": settings}))
    book = OwnedBook(Claim(context, "BTC-USD"), 1, context.venue.book_rule.sync("BTC-USD"), BookSettings())
    whole = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["1","1"]],"asks":[["2","1"]],"time":"%s"}'
    change = b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1","%d"]],"time":"0001-01-01T00:00:00Z"}'
    filed = [START_MS, START_MS + 10, START_MS + 20, START_MS + 30]
    data = [whole % b"2022-12-31T19:43:00Z", *(change % quantity for quantity in (2, 3, 4))]
    entries = [
        Delivered(b"%d-%d" % (ms, number), sent, ms * 1000, "update" if number > 1 else "snapshot")
        for number, (ms, sent) in enumerate(zip(filed, data, strict=True), 1)
    ]
    book.take(entries[0], START_MS)
    if together:
        assert take_several(book, entries[1:], filed[-1])[0] == 3
    else:
        for entry in entries[1:]:
            book.take(entry, filed[-1])
    assert (book.sync.last_event_time, book.sync.book.best_bid) == (filed[-1], ("1", "4"))
