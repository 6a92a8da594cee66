"""Messages of a book, as Tardis' datasets have them, of what the fleet holds: imported files, then the log in Redis.

Of the log they are what its fold makes: a whole book wherever it comes into sync, and each change after it. So a
whole book in the middle says that something was missing before it. Local times rise from message to message, as rows of
one time would be one message. What the archive has of the fleet's own depth tells no whole books, and is passed over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Final

from workers.archive.files.layout import Source
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import POSITIONS
from workers.errors import MalformedFrame
from workers.model.books.in_band import BookRule
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync, Outcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.normalised import ORIGIN, decode_change
from workers.runtime.context import VenueContext
from workers.store.keys import DEPTH
from workers.store.log.ranges import Ranges
from workers.store.log.streams import delivered
from workers.venues.entries import depth_of

MOST_LEVELS: Final = 100_000
_AT: Final = POSITIONS["depth"]


def archived_messages(
    archive: ArchiveReader, source: Source, from_ms: int, to_ms: int
) -> Iterator[BookMessage]:
    """What was imported of a stretch, by event time. Raises OSError, ArchiveUnreadable, MalformedFrame."""
    local, torn = 0, False
    for row in archive.rows(source, from_ms, to_ms):
        if row[_AT["line"]] != ORIGIN:
            continue
        if not row[_AT["data"]]:
            torn = local > 0
            continue
        message = decode_change(row[_AT["data"]])
        yield message._replace(hole_from=local) if torn and message.is_snapshot else message
        local, torn = message.local_timestamp, False


class ToldBook:
    """Makes the messages of a book of its events: what a reader of them alone has the same book by."""

    def __init__(self, rule: BookRule) -> None:
        self._window = rule.stream.levels if rule.stream is not None and rule.stream.cut else 0
        self._told = OrderBook(MOST_LEVELS)
        """The book of whoever reads the messages; kept where levels leave ours without a word."""
        self._local = 0

    def message(self, event: DepthEvent, book: OrderBook, received_us: int, *, whole: bool) -> BookMessage:
        """That of an event, or of the whole book after it. Local times rise.

        Args:
            book: after the event.
        """
        before, local = self._local, max(self._local + 1, received_us)
        self._local = local
        time = event.event_time * 1000 if event.event_time > 0 else local
        if whole:
            bids, asks = list(book.levels("bid")), list(book.levels("ask"))
            self._told.clear()
        else:
            bids, asks = event.bids, event.asks
        if self._window:
            self._told.apply(bids, asks)
            gone = [self._beyond(side) for side in ("bid", "ask")]
            bids, asks = [*bids, *gone[0]], [*asks, *gone[1]]
            self._told.apply(gone[0], gone[1])
        return BookMessage(0, time, local, whole, bids, asks, before if whole else 0)

    def _beyond(self, side: str) -> list[Level]:
        """Deletions of what has left the levels that the stream keeps."""
        levels = list(self._told.levels("bid" if side == "bid" else "ask"))
        return [(price, "0") for price, _ in levels[self._window :]]


class LogFold:
    """The book of a symbol as its log tells it, from the first entry that Redis has."""

    def __init__(self, context: VenueContext, symbol: str) -> None:
        self._context = context
        self._symbol = symbol
        rule = context.venue.book_rule
        self._sync: BookSync = rule.sync(symbol, max_levels=MOST_LEVELS)
        self._told = ToldBook(rule)
        self.unusable = 0
        """Entries that could not be decoded."""

    async def messages(self, ranges: Ranges) -> AsyncIterator[BookMessage]:
        """All messages, oldest first. Memory: the book, a snapshot, and a page of the log."""
        snapshots = self._snapshots(ranges)
        snapshot = await anext(snapshots, None)
        async for page in ranges.entries(self._context.keys.raw(self._symbol, DEPTH), 0):
            for entry in delivered(page):
                try:
                    event = depth_of(self._context.venue, self._symbol, entry)
                except MalformedFrame:
                    self.unusable += 1
                    continue
                now_ms, count = entry.received_us // 1000, self._sync.sync_count
                # A reply goes where its id is, not where it came: the fleet may bring it forward over the log.
                while snapshot is not None and snapshot.last_update_id < event.last_id:
                    if self._sync.wants_snapshot:
                        self._sync.on_snapshot(snapshot, now_ms)
                    snapshot = await anext(snapshots, None)
                changed = self._sync.on_event(event, now_ms) is Outcome.APPLIED
                began = self._sync.sync_count != count
                if (began or changed) and self._sync.state is SyncState.SYNCED:
                    yield self._told.message(event, self._sync.book, entry.received_us, whole=began)

    async def _snapshots(self, ranges: Ranges) -> AsyncIterator[Snapshot]:
        """The replies of REST that the log has."""
        async for page in ranges.entries(self._context.keys.raw_snapshot(self._symbol), 0):
            for entry in delivered(page):
                with suppress(MalformedFrame):
                    yield self._context.venue.snapshot(self._symbol, entry.data)
