"""Asking for the book of any second: from the blocks of `history:{S}`, then from the raw stream after them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
from redis.asyncio import Redis

from workers.errors import StateUnreadable, WireError
from workers.model.books.in_band import BookRule
from workers.model.books.order_book import price_key
from workers.model.events import DepthEvent
from workers.model.history.block import (
    NOT_REACHED,
    NOT_RECORDED,
    BookAt,
    HistoryBlock,
    NearestAt,
    QuantityAt,
    Unknown,
)
from workers.model.history.recorder import HistoryFold
from workers.model.history.segment import MOST_SECONDS
from workers.store.history.writing import HistoryStatistics, Summary, decode_summary, statistics_of
from workers.store.keys import BOOKS_GROUP, DEPTH, Keys
from workers.store.log.streams import Delivered, GroupReader

CACHED_BLOCKS = 64
"""Decoded blocks kept; the busiest take half a megabyte each."""
KEPT_VIEWS = 12
"""Blocks folded from the stream that are kept; the stream reaches ten minutes back."""
PAGE = 500
FILED_SECONDS = 3_600
"""Of a long series so many seconds are asked for at once of those that Redis does not have."""
UNREADABLE = "block unreadable"

Answer = TypeVar("Answer")


class FiledBlock(NamedTuple):
    """A block, and what its index says of it, as Redis had them."""

    summary: bytes
    data: bytes


class FiledHistory(Protocol):
    """The blocks that are kept elsewhere once Redis has them no more."""

    async def blocks(self, symbol: str, first: int, last: int) -> list[FiledBlock]:
        """Those that say something of seconds `first..last`, oldest first. Raises StateUnreadable."""


async def finished_blocks(
    client: Redis, keys: Keys, symbol: str, after: int, before: int, at_most: int
) -> list[FiledBlock]:
    """Blocks of Redis that start after one second and before another, oldest first, a page of them."""
    span = f"({after * 1000}", f"({before * 1000}"
    pipe: Any = client.pipeline(transaction=True)
    pipe.zrange(keys.history_index(symbol), *span, byscore=True, offset=0, num=at_most, withscores=True)
    pipe.zrange(keys.history(symbol), *span, byscore=True, offset=0, num=at_most, withscores=True)
    summaries, blocks = await pipe.execute()
    by_start = {score: bytes(data) for data, score in blocks}
    return [FiledBlock(bytes(text), by_start[score]) for text, score in summaries if score in by_start]


class HistoryReader:
    """The history of the symbols of one venue, for readers: nothing is written.

    Seconds are seconds since 1970; what they mean is defined in `workers/model/history/block.py`. Answers are exact or
    `Unknown`: seconds newer than the newest block are folded from the raw stream, and those the stream has not
    proven yet are unknown.

    Args:
        rule: how the venue's depth events chain.
        decode: makes the event of a symbol's entry; raises WireError for what it cannot use.
        clock: seconds since 1970; of seconds that are not over by it nothing is known, whatever the log says.
        filed: what is asked for seconds before those that Redis has; None: nobody.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        rule: BookRule,
        decode: Callable[[str, Delivered], DepthEvent],
        cached_blocks: int = CACHED_BLOCKS,
        clock: Callable[[], float] = time.time,
        filed: FiledHistory | None = None,
    ) -> None:
        self._client: Any = client
        self._keys = keys
        self._rule = rule
        self._decode = decode
        self._most = cached_blocks
        self._clock = clock
        self._filed = filed
        self._blocks: OrderedDict[tuple[str, int], HistoryBlock] = OrderedDict()
        self._lengths: dict[str, int] = {}
        self._tails: dict[str, _Tail] = {}

    async def book_at(self, symbol: str, second: int, depth: int | None = None) -> BookAt | Unknown:
        """The book of a second, at most `depth` levels a side."""
        return await self._ask(symbol, second, lambda block: block.book_at(second, depth))

    async def quantity_at(self, symbol: str, price: str, second: int) -> QuantityAt | Unknown:
        """The quantity at a price in a second, `"0"` for none. Raises BadNumber."""
        price_key(price)
        return await self._ask(symbol, second, lambda block: block.quantity_at(price, second))

    async def nearest(self, symbol: str, price: str, second: int) -> NearestAt | Unknown:
        """The known level nearest to a price in a second. Raises BadNumber."""
        price_key(price)
        return await self._ask(symbol, second, lambda block: block.nearest(price, second))

    async def series(self, symbol: str, price: str, first: int, last: int) -> list[tuple[int, str | None]]:
        """(second, quantity) for each second `first..last`; None where it is not known. Raises BadNumber.

        Cost: about 2 ms for each block that is not cached.
        """
        price_key(price)
        index = self._keys.history_index(symbol)
        to_come, last = last, min(last, int(self._clock()))
        members = await self._client.zrangebyscore(index, (first - MOST_SECONDS) * 1000, last * 1000)
        summaries = [decode_summary(member) for member in members]
        found = await self._filed_series(symbol, price, first, summaries[0].first - 1 if summaries else last)
        upcoming = first + len(found)
        for summary in summaries:
            if summary.last < upcoming:
                continue
            block = await self._stored(symbol, summary)
            if block is None:
                continue
            start, end = max(upcoming, block.first), min(last, block.last)
            found += [(second, None) for second in range(upcoming, start)]
            found += block.series(price, start, end)
            upcoming = max(upcoming, end + 1)
        while upcoming <= last:
            tail = await self._block(symbol, upcoming)
            if isinstance(tail, Unknown) or tail.last < upcoming:
                break
            end = min(last, tail.last)
            found += tail.series(price, upcoming, end)
            upcoming = end + 1
        return found + [(second, None) for second in range(upcoming, to_come + 1)]

    async def _filed_series(
        self, symbol: str, price: str, first: int, last: int
    ) -> list[tuple[int, str | None]]:
        """The same of seconds before those that Redis has, as far as anybody else has told of them."""
        found: list[tuple[int, str | None]] = []
        for begin in range(first, last + 1, FILED_SECONDS) if self._filed else ():
            end = min(last, begin + FILED_SECONDS - 1)
            for filed in await self._filed_blocks(symbol, begin, end) or ():
                block = self._decoded(symbol, filed)
                start = max(first + len(found), begin, block.first if block else end + 1)
                if block is not None and start <= min(end, block.last):
                    found += [(second, None) for second in range(first + len(found), start)]
                    found += block.series(price, start, min(end, block.last))
        return found

    async def statistics(self, symbol: str) -> HistoryStatistics:
        """What is held in blocks. Cost: 0.2 kB and 3 µs a block."""
        members = await self._client.zrange(self._keys.history_index(symbol), 0, -1)
        return statistics_of([decode_summary(member) for member in members])

    async def _ask(
        self, symbol: str, second: int, of: Callable[[HistoryBlock], Answer | Unknown]
    ) -> Answer | Unknown:
        if second > self._clock():
            return Unknown(second, NOT_REACHED)
        block = await self._block(symbol, second)
        return block if isinstance(block, Unknown) else of(block)

    async def _block(self, symbol: str, second: int) -> HistoryBlock | Unknown:
        """What answers for a second: a stored block, or one folded from the stream."""
        if (cached := self._cached(symbol, second)) is not None:
            return cached
        index = self._keys.history_index(symbol)
        pipe = self._client.pipeline(transaction=False)
        pipe.zrange(index, second * 1000, "-inf", desc=True, byscore=True, offset=0, num=1)
        pipe.zrange(index, 0, 0, desc=True)
        at, newest = await pipe.execute()
        if not at:
            return await self._filed_block(symbol, second)
        summary = decode_summary(at[0])
        if second < summary.first or (second > summary.last and newest != at):
            return await self._filed_block(symbol, second)
        block = await self._stored(symbol, summary)
        if block is None:
            return Unknown(second, UNREADABLE)
        if second <= block.last:
            return block
        tail = self._tails.setdefault(symbol, _Tail())
        async with tail.lock:
            return await tail.reach(self, symbol, block, second)

    async def _filed_block(self, symbol: str, second: int) -> HistoryBlock | Unknown:
        """What answers for a second that Redis does not have."""
        filed = await self._filed_blocks(symbol, second, second)
        if not filed:
            return Unknown(second, UNREADABLE if filed is None else NOT_RECORDED)
        return self._decoded(symbol, filed[-1]) or Unknown(second, UNREADABLE)

    async def _filed_blocks(self, symbol: str, first: int, last: int) -> list[FiledBlock] | None:
        """None: they cannot be read now."""
        try:
            return await self._filed.blocks(symbol, first, last) if self._filed else []
        except StateUnreadable:
            return None

    def _decoded(self, symbol: str, filed: FiledBlock) -> HistoryBlock | None:
        try:
            start = decode_summary(filed.summary).start
            if (block := self._blocks.get((symbol, start))) is not None:
                return block
            block = HistoryBlock.decode(filed.data, f"a file of the history of {symbol}")
        except (StateUnreadable, msgspec.DecodeError):
            return None
        self._keep(symbol, start, block)
        return block

    def _keep(self, symbol: str, start: int, block: HistoryBlock) -> None:
        self._lengths[symbol] = block.length
        self._blocks[symbol, start] = block
        self._blocks.move_to_end((symbol, start))
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)

    def _cached(self, symbol: str, second: int) -> HistoryBlock | None:
        length = self._lengths.get(symbol)
        if length is None:
            return None
        key = (symbol, second - second % length)
        block = self._blocks.get(key)
        if block is None or not block.first <= second <= block.last:
            return None
        self._blocks.move_to_end(key)
        return block

    async def _stored(self, symbol: str, summary: Summary) -> HistoryBlock | None:
        """A block, read anew unless it is cached as it stands; None when it is gone, or cannot be decoded."""
        name = symbol, summary.start
        block = self._blocks.get(name)
        if block is not None and block.last >= summary.last:
            self._blocks.move_to_end(name)
            return block
        key, score = self._keys.history(symbol), summary.start * 1000
        found = await self._client.zrange(key, score, score, byscore=True)
        if not found:
            return None
        try:
            block = HistoryBlock.decode(bytes(found[0]), key)
        except StateUnreadable:
            return None  # the answer says so
        self._keep(symbol, summary.start, block)
        return block

    async def entries_after(self, symbol: str, stream_id: str) -> list[tuple[bytes, DepthEvent | None]]:
        """A page of raw entries: id and event; None for one that cannot be used."""
        reader = GroupReader(self._client, BOOKS_GROUP)
        found: list[tuple[bytes, DepthEvent | None]] = []
        for entry in await reader.range(self._keys.raw(symbol, DEPTH), stream_id, PAGE):
            try:
                found.append((entry.stream_id, self._decode(symbol, entry)))
            except WireError:
                found.append((entry.stream_id, None))
        return found

    def fold(self, block: HistoryBlock) -> HistoryFold:
        """A fold that goes on after a block."""
        return HistoryFold(block, self._rule)


class _Tail:
    """The seconds of one symbol after its newest block, folded from the raw stream and kept for the next question."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._fold: HistoryFold | None = None
        self._base: HistoryBlock
        self._stream_id = ""
        self._views: OrderedDict[int, HistoryBlock] = OrderedDict()

    async def reach(
        self, reader: HistoryReader, symbol: str, block: HistoryBlock, second: int
    ) -> HistoryBlock | Unknown:
        """Go on until a second is over, or the stream ends."""
        fold = self._fold
        if fold is None or self._outdated(fold, block):
            fold = self._fold = reader.fold(block)
            self._base = block
            self._stream_id = f"{block.last * 1000}-18446744073709551615"
            self._views = OrderedDict({block.start: block})
        moved = False
        while (fold.builder.next_second or 0) <= second:
            entries = await reader.entries_after(symbol, self._stream_id)
            if not entries:
                break
            for stream_id, event in entries:
                self._stream_id = stream_id.decode()
                if event is not None:
                    fold.take(event, int(stream_id.partition(b"-")[0]))
            moved = True
        if moved:
            self._keep(fold)
        start = second - second % block.length
        return self._views.get(start) or block

    def _outdated(self, fold: HistoryFold, block: HistoryBlock) -> bool:
        """Whether a newer block tells more: later seconds, another known range, or a book in sync again."""
        newer = block.start > self._base.start or (block.last > self._base.last and not fold.sound)
        return newer or (fold.builder.next_second or 0) <= block.last

    def _keep(self, fold: HistoryFold) -> None:
        current = fold.builder.block()
        for view in [*fold.builder.blocks, *([current] if current else [])]:
            self._views[view.start] = view
        fold.builder.blocks.clear()
        while len(self._views) > KEPT_VIEWS:
            self._views.popitem(last=False)
