"""Whether the best prices of a book of orders are those of the book of levels, though the two streams are apart."""

from __future__ import annotations

from collections import deque
from typing import Final

from workers.model.books.level_numbers import price_key
from workers.model.events import Level
from workers.model.level3.sync import OrderSync

APART_US: Final = 1_000_000
"""Two streams of one market differ by less: Bitstamp's by some 300 ms."""
KEPT_US: Final = 3 * APART_US
MOST: Final = 10_000
"""Changes remembered of a side, should nothing pass of the time."""


class BestPrices:
    """The best prices a book of orders had lately, by the exchange's time."""

    def __init__(self) -> None:
        self._sides: tuple[deque[tuple[int, str]], deque[tuple[int, str]]] = deque(), deque()
        """Of bids and asks: since when (µs), and the price; empty: no order."""

    def forget(self) -> None:
        """The book is another from now on."""
        for side in self._sides:
            side.clear()

    def note(self, sync: OrderSync) -> None:
        """A message has been folded in. O(1)."""
        for side, queue in zip(self._sides, (sync.book.best("bid"), sync.book.best("ask")), strict=True):
            price = queue.price if queue is not None else ""
            if side and side[-1][1] == price:
                continue
            side.append((sync.last_us, price))
            while len(side) > MOST or (len(side) > 1 and side[1][0] < sync.last_us - KEPT_US):
                side.popleft()

    def had(self, best: tuple[Level | None, Level | None], at_us: int, now_us: int) -> bool | None:
        """Whether the book of orders had both best prices within a second of a time (exchange µs).

        Args:
            now_us: the time up to which the orders have come.

        Returns: None where that cannot be told: they have not come as far, or it is too long ago.
        """
        if not all(self._sides) or at_us > now_us - APART_US or at_us < now_us - KEPT_US + APART_US:
            return None
        return all(self._had(side, level, at_us) for side, level in zip(self._sides, best, strict=True))

    @staticmethod
    def _had(side: deque[tuple[int, str]], level: Level | None, at_us: int) -> bool:
        wanted = price_key(level[0]) if level is not None else None
        until_us = at_us + 2 * APART_US
        for since_us, price in reversed(side):
            if since_us <= at_us + APART_US and until_us >= at_us - APART_US:
                there = price_key(price) if price else None
                if there == wanted:
                    return True
            until_us = since_us
        return False
