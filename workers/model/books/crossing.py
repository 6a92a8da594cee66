"""Since when a book is crossed, which levels crossed it, and whether all of them were told anew."""

from __future__ import annotations

from workers.model.books.level_numbers import parse_changes
from workers.model.books.order_book import OrderBook
from workers.model.events import DepthEvent


class Crossing:
    """Whether a book that changes is crossed; fresh, of a book that is not.

    While it is, the levels that crossed it when they were set are known, until they are told anew; of a book that came
    crossed any level may be one.
    """

    def __init__(self, since_ms: int | None = None) -> None:
        self.since_ms = since_ms
        """Since when, None when it is not crossed."""
        self._keys: set[float] | None = None

    @classmethod
    def of(cls, book: OrderBook, now_ms: int) -> Crossing:
        """A book as it came, in one piece."""
        return cls(now_ms if book.crossed else None)

    def after(self, book: OrderBook, event: DepthEvent, now_ms: int) -> bool:
        """The book has taken an event. False: it is not crossed any more, though what crossed it was not told anew."""
        if book.crossed:
            if self.since_ms is None:
                self.since_ms, self._keys = now_ms, set()
            self._note(book, event)
        elif self.since_ms is not None:
            self.since_ms = None
            return self._taken_back(event)
        return True

    def _note(self, book: OrderBook, event: DepthEvent) -> None:
        """What the event set at or beyond the other side's best level may be wrong."""
        if self._keys is not None and book.best_bid and book.best_ask:
            keys, quantities = parse_changes(event.bids, event.asks)
            (bid, ask), _ = parse_changes([book.best_bid], [book.best_ask])
            told = zip(keys, quantities, strict=False)
            self._keys.difference_update(keys)
            self._keys.update(key for key, set_to in told if set_to and key >= -(ask if key > 0 else bid))

    def _taken_back(self, event: DepthEvent) -> bool:
        """Whether all that crossed the book was told anew; else the market went past it, and it is still there."""
        keys, _ = parse_changes(event.bids, event.asks)
        return self._keys is not None and self._keys <= set(keys)
