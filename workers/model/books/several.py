"""Folding several events of one book at once: each is looked at by itself, their levels are set together.

What comes of it is exactly what one by one makes of the same events. Between two of them nobody sees the book, so that
its levels may be set in any pieces; but where it may be crossed in between, or hold too many levels, it matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from workers.errors import BadNumber
from workers.model.books.level_numbers import Numbers, parse_changes
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync
from workers.model.events import DepthEvent, Level


def fold_several(sync: BookSync, events: Sequence[DepthEvent], now_ms: int) -> int:
    """Take the first of some events that are plain changes, each of which follows the one before.

    Returns how many were taken, each of which `on_event` would have called APPLIED; the last may have crossed the book,
    the others have not. What comes next is for `on_event` to judge. O(log n) a change.
    """
    if not sync.only_changes:
        return 0
    bids, asks = list[Level](), list[Level]()
    chained, last_id, follows = 0, sync.last_update_id, sync.rule.follows
    for event in events:
        if event.kind != "update" or event.last_id <= last_id or not follows(event, last_id):
            break
        last_id = event.last_id
        chained += 1
        bids += event.bids
        asks += event.asks
    if not chained:
        return 0
    try:
        numbers = parse_changes(bids, asks)
    except BadNumber:
        return 0
    if sync.book.stays_apart(numbers[0][: len(bids)], numbers[0][len(bids) :]):
        sync.book.apply(bids, asks, numbers)
    else:
        chained = _Pieces(sync.book, events[:chained], bids, asks, numbers).apply(0, chained)
    sync.has_taken(events[chained - 1], now_ms)
    return chained


class _Pieces:
    """Events that may cross their book, with all their levels and the numbers of those."""

    def __init__(
        self,
        book: OrderBook,
        events: Sequence[DepthEvent],
        bids: list[Level],
        asks: list[Level],
        numbers: Numbers,
    ) -> None:
        self._book, self._bids, self._asks = book, bids, asks
        self._keys, self._quantities = numbers
        self._bid_ends = list(accumulate((len(event.bids) for event in events), initial=0))
        self._ask_ends = list(accumulate((len(event.asks) for event in events), initial=0))

    def apply(self, first: int, end: int) -> int:
        """Apply those from `first` to before `end`, up to the one that crosses the book; how many were."""
        low, high, bids = self._ask_ends[first], self._ask_ends[end], len(self._bids)
        of_bids = slice(self._bid_ends[first], self._bid_ends[end])
        of_asks = slice(bids + low, bids + high)
        bid_keys, ask_keys = self._keys[of_bids], self._keys[of_asks]
        if end - first == 1 or self._book.stays_apart(bid_keys, ask_keys):
            quantities = self._quantities[of_bids] + self._quantities[of_asks]
            self._book.apply(self._bids[of_bids], self._asks[low:high], (bid_keys + ask_keys, quantities))
            return end - first
        middle = (first + end) // 2
        taken = self.apply(first, middle)
        return taken if self._book.crossed else taken + self.apply(middle, end)
