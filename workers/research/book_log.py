"""Messages of a book, as Tardis' datasets have them, of what is held: imported files, and the log, filed or in Redis.

Of the log they are what its fold makes: a whole book wherever it comes into sync, and each change after it. So a
whole book in the middle says that something was missing before it. Local times rise from message to message, as rows of
one time would be one message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from workers.archive.files.layout import Source
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import POSITIONS
from workers.errors import MalformedFrame, StateUnreadable
from workers.model.books.in_band import BookRule
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync, Outcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot
from workers.model.history.block import BookAt, HistoryBlock, Unknown
from workers.model.history.recorder import checkpoint_of
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.normalised import ORIGIN, decode_change
from workers.runtime.context import VenueContext
from workers.store.history.reading import FiledHistory, HistoryReader
from workers.store.keys import DEPTH
from workers.store.log.ranges import Ranges
from workers.store.log.streams import Delivered, delivered, goes_on
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


class SecondBooks:
    """Whole books to begin with: those of a symbol's history, second by second.

    Args:
        reader: asks Redis, and files where Redis has them no more; None: there is no Redis.
        filed: the blocks in files, asked where there is no Redis; None: there are none.
    """

    def __init__(self, symbol: str, reader: HistoryReader | None, filed: FiledHistory | None) -> None:
        self._symbol, self._reader, self._filed = symbol, reader, filed

    async def at(self, second: int) -> BookAt | None:
        """The book after all events of times up to a second; None where it is not known."""
        found: BookAt | Unknown | None = None
        if self._reader is not None:
            found = await self._reader.book_at(self._symbol, second)
        elif self._filed is not None:
            with suppress(StateUnreadable):  # the storage has said so in log and metrics
                if blocks := await self._filed.blocks(self._symbol, second, second):
                    block = HistoryBlock.decode(blocks[-1].data, f"a file of the history of {self._symbol}")
                    found = block.book_at(second)
        return found if isinstance(found, BookAt) else None


class LogFold:
    """The book of a symbol as its log tells it, from the first entry on at which the book is known.

    It is known after a snapshot of the log, whole or over REST, and where the history has it: the log of a fleet that
    has been running for a while holds no snapshot any more.
    """

    def __init__(self, context: VenueContext, symbol: str, seconds: SecondBooks) -> None:
        self._context = context
        self._symbol = symbol
        self._seconds = seconds
        self._rule = context.venue.book_rule
        self._sync: BookSync = self._rule.sync(symbol, max_levels=MOST_LEVELS)
        self._told = ToldBook(self._rule)
        self._anchor: BookAt | None = None
        """The book that ours is to begin with, at the first event that is not in it."""
        self._asked_second = 0
        """The last second that the history was asked about."""
        self.unusable = 0
        """Entries that could not be decoded."""

    async def messages(
        self, entries: AsyncIterator[Delivered], snapshots: AsyncIterator[Snapshot]
    ) -> AsyncIterator[BookMessage]:
        """All messages, oldest first. Memory: the book, a snapshot, and a page of the log."""
        snapshot = await anext(snapshots, None)
        async for entry in entries:
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
            if self._sync.state is not SyncState.SYNCED:
                changed = await self._begin(event, int(entry.stream_id.partition(b"-")[0]), now_ms)
            began = self._sync.sync_count != count
            if (began or changed) and self._sync.state is SyncState.SYNCED:
                yield self._told.message(event, self._sync.book, entry.received_us, whole=began)

    async def _begin(self, event: DepthEvent, filed_ms: int, now_ms: int) -> bool:
        """Go on from the history's book, if this event is the first that is not in it; whether it was applied."""
        second = filed_ms // 1000 + 1
        if self._anchor is None:
            if second <= self._asked_second:
                return False
            self._asked_second = second
            self._anchor = await self._seconds.at(second)
        if self._anchor is None or event.last_id <= self._anchor.update_id:
            return False
        book, self._anchor = self._anchor, None
        self._sync.restore(replace(checkpoint_of(self._symbol, self._rule.sequence, book),
                                   sync_count=self._sync.sync_count + 1))  # fmt: skip
        return self._sync.on_event(event, now_ms) is Outcome.APPLIED


async def logged(
    context: VenueContext, symbol: str, ranges: Ranges, after: bytes
) -> AsyncIterator[Delivered]:
    """The entries of a symbol's depth that Redis has, after one (`0-0`: all), oldest first."""
    async for page in ranges.entries(context.keys.raw(symbol, DEPTH), int(after.partition(b"-")[0])):
        for entry in delivered(page):
            if goes_on(after, entry.stream_id):
                yield entry


async def logged_snapshots(context: VenueContext, symbol: str, ranges: Ranges) -> AsyncIterator[Snapshot]:
    """The replies of REST that Redis has."""
    async for page in ranges.entries(context.keys.raw_snapshot(symbol), 0):
        for entry in delivered(page):
            with suppress(MalformedFrame):
                yield context.venue.snapshot(symbol, entry.data)


def archived(archive: ArchiveReader, source: Source, from_ms: int, to_ms: int) -> Iterator[Delivered]:
    """The entries of a symbol's own depth that are in files, by event time; not what was imported."""
    for row in archive.rows(source, from_ms, to_ms):
        if row[_AT["line"]] != ORIGIN:
            kind = row[_AT["entry"]] or "update"
            yield Delivered(
                row[_AT["stream_id"]].encode(), row[_AT["data"]] or b"", row[_AT["received"]] or 0, kind
            )
