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
Best = tuple[Level | None, Level | None]
"""Best bid and ask; None: the side is empty."""
MOST_TOLD: Final = 100
MOST: Final = 10_000
"""Changes remembered of a side, should nothing pass of the time."""


class BestPrices:
    """The best prices a book of orders had lately, by the exchange's time."""

    def __init__(self) -> None:
        self._told: deque[tuple[int, Best]] = deque(maxlen=MOST_TOLD)
        self._sides: tuple[deque[tuple[int, str]], deque[tuple[int, str]]] = deque(), deque()
        """Of bids and asks: since when (µs), and the price; empty: no order."""

    def told(self, best: Best, at_us: int) -> None:
        """The book of levels has these best prices at a time (exchange µs): compared once the orders are past it."""
        if not self._told or self._told[-1][0] < at_us:
            self._told.append((at_us, best))

    def compared(self, now_us: int) -> list[tuple[Best, bool]]:
        """What was told that can be compared now, and whether the book of orders had it.

        Args:
            now_us: the time up to which the orders have come.
        """
        found = []
        while self._told and self._told[0][0] + APART_US <= now_us:
            at_us, best = self._told.popleft()
            if (same := self.had(best, at_us, now_us)) is not None:
                found.append((best, same))
        return found

    def forget(self) -> None:
        """The book is another from now on."""
        self._told.clear()
        for side in self._sides:
            side.clear()

    def note(self, sync: OrderSync) -> None:
        """A message has been folded in. O(1)."""
        if not sync.last_us:
            return  # a seed that tells no time, as Coinbase's: nobody knows since when that holds
        for side, queue in zip(self._sides, (sync.book.best("bid"), sync.book.best("ask")), strict=True):
            price = queue.price if queue is not None else ""
            if side and side[-1][1] == price:
                continue
            side.append((sync.last_us, price))
            while len(side) > MOST or (len(side) > 1 and side[1][0] < sync.last_us - KEPT_US):
                side.popleft()

    def had(self, best: Best, at_us: int, now_us: int) -> bool | None:
        """Whether the book of orders had both best prices within a second of a time (exchange µs).

        Args:
            now_us: the time up to which the orders have come.

        Returns: None where that cannot be told: they have not come as far, or it is too long ago, or may be from before
            the book began.
        """
        if not all(self._sides) or any(at_us - APART_US < side[0][0] for side in self._sides):
            return None
        if at_us > now_us - APART_US or at_us < now_us - KEPT_US + APART_US:
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
