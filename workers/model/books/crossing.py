"""Which levels crossed a book, and whether all of them were told anew."""

from __future__ import annotations

from workers.model.books.level_numbers import parse_changes
from workers.model.books.order_book import OrderBook
from workers.model.events import DepthEvent


class Crossing:
    """The levels that crossed a book when they were set, until they are told anew; or any level may be one."""

    def __init__(self, keys: set[float] | None = None) -> None:
        self._keys = keys

    @classmethod
    def by_any(cls) -> Crossing:
        """The book was crossed as it came."""
        return cls()

    @classmethod
    def by_events(cls) -> Crossing:
        """The book becomes crossed by an event, which `note` gets first."""
        return cls(set())

    def note(self, book: OrderBook, event: DepthEvent) -> None:
        """The book is crossed after this event: what it set at or beyond the other side's best level may be wrong."""
        if self._keys is not None and book.best_bid and book.best_ask:
            keys, quantities = parse_changes(event.bids, event.asks)
            (bid, ask), _ = parse_changes([book.best_bid], [book.best_ask])
            told = zip(keys, quantities, strict=False)
            self._keys.difference_update(keys)
            self._keys.update(key for key, set_to in told if set_to and key >= -(ask if key > 0 else bid))

    def taken_back(self, event: DepthEvent) -> bool:
        """Whether all that crossed the book was told anew; else the market went past it, and it is still there."""
        keys, _ = parse_changes(event.bids, event.asks)
        return self._keys is not None and self._keys <= set(keys)
