"""Making the blocks of a book's history from the book as it changes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice

from workers.model.books.order_book import OrderBook, Side, parse_changes, price_key, quantity_value
from workers.model.events import Level
from workers.model.history.block import HistoryBlock, Part, UnknownRun
from workers.model.history.segment import Segment, SegmentSide, bound

DEFAULT_LEVELS = 1000
"""Levels per side at the start of a segment; those that come inside its range are added."""


def _is_zero(quantity: str) -> bool:
    rest = quantity.strip("0.")
    return not rest or (rest[0] in "+-eE" and quantity_value(quantity) == 0)


class _OpenSide:
    """One side of the segment under way; what was touched is looked at when a second is over."""

    def __init__(self, side: Side, book: OrderBook, limit: int, bit: int) -> None:
        self.side: Side = side
        levels = list(islice(book.known_levels(side), limit))
        self.book_edge = book.known_low if side == "bid" else book.known_high
        self.cut = len(levels) == limit
        self.edge_text = levels[-1][0] if self.cut else self.book_edge
        self._edge = bound(self.edge_text)
        self.started_with = self.present = len(levels)
        self._quantities = {price: [quantity] for price, quantity in levels}
        self._masks = dict.fromkeys(self._quantities, bit)
        keys, _ = parse_changes(levels, [])
        self._values = dict(zip(self._quantities, keys, strict=True))
        self._spelled = {value: price for price, value in self._values.items()}
        self._strangers: dict[str, float] = {}
        """Prices inside the range that were touched without becoming a row, with their values."""
        self._outside: set[str] = set()
        """Prices beyond the range that were touched."""
        self._twins: dict[str, float] = {}
        """Texts of which another one with the same value was seen."""
        self.touched: dict[str, str] = {}

    def moved(self, book: OrderBook) -> bool:
        """Whether the book knows less than this side's range, or may know more of a side that is short."""
        book_edge = book.known_low if self.side == "bid" else book.known_high
        if book_edge == self.book_edge:
            return False
        self.book_edge = book_edge
        value = bound(book_edge)
        return not self.cut or (value > self._edge if self.side == "bid" else value < self._edge)

    @property
    def thin(self) -> bool:
        """Whether half of the levels are gone, and the book has more of them."""
        return self.cut and self.present * 2 < self.started_with

    def undo(self, bit: int) -> None:
        """Take back the last `close`. O(n); nothing may follow but `columns`."""
        for price in [price for price, mask in self._masks.items() if mask & bit]:
            self._quantities[price].pop()
            self._masks[price] ^= bit
            if not self._masks[price]:
                del self._masks[price], self._quantities[price], self._values[price]

    def close(self, bit: int, book: OrderBook) -> None:
        """Write down what changed in the second of mask `bit`. O(1) a price touched."""
        touched, quantities, outside = self.touched, self._quantities, self._outside
        strange = [price for price in touched if price not in quantities and price not in outside]
        new = [price for price in strange if self._wanted(price, touched[price])]
        twins = self._twins
        for price in new:
            if price not in twins:
                self._set(price, touched[price], bit)
        self._write_down(bit)
        if twins:
            self._settle_twins(bit, book)
        self.touched = {}

    def _write_down(self, bit: int) -> None:
        """What the rows there are have become."""
        quantities, masks, twins = self._quantities, self._masks, self._twins
        for price, quantity in self.touched.items():
            row = quantities.get(price)
            if row is None or row[-1] == quantity or price in twins:
                continue
            is_gone, was_gone = _is_zero(quantity), row[-1] == "0"
            if not (is_gone and was_gone):
                self.present += was_gone - is_gone
                row.append("0" if is_gone else quantity)
                masks[price] |= bit

    def _wanted(self, price: str, quantity: str) -> bool:
        """Whether a price not seen in this segment becomes a row."""
        value = self._strangers.get(price)
        if value is None:
            value = price_key(price)
            if not self._inside(value):
                self._outside.add(price)
                return False
            self._strangers[price] = value
            if (other := self._spelled.setdefault(value, price)) != price:
                self._twins[price] = self._twins[other] = value
        return not _is_zero(quantity)

    def _inside(self, value: float) -> bool:
        return value >= self._edge if self.side == "bid" else value <= self._edge

    def _settle_twins(self, bit: int, book: OrderBook) -> None:
        """Levels spelled in more than one way: the book says which text stands and which are gone."""
        held = {value: book.level_at(self.side, price) for price, value in self._twins.items()}
        for price, value in self._twins.items():
            level = held[value]
            if self._inside(value):
                self._set(price, level[1] if level and level[0] == price else "0", bit)

    def _set(self, price: str, quantity: str, bit: int) -> None:
        quantities = self._quantities.get(price)
        if quantities is None:
            if quantity == "0":
                return
            self._quantities[price], self._masks[price] = [quantity], bit
            self._values[price] = self._strangers.pop(price)
            self.present += 1
        elif quantities[-1] != quantity:
            self.present += (quantities[-1] == "0") - (quantity == "0")
            quantities.append(quantity)
            self._masks[price] |= bit

    def columns(self) -> SegmentSide:
        """What was written down so far. O(n log n)."""
        rows = sorted(zip(self._values.values(), self._values, strict=True))
        prices = [price for _, price in rows]
        return SegmentSide(
            self.side,
            [value for value, _ in rows],
            prices,
            [self._masks[price] for price in prices],
            list(chain.from_iterable(map(self._quantities.__getitem__, prices))),
        )


class BlockBuilder:
    """Takes down a book second by second and gives the blocks.

    `touch` after each change of the book, then once a second is over `known` or `unknown`, for every second in turn.
    `blocks` gives the blocks that are over and not yet taken, and `block` the one under way. A change costs a dict
    update; closing a second costs about 0.3 µs per price touched in it, and O(levels) where a segment begins: at
    the start of a block, after unknown seconds, when the known range has become smaller, and when half of the
    levels of a side that was cut at `levels` are gone.

    Args:
        length: seconds of a block; blocks start at multiples of it.
    """

    def __init__(self, symbol: str, *, levels: int = DEFAULT_LEVELS, length: int = 60) -> None:
        self.symbol = symbol
        self.length = length
        self.next_second: int | None = None
        """The second to be closed next; None at first: any."""
        self.blocks: list[HistoryBlock] = []
        self._levels = levels
        self._start = 0
        self._parts: list[Part] = []
        self._first = 0
        self._update_ids: list[int] = []
        self._bids: _OpenSide | None = None
        self._asks: _OpenSide | None = None

    @property
    def knows(self) -> bool:
        """Whether the last second closed is known: then others can go on from it."""
        return bool(self._update_ids)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be taken."""
        return not (self.blocks or self._parts or self._update_ids)

    def resume(self, block: HistoryBlock) -> None:
        """Go on after the last second of a block of this symbol.

        If that block has another length, its seconds are left to it.
        """
        self.break_off()
        if block.length == self.length:
            self._start, self._parts = block.start, list(block.parts)
        self.next_second = block.last + 1

    def touch(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """These levels of the book have been set or deleted."""
        if self._bids is not None and self._asks is not None:
            self._bids.touched.update(bids)
            self._asks.touched.update(asks)

    def break_off(self) -> None:
        """The book has been replaced, or lost: what follows is not told by `touch`."""
        self._end_segment()
        self._bids = self._asks = None

    def known(self, second: int, book: OrderBook, update_id: int) -> None:
        """Close a second in which `book` stood at `update_id` at the end."""
        self._go_to(second)
        offset = second - self._start
        if not self._take_down(1 << offset, book):
            self.break_off()
            self._first = offset
            self._bids = _OpenSide("bid", book, self._levels, 1 << offset)
            self._asks = _OpenSide("ask", book, self._levels, 1 << offset)
        self._update_ids.append(update_id)

    def unknown(self, second: int, reason: str) -> None:
        """Close a second in which the book was not known all the time."""
        self._go_to(second)
        self.break_off()
        offset = second - self._start
        before = self._parts[-1] if self._parts else None
        if isinstance(before, UnknownRun) and before.reason == reason:
            self._parts[-1] = before._replace(last=offset)
        else:
            self._parts.append(UnknownRun(offset, offset, reason))

    def skip_to(self, second: int) -> None:
        """Nothing is written down of the seconds before this one."""
        if (block := self.block()) is not None:
            self.blocks.append(block)
        self.break_off()
        self._parts = []
        self.next_second = second

    def block(self) -> HistoryBlock | None:
        """The block under way, as far as it has come; None before its first second. O(n log n)."""
        parts = list(self._parts)
        if (segment := self._segment()) is not None:
            parts.append(segment)
        return HistoryBlock(self.symbol, self._start, self.length, parts) if parts else None

    def _go_to(self, second: int) -> None:
        """Begin a new block where one is due."""
        if self.next_second is not None and second != self.next_second:
            raise ValueError(f"second {second} is not the next one, {self.next_second}")
        start = second - second % self.length
        if start != self._start:
            if (block := self.block()) is not None:
                self.blocks.append(block)
            self._update_ids, self._parts = [], []
            self._bids = self._asks = None
        self._start = start
        self.next_second = second + 1

    def _take_down(self, bit: int, book: OrderBook) -> bool:
        """Add a second to the segment under way; False where a new one has to begin."""
        bids, asks = self._bids, self._asks
        if bids is None or asks is None or bids.moved(book) or asks.moved(book):
            return False
        bids.close(bit, book)
        asks.close(bit, book)
        if bids.thin or asks.thin:
            bids.undo(bit)
            asks.undo(bit)
            return False
        return True

    def _segment(self) -> Segment | None:
        if self._bids is None or self._asks is None or not self._update_ids:
            return None
        last = self._first + len(self._update_ids) - 1
        ids = list(self._update_ids)
        edges = self._bids.edge_text, self._asks.edge_text
        return Segment(self._first, last, *edges, ids, self._bids.columns(), self._asks.columns())

    def _end_segment(self) -> None:
        if (segment := self._segment()) is not None:
            self._parts.append(segment)
        self._update_ids = []
