"""A run of seconds in which a book was known without interruption, as columns: one row per price.

A row has a mask, whose bit n says that the price's quantity changed in second n of the block (in the segment's
first second: that there was one), and the quantities it changed to. So the quantity of a price at a second is found
by counting bits, and the book at a second by doing so in each row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import msgspec

from workers.model.books.order_book import Side, price_key, quantity_value
from workers.model.events import Level
from workers.model.history.columns import (
    MOST_DECIMALS,
    ZSTD_LEVEL,
    Column,
    Spelling,
    differences,
    pack_column,
    sums,
    unpack_column,
)

MOST_SECONDS = 64
"""Seconds of a block: the bits of a mask."""


class PackedSide(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """One side of a segment as stored."""

    spelling: Spelling
    """Of the prices."""
    prices: Column
    """Ascending, each less the one before it."""
    masks: Column
    quantity_spelling: Spelling
    quantities: Column
    """Row by row, by time; 0 for a level that went away."""


class PackedSegment(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A segment as stored."""

    first: int
    last: int
    """Seconds since the start of the block, both inclusive."""
    known_low: str
    known_high: str
    update_ids: Column
    """The book's at the end of each second, each less the one before it."""
    bids: PackedSide
    asks: PackedSide


class SegmentSide:
    """One side of a segment. With n rows: `at` O(log n), `levels` O(n), `nearest` O(log n) plus the way."""

    __slots__ = ("_prices", "_spellings", "masks", "offsets", "quantities", "side", "values")

    def __init__(
        self,
        side: Side,
        values: Sequence[float],
        prices: Sequence[int] | Sequence[str],
        masks: Sequence[int],
        quantities: Sequence[int] | Sequence[str],
        spellings: tuple[Spelling, Spelling] | None = None,
    ) -> None:
        """Rows ascending by price; prices and quantities are texts, or with `spellings` their numbers.

        A price spelled in two ways has two rows, of which one at a time has a quantity.
        """
        self.side: Side = side
        self.values = values
        self.masks = masks
        self.quantities = quantities
        self.offsets = [0, *accumulate(mask.bit_count() for mask in masks)]
        self._prices, self._spellings = prices, spellings

    def price_text(self, row: int) -> str:
        """The price of a row as the exchange wrote it."""
        price = self._prices[row]
        if isinstance(price, str):
            return price
        assert self._spellings
        return self._spellings[0].text(price)

    def quantity(self, row: int, second: int) -> str:
        """The quantity of a row as written, `"0"` for none."""
        changes = (self.masks[row] & (2 << second) - 1).bit_count()
        if not changes:
            return "0"
        quantity = self.quantities[self.offsets[row] + changes - 1]
        if isinstance(quantity, str):
            return quantity
        assert self._spellings
        return self._spellings[1].text(quantity) if quantity else "0"

    def at(self, value: float, second: int) -> str:
        """The quantity at a price (as `price_key` gives it), `"0"` for none."""
        row = bisect_left(self.values, value)
        while row < len(self.values) and self.values[row] == value:
            if (quantity := self.quantity(row, second)) != "0":
                return quantity
            row += 1
        return "0"

    def levels(self, second: int, rows: Sequence[int] | None = None) -> Iterator[Level]:
        """The levels at a second, best first; only of `rows` if given."""
        if rows is None:
            rows = range(len(self.values))
            rows = rows[::-1] if self.side == "bid" else rows
        for row in rows:
            if (quantity := self.quantity(row, second)) != "0":
                yield self.price_text(row), quantity

    def around(self, value: float, second: int) -> list[Level]:
        """The nearest level below a price and the nearest at or above it, where there are any."""
        start = bisect_left(self.values, value)
        ways = (range(start - 1, -1, -1), range(start, len(self.values)))
        return [level for way in ways if (level := next(self.levels(second, way), None))]

    def pack(self, level: int) -> PackedSide:
        """The stored form. O(n) plus the compression."""
        prices = [self.price_text(row) for row in range(len(self.values))]
        spelling, codes = Spelling.of(prices)
        quantities = self._quantity_texts()
        texts = dict.fromkeys(quantities)
        texts.pop("0", None)
        quantity_spelling, numbers = Spelling.of(texts)
        numbers["0"] = 0
        return PackedSide(
            spelling,
            pack_column(differences(map(codes.__getitem__, prices)), level),
            pack_column(self.masks, level),
            quantity_spelling,
            pack_column(list(map(numbers.__getitem__, quantities)), level),
        )

    def _quantity_texts(self) -> list[str]:
        if self._spellings is None:
            return [str(text) for text in self.quantities]
        text = self._spellings[1].text
        return [text(int(number)) if number else "0" for number in self.quantities]

    @classmethod
    def unpack(cls, side: Side, packed: PackedSide) -> SegmentSide:
        """The reverse. Raises ValueError for what is damaged."""
        for spelling in (packed.spelling, packed.quantity_spelling):
            if not 0 <= spelling.decimals <= MOST_DECIMALS or spelling.base < 0:
                raise ValueError("a spelling is impossible")
        prices = sums(unpack_column(packed.prices))
        masks, quantities = unpack_column(packed.masks), unpack_column(packed.quantities)
        if prices and max(prices) >= packed.spelling.base + len(packed.spelling.odd):
            raise ValueError("a price has no text")
        if quantities and max(quantities) >= packed.quantity_spelling.base + len(
            packed.quantity_spelling.odd
        ):
            raise ValueError("a quantity has no text")
        for text in packed.spelling.odd:
            price_key(text)
        for text in packed.quantity_spelling.odd:
            quantity_value(text)
        values = packed.spelling.values(prices)
        found = cls(side, values, prices, masks, quantities, (packed.spelling, packed.quantity_spelling))
        if len(masks) != len(prices) or found.offsets[-1] != len(quantities):
            raise ValueError("the columns of a side do not fit together")
        return found

    def check(self, first: int, last: int) -> None:
        """Assert every invariant. O(n)."""
        assert len(self.values) == len(self.masks) == len(self._prices)
        assert self.offsets[-1] == len(self.quantities)
        assert all(a <= b for a, b in pairwise(self.values)), "prices must ascend"
        inside = (2 << last) - (1 << first)
        for row, mask in enumerate(self.masks):
            assert price_key(self.price_text(row)) == self.values[row]
            assert mask, "a row without a change"
            assert not mask & ~inside, "a change outside of the segment"
            quantities = [
                self.quantity(row, second) for second in range(first, last + 1) if mask >> second & 1
            ]
            assert quantities[0] != "0", "a row begins with a level"
            assert all(a != b for a, b in pairwise(quantities)), quantities


class Segment(NamedTuple):
    """Seconds `first..last` of a block (counted from its start) in which the book was known."""

    first: int
    last: int
    known_low: str
    known_high: str
    update_ids: Sequence[int]
    """The book's at the end of each second."""
    bids: SegmentSide
    asks: SegmentSide

    def side(self, side: Side) -> SegmentSide:
        return self.bids if side == "bid" else self.asks

    def covers(self, value: float) -> bool:
        """Whether a price (as `price_key` gives it) lies within the known range."""
        return bound(self.known_low) <= value <= bound(self.known_high)

    def pack(self, level: int = ZSTD_LEVEL) -> PackedSegment:
        """The stored form."""
        ids = pack_column(differences(self.update_ids), level)
        return PackedSegment(
            self.first,
            self.last,
            self.known_low,
            self.known_high,
            ids,
            self.bids.pack(level),
            self.asks.pack(level),
        )

    @classmethod
    def unpack(cls, packed: PackedSegment) -> Segment:
        """The reverse. Raises ValueError or BadNumber for what is damaged."""
        if not 0 <= packed.first <= packed.last < MOST_SECONDS:
            raise ValueError("a segment has impossible seconds")
        bound(packed.known_low), bound(packed.known_high)
        ids = sums(unpack_column(packed.update_ids))
        if len(ids) != packed.last - packed.first + 1:
            raise ValueError("a segment lacks update ids")
        return cls(
            packed.first,
            packed.last,
            packed.known_low,
            packed.known_high,
            ids,
            SegmentSide.unpack("bid", packed.bids),
            SegmentSide.unpack("ask", packed.asks),
        )

    def check(self) -> None:
        """Assert every invariant. O(n)."""
        assert 0 <= self.first <= self.last < MOST_SECONDS
        assert len(self.update_ids) == self.last - self.first + 1
        self.bids.check(self.first, self.last)
        self.asks.check(self.first, self.last)
        assert all(value >= bound(self.known_low) for value in self.bids.values)
        assert all(value <= bound(self.known_high) for value in self.asks.values)


def bound(price: str) -> float:
    """An end of a known range as a number: `"0"` and `"inf"` name the ends of all prices. Raises BadNumber."""
    return float(price) if price in ("0", "inf") else price_key(price)
