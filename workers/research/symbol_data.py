"""What is stored of a symbol, as the messages and trades of which the files of researchers are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from workers.archive.files import parquet
from workers.archive.files.kept import HeldRows
from workers.archive.files.layout import DAY_MS, Source, StreamId
from workers.archive.files.past import FiledPast
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import POSITIONS, Values, row_of
from workers.archive.files.storage import storage_of
from workers.errors import WrongArgument
from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot
from workers.model.symbols.info import SymbolInfo
from workers.recordings.tardis.books import BookMessage
from workers.research.book_log import (
    MOST_LEVELS,
    LogFold,
    SecondBooks,
    archived,
    archived_messages,
    logged,
    logged_snapshots,
)
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.loading import Effective
from workers.store.fleet.symbols import SymbolStore
from workers.store.history.reading import HistoryReader
from workers.store.keys import Keys
from workers.store.log.ranges import Ranges
from workers.store.log.streams import Delivered
from workers.venues.entries import depth_of
from workers.verification.stored_sources import SourceName, answering_redis

_AT: Final = POSITIONS["trades"]
_PAGE: Final = 8_192
AT_ONCE: Final = 500
LEAD_MS: Final = 2_000
"""So long before a stretch its whole book is looked for in the history."""
LATE_MS: Final = 600_000
"""By how much a message may have come after, or before, the time the exchange gives it."""
_Item = TypeVar("_Item")


async def paged(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """Items of an iterator that reads files, in a thread of its own, so that nothing else waits meanwhile."""
    iterator = iter(items)
    while page := await asyncio.to_thread(list, islice(iterator, AT_ONCE)):
        for item in page:
            yield item


class SymbolData:
    """One symbol of one venue.

    Args:
        context: None of a venue that only the archive knows.
        ranges: reads Redis; None: leave it out.
        archive: reads the files; None: leave them out.
    """

    def __init__(
        self,
        venue: str,
        symbol: str,
        context: VenueContext | None,
        ranges: Ranges | None,
        archive: ArchiveReader | None,
    ) -> None:
        self.venue, self.symbol = venue, symbol
        self._context, self._ranges, self._archive = context, ranges, archive

    async def messages(self, from_ms: int, to_ms: int) -> AsyncIterator[BookMessage]:
        """Of the book within a stretch by the exchange's clock, beginning with a whole one."""
        cut = Cut(from_ms * 1000, to_ms * 1000, lambda message: message.timestamp)
        async for message in self._messages(from_ms - from_ms % DAY_MS, to_ms):
            for kept in cut.kept(message):
                yield kept

    async def messages_by_arrival(self, from_us: int, to_us: int) -> AsyncIterator[BookMessage]:
        """The same within a stretch (µs) by the local times."""
        cut, from_ms = Cut(from_us, to_us, lambda message: message.local_timestamp), from_us // 1000
        async for message in self._messages(from_ms, to_us // 1000 + LATE_MS):
            if message.local_timestamp >= to_us:
                return
            for kept in cut.kept(message):
                yield kept

    async def _messages(self, from_ms: int, to_ms: int) -> AsyncIterator[BookMessage]:
        """Of imported files and of the log where those have nothing, from a whole book before a time on, by the
        exchange's clock."""
        imported = self._imported(from_ms - from_ms % DAY_MS, to_ms)
        if self._context is None:
            async for message in imported:
                yield message
            return
        snapshots = (
            _nothing() if self._ranges is None else logged_snapshots(self._context, self.symbol, self._ranges)
        )
        fold = LogFold(self._context, self.symbol, self._seconds(self._context))
        async for message in joined(
            imported, fold.messages(self._log(self._context, from_ms, to_ms), snapshots)
        ):
            yield message

    async def _imported(self, from_ms: int, to_ms: int) -> AsyncIterator[BookMessage]:
        if self._archive is not None:
            source = Source(self.venue, self.symbol, "depth")
            async for message in paged(archived_messages(self._archive, source, from_ms, to_ms)):
                yield message

    def _seconds(self, context: VenueContext) -> SecondBooks:
        filed = FiledPast(self._archive.storage, self.venue) if self._archive is not None else None
        if self._ranges is None:
            return SecondBooks(self.symbol, None, filed)
        decode = partial(depth_of, context.venue)
        reader = HistoryReader(
            self._ranges.client, context.keys, rule=context.venue.book_rule, decode=decode, filed=filed
        )
        return SecondBooks(self.symbol, reader, filed)

    async def _log(self, context: VenueContext, from_ms: int, to_ms: int) -> AsyncIterator[Delivered]:
        """The entries in files from where the book of a time is known, or else its day began; then those of Redis."""
        after = b"0-0"
        if self._archive is not None:
            begin_ms = max(0, from_ms - LEAD_MS)
            if await self._seconds(context).at(begin_ms // 1000 + 1) is None:
                begin_ms = from_ms - from_ms % DAY_MS
            source = Source(self.venue, self.symbol, "depth")
            async for entry in paged(archived(self._archive, source, begin_ms, to_ms)):
                after = entry.stream_id
                yield entry
        if self._ranges is not None:
            async for entry in logged(context, self.symbol, self._ranges, after):
                yield entry

    async def trades(self, from_ms: int, to_ms: int) -> AsyncIterator[list[Values]]:
        """Rows of the archive within a stretch by the exchange's clock, with the time they came where that is known."""
        source = Source(self.venue, self.symbol, "trades")
        if self._ranges is None or self._context is None:
            if self._archive is not None:
                for page in _pages(self._archive.rows(source, from_ms, to_ms)):
                    yield page
            return
        arrivals = self._arrivals(source)
        number: int | None = -1
        received: int | None = None
        async for rows in HeldRows(self._context, self._ranges, self._archive).rows(source, from_ms, to_ms):
            page = []
            for row in rows:
                if row[_AT["received"]] is None:
                    while number is not None and number < row[_AT["agg_trade_id"]]:
                        arrival = await anext(arrivals, None)
                        number, received = arrival or (None, None)
                    if number == row[_AT["agg_trade_id"]]:
                        page.append((*row[: _AT["received"]], received, *row[_AT["received"] + 1 :]))
                        continue
                page.append(row)
            yield page

    async def _arrivals(self, source: Source) -> AsyncIterator[tuple[int | None, int | None]]:
        """By trade id in the order of the log, when each trade came."""
        assert self._ranges is not None
        assert self._context is not None
        async for page in self._ranges.entries(source.key(self._context.keys), 0):
            for raw_id, fields in page:
                row = row_of(source, self._context.venue, StreamId.parse(raw_id), fields).values
                if row[_AT["agg_trade_id"]] is not None:
                    yield row[_AT["agg_trade_id"]], row[_AT["received"]]

    async def entries(
        self, key_of: Callable[[Keys, str], str], from_ms: int
    ) -> AsyncIterator[tuple[bytes, Mapping[bytes, bytes]]]:
        """The entries of a stream that only Redis has, from a time on."""
        if self._ranges is not None and self._context is not None:
            async for page in self._ranges.entries(key_of(self._context.keys, self.symbol), from_ms):
                for entry in page:
                    yield entry

    async def was_trimmed(self, key_of: Callable[[Keys, str], str]) -> bool:
        """Whether such a stream has lost what it had, or has never been there."""
        if self._ranges is None or self._context is None:
            return True
        return await self._ranges.was_trimmed(key_of(self._context.keys, self.symbol))

    async def listing(self) -> SymbolInfo | None:
        """What its exchange last said of the symbol, as Redis has it."""
        if self._ranges is None or self._context is None:
            return None
        return await SymbolStore(self._ranges.client, self._context.keys).listed(self.symbol)

    @property
    def market(self) -> str:
        """Which of the exchange's markets it is of, as the settings call it; empty: only the archive knows it."""
        return str(getattr(self._context.settings, "market", "")) if self._context is not None else ""

    def lines(self, channel: str, from_ms: int, to_ms: int) -> Iterable[str]:
        """The lines of an imported dataset."""
        if self._archive is None:
            return
        place = POSITIONS["raw"]["data"]
        for row in self._archive.rows(
            Source(self.venue, self.symbol, "raw", channel=channel), from_ms, to_ms
        ):
            yield row[place].decode()


async def joined(
    imported: AsyncIterator[BookMessage], logged: AsyncIterator[BookMessage]
) -> AsyncIterator[BookMessage]:
    """Imported messages, and those of the log before, between and after them.

    After imported ones the log goes on with its own whole book: what it told meanwhile need not be in theirs.
    """
    following, told, is_behind = await anext(imported, None), 0, False
    book = OrderBook(MOST_LEVELS) if following is not None else None
    async for message in logged:
        while following is not None and (
            following.local_timestamp <= message.local_timestamp
            or (told and not (following.is_snapshot and following.local_timestamp - told > LATE_MS * 1000))
        ):
            yield following
            told, is_behind = following.local_timestamp, True
            following = await anext(imported, None)
        if book is not None:
            if message.is_snapshot:
                book.clear()
            book.apply(message.bids, message.asks)
            if message.local_timestamp <= told:
                continue
        yield whole(message, book) if book is not None and is_behind else message
        is_behind = False
    while following is not None:
        yield following
        following = await anext(imported, None)


def whole(message: BookMessage, book: OrderBook) -> BookMessage:
    """The whole book after a message, in its place."""
    bids, asks = list(book.levels("bid")), list(book.levels("ask"))
    return message._replace(is_snapshot=True, bids=bids, asks=asks, hole_from=0)


class Cut:
    """The messages of a stretch; those before it make the whole book that it begins with."""

    def __init__(self, from_us: int, to_us: int, time_of: Callable[[BookMessage], int]) -> None:
        self._from, self._to, self._time_of = from_us, to_us, time_of
        self._book: OrderBook | None = OrderBook(MOST_LEVELS)
        self._known = False

    @property
    def is_known(self) -> bool:
        """Whether a whole book has come."""
        return self._known

    def kept(self, message: BookMessage) -> Iterable[BookMessage]:
        """Nothing, or the message, or the whole book after it."""
        if self._book is not None:
            if message.is_snapshot:
                self._book.clear()
                self._known = True
            self._book.apply(message.bids, message.asks)
            if self._time_of(message) < self._from or not self._known:
                return
            message, self._book = whole(message, self._book), None
        if (
            self._time_of(message) < self._to
        ):  # one of a time before the stretch comes late, and is in no book yet
            yield message


async def _nothing() -> AsyncIterator[Snapshot]:
    """No snapshots."""
    nothing: tuple[Snapshot, ...] = ()
    for snapshot in nothing:
        yield snapshot


def _pages(rows: Iterable[Values]) -> Iterable[list[Values]]:
    page: list[Values] = []
    for row in rows:
        page.append(row)
        if len(page) >= _PAGE:
            yield page
            page = []
    if page:
        yield page


@asynccontextmanager
async def open_symbol(
    effective: Effective, venue: str, symbol: str, source: SourceName
) -> AsyncIterator[SymbolData]:
    """What is stored of a symbol, open for reading; a venue may be one that only the archive knows.

    Raises:
        WrongArgument: nobody knows the venue.
        CommandError: Redis does not answer.
    """
    settings = effective.settings
    contexts = {context.name: context for context in venue_contexts(settings)}
    context = contexts.get(venue)
    archive = ArchiveReader(storage_of(settings.archive.url, Path(settings.fleet.home)))
    filed = archive.venues() if source != "redis" else []
    if context is None and venue not in filed:
        raise WrongArgument(f"Neither settings nor archive have a venue {venue!r}", [*contexts, *filed])
    name = context.name if context is not None else venue
    reader = archive if name in filed else None
    if reader is not None:
        parquet.require()
    if context is None or source == "archive":
        yield SymbolData(name, symbol, context, None, reader)
        return
    async with answering_redis(settings) as client:
        yield SymbolData(name, symbol, context, Ranges(client, context.keys), reader)
