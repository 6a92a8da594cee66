"""Checksums of books: what a venue sends, and what a book must say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from workers.model.books.order_book import OrderBook
from workers.model.events import Level

Checksum = Callable[[Sequence[Level], Sequence[Level]], int]
"""The venue's checksum of a book: best bids first and best asks first, as (price, quantity) texts as they were sent;
as many levels a side as `ChecksumRule.levels`, or all there are."""


class ChecksumRule(NamedTuple):
    """How books of a venue are compared with the checksums it sends.

    levels: levels a side that take part.
    of: the checksum of those.
    """

    levels: int
    of: Checksum

    def holds(self, book: OrderBook, checksum: int) -> bool:
        """Whether a book is the one the venue speaks of. Cost: O(levels)."""
        bids, asks = book.top(self.levels)
        return self.of(bids, asks) == checksum
