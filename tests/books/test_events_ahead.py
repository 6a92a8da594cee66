"""An event dated ahead of our clock: the log, the history and what follows are as if its time were right."""

from __future__ import annotations

import random

import pytest

from workers.books.book import OwnedBook
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
