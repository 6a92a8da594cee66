"""Comparing books with recorded bookTickers of the same update id. Pure: quotes in, counts out."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple, TypeVar

from workers.model.events import Level
from workers.recordings.streams import Quote

REMEMBERED: Final = 50_000
"""Quotes and books of one symbol that wait for their counterpart; the older ones are forgotten."""

Kept = TypeVar("Kept")


class Mismatch(NamedTuple):
    """A quote that the book at the same update id does not have."""

    u: int
    side: str
    recorded: Level
    held: Level | None


def same_number(one: str, other: str) -> bool:
    """Whether two texts are the same decimal number, whatever their trailing zeros."""
    if one == other:
        return True
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False


def _same(one: Level, other: Level | None) -> bool:
    return other is not None and same_number(one[0], other[0]) and same_number(one[1], other[1])


class QuoteCheck:
    """Pairs the quotes of one symbol with where its book stood, whichever comes first, and compares them.

    Cost: O(1) for each; memory bounded.
    """

    def __init__(self) -> None:
        self.exact = 0
        self.of = 0
        self.first_mismatch: Mismatch | None = None
        self.last_mismatch: Mismatch | None = None
        self._quotes: dict[int, Quote] = {}
        self._books: dict[int, tuple[Level | None, Level | None]] = {}

    def quoted(self, quote: Quote) -> None:
        """A bookTicker was recorded; a repeat of it changes nothing."""
        known = self._quotes.get(quote.u)
        if known == quote:
            return
        _remember(self._quotes, quote.u, quote)
        book = self._books.get(quote.u)
        if book is not None:
            self._compare(quote, *book)

    def stood(self, u: int, bid: Level | None, ask: Level | None) -> None:
        """After an event the book stood at `u` with these best levels."""
        if u in self._books:
            return
        _remember(self._books, u, (bid, ask))
        quote = self._quotes.get(u)
        if quote is not None:
            self._compare(quote, bid, ask)

    def _compare(self, quote: Quote, bid: Level | None, ask: Level | None) -> None:
        self.of += 1
        if _same(quote.bid, bid) and _same(quote.ask, ask):
            self.exact += 1
            return
        side, recorded, held = (
            ("bid", quote.bid, bid) if not _same(quote.bid, bid) else ("ask", quote.ask, ask)
        )
        mismatch = Mismatch(quote.u, side, recorded, held)
        self.first_mismatch = self.first_mismatch or mismatch
        self.last_mismatch = mismatch

    def sentence(self, name: str) -> str:
        """What disagrees, for people; empty when nothing does."""
        first, last = self.first_mismatch, self.last_mismatch
        if first is None or last is None:
            return ""
        return (
            f"{name}: the recording disagrees with itself: {self.of - self.exact} of {self.of} bookTickers differ "
            f"from the book at the same update id, between u {first.u} and {last.u}; the first time the best "
            f"{first.side} was recorded as {_level(first.recorded)} and is {_level(first.held)} in the book."
        )


def _level(level: Level | None) -> str:
    return f"{level[1]} at {level[0]}" if level else "missing"


def _remember(kept: dict[int, Kept], u: int, value: Kept) -> None:
    kept[u] = value
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]
