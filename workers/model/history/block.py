"""The history of a book, second by second: the block of one minute, and what can be asked of it.

The book of second t is the book after all events with a time of at most t * 1000 ms. An event's time is its own (`E`),
never later than its arrival by our clock (raised by what that is behind, 5 s at most), and where the exchange's clock
went back that of the event before it: the ms of its stream entry. A second is known when the book was in sync, not
crossed and its best levels inside the known range from the second before it on, and the next event of the chain has
been seen; else it is unknown, with a reason.

A block covers `length` seconds (60, at most 64) of one symbol. It is a sequence of parts: segments, in which the book
was known (`history_segment`: the full book at the first second, then the changes), and runs of unknown seconds.
Whatever breaks a segment (a resync, another known range) begins a new one.

Format 1: `MFHB`, one byte of version, CRC-32 of what follows (4 bytes, big endian), then one msgpack array whose
columns are compressed by themselves (`history_columns`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec

from workers.errors import BadNumber, StateUnreadable
from workers.model.books.order_book import Side, price_key
from workers.model.events import Level
from workers.model.history.columns import ZSTD_LEVEL
from workers.model.history.segment import MOST_SECONDS, PackedSegment, Segment
from workers.model.sealed import Seal

FORMAT_VERSION = 1
LARGEST_BLOCK = 16 * 1024 * 1024

NOT_RECORDED = "not recorded"
NOT_REACHED = "not reached yet"
EMPTY = "the book was empty"
OUTSIDE = "outside the known range"

_SEAL = Seal(b"MFHB", FORMAT_VERSION, "a block of book history", LARGEST_BLOCK)

Answer = TypeVar("Answer")


class Unknown(NamedTuple):
    """What is not known of a second, and why."""

    second: int
    reason: str


class BookAt(NamedTuple):
    """The book of a second, inside its known range; levels best first, texts as the exchange wrote them."""

    second: int
    update_id: int
    known_low: str
    known_high: str
    bids: list[Level]
    asks: list[Level]


class QuantityAt(NamedTuple):
    """The quantity at a price in a second, `"0"` where there was none; then `side` is None."""

    second: int
    side: Side | None
    quantity: str


class NearestAt(NamedTuple):
    """The known level nearest to a price in a second."""

    second: int
    side: Side
    price: str
    quantity: str


class UnknownRun(NamedTuple):
    """Seconds `first..last` of a block, counted from its start, in which the book was not known."""

    first: int
    last: int
    reason: str


Part = Segment | UnknownRun


class _PackedBlock(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    symbol: str
    start: int
    length: int
    segments: list[PackedSegment]
    unknown: list[UnknownRun]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_PackedBlock)


class HistoryBlock:
    """One block, whole or as far as it has come. Seconds are seconds since 1970.

    With n prices in a block: `quantity_at` O(log n), `nearest` O(log n) and the way to the level, `book_at` O(n),
    `series` O(log n) a second. A second outside of `first..last` is unknown.
    """

    __slots__ = ("length", "parts", "start", "symbol")

    def __init__(self, symbol: str, start: int, length: int, parts: Sequence[Part]) -> None:
        """Parts by time, without holes between them."""
        self.symbol = symbol
        self.start = start
        self.length = length
        self.parts = list(parts)

    @property
    def first(self) -> int:
        """The first second it says something of."""
        return self.start + (self.parts[0].first if self.parts else 0)

    @property
    def last(self) -> int:
        """The last one; before `first` in an empty block."""
        return self.start + (self.parts[-1].last if self.parts else -1)

    @property
    def known_seconds(self) -> int:
        """How many seconds are known."""
        return sum(part.last - part.first + 1 for part in self.parts if isinstance(part, Segment))

    def unknown_runs(self) -> list[tuple[int, int, str]]:
        """(first second, last second, reason) of the seconds within `first..last` that are not known."""
        return [
            (self.start + part.first, self.start + part.last, part.reason)
            for part in self.parts
            if isinstance(part, UnknownRun)
        ]

    def book_at(self, second: int, depth: int | None = None) -> BookAt | Unknown:
        """The book of a second, at most `depth` levels a side."""

        def book(segment: Segment, offset: int) -> BookAt:
            bids, asks = (list(islice(segment.side(side).levels(offset), depth)) for side in ("bid", "ask"))
            update_id = segment.update_ids[offset - segment.first]
            return BookAt(second, update_id, segment.known_low, segment.known_high, bids, asks)

        return self._answer(second, book)

    def quantity_at(self, price: str, second: int) -> QuantityAt | Unknown:
        """The quantity at a price in a second; unknown outside of the known range. Raises BadNumber."""
        value = price_key(price)
        return self._answer(second, lambda segment, offset: _quantity(segment, value, second, offset))

    def nearest(self, price: str, second: int) -> NearestAt | Unknown:
        """The known level nearest to a price; of equally near ones the lower. Raises BadNumber."""
        value, target = price_key(price), Decimal(price)

        def level(segment: Segment, offset: int) -> NearestAt | Unknown:
            near = [
                (
                    abs(Decimal(text) - target),
                    Decimal(text),
                    rank,
                    NearestAt(second, one.side, text, quantity),
                )
                for rank, one in enumerate((segment.bids, segment.asks))
                for text, quantity in one.around(value, offset)
            ]
            return min(near)[3] if near else Unknown(second, EMPTY)

        return self._answer(second, level)

    def series(self, price: str, first: int, last: int) -> Iterator[tuple[int, str | None]]:
        """(second, quantity) for each second `first..last`; None where it is not known. Raises BadNumber."""
        price_key(price)
        for second in range(first, last + 1):
            found = self.quantity_at(price, second)
            yield second, None if isinstance(found, Unknown) else found.quantity

    def _answer(self, second: int, of: Callable[[Segment, int], Answer]) -> Answer | Unknown:
        offset = second - self.start
        for part in self.parts:
            if part.first <= offset <= part.last:
                return Unknown(second, part.reason) if isinstance(part, UnknownRun) else of(part, offset)
        return Unknown(second, NOT_REACHED if second > self.last else NOT_RECORDED)

    def encode(self, level: int = ZSTD_LEVEL) -> bytes:
        """The stored form. O(n)."""
        packed = _PackedBlock(
            self.symbol,
            self.start,
            self.length,
            [part.pack(level) for part in self.parts if isinstance(part, Segment)],
            [part for part in self.parts if isinstance(part, UnknownRun)],
        )
        return _SEAL.close(_encoder.encode(packed))

    @classmethod
    def decode(cls, data: bytes, key: str = "history") -> HistoryBlock:
        """The reverse. O(n); memory is bounded whatever the data says.

        Raises:
            StateUnreadable: truncated, damaged, of another format, or no block; it names `key`.
        """
        if len(data) > LARGEST_BLOCK:
            raise StateUnreadable(key, "it is larger than any block")
        payload = _SEAL.open(data, key)
        try:
            packed = _decoder.decode(payload)
            stored: list[PackedSegment | UnknownRun] = [*packed.segments, *packed.unknown]
            stored.sort(key=lambda part: part.first)
            _fits(stored, packed.length)
            parts = [Segment.unpack(one) if isinstance(one, PackedSegment) else one for one in stored]
        except (msgspec.DecodeError, ValueError, ArithmeticError, BadNumber) as error:
            raise StateUnreadable(key, str(error).rstrip(".")) from error
        return cls(packed.symbol, packed.start, packed.length, parts)

    def check(self) -> None:
        """Assert every invariant. O(n)."""
        _fits(self.parts, self.length)
        for part in self.parts:
            if isinstance(part, Segment):
                part.check()


def _quantity(segment: Segment, value: float, second: int, offset: int) -> QuantityAt | Unknown:
    if not segment.covers(value):
        return Unknown(second, OUTSIDE)
    for side in (segment.bids, segment.asks):
        if (quantity := side.at(value, offset)) != "0":
            return QuantityAt(second, side.side, quantity)
    return QuantityAt(second, None, "0")


def _fits(parts: Sequence[Part | PackedSegment], length: int) -> None:
    """Raise ValueError unless the parts follow each other without holes, within the block."""
    if not 1 <= length <= MOST_SECONDS:
        raise ValueError("it has an impossible length")
    expected = parts[0].first if parts else 0
    for part in parts:
        if not 0 <= part.first == expected <= part.last < length:
            raise ValueError("its parts do not follow each other")
        expected = part.last + 1
