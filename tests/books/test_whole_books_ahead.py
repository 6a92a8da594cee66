"""Books of streams with whole books in them: what is shown where one is ahead of what was read."""

from __future__ import annotations

import msgspec
from test_folding import START_MS, S, owned
from test_folding import Market as Setting

from workers.books.book import OwnedBook
from workers.model.books.in_band import AHEAD_MS
from workers.model.books.sync import Outcome, SyncState
from workers.model.events import DepthEvent
from workers.store.log.streams import Delivered
from workers.venues.facts import Continuity, Facts


def entry(number: int, price: str, kind: str = "update", *, ms: int = 0) -> Delivered:
    """An entry of the log, of a millisecond of its own; a whole book has one level a side."""
    at, asks = START_MS + (ms or number), [("200", "1")] if kind == "snapshot" else []
    event = DepthEvent(S, number, number, -1, at, at, [(price, "1")], asks)
    return Delivered(b"%d-%d" % (at, number), msgspec.json.encode(event), at * 1000, kind)


def in_sync(continuity: Continuity) -> OwnedBook:
    book = owned(Setting(Facts(continuity, "in band")))
    book.take(entry(10, "100", "snapshot"), START_MS)
    assert book.sync.state is SyncState.SYNCED
    return book


def test_a_book_that_a_whole_one_brought_over_a_hole_is_to_be_published() -> None:
    book = in_sync(Continuity.PLUS_ONE)
    book.take(entry(12, "102", "snapshot"), START_MS)  # ahead, should 11 not come
    book.pace.published(0)
    assert book.take(entry(13, "103"), START_MS) is Outcome.GAP
    assert (book.sync.state, book.sync.book.best_bid) == (SyncState.SYNCED, ("103", "1"))
    assert book.pace.waiting
    assert book.unsaved  # who follows the book needs what it began with
    assert book.received_us == (START_MS + 13) * 1000


def test_a_book_that_a_whole_one_brought_further_by_silence_is_to_be_published() -> None:
    book = in_sync(Continuity.PLUS_ONE)
    book.overtaking.ahead("trades went on", 0.0, event_ms=START_MS + 12)
    assert book.overtaking.judge(9.0, 9.0)
    book.take(entry(12, "102", "snapshot"), START_MS)
    book.pace.published(0)
    book.tick(START_MS + AHEAD_MS)
    assert book.sync.book.best_bid == ("102", "1")
    assert book.pace.waiting
    assert book.showable
