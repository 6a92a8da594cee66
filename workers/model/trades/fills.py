"""The fills that a symbol's trades name (`f` to `l`): which come twice, which no trade has, and which are none.

An aggregate trade merges fills of one price and side, and says the raw ids of the first and the last. Its own id is
what the fold goes by; a fill that a second trade names again (seen on Binance: the REST reply of BTCUSDT from aggregate
id 1195414 on, https://github.com/ccxt/ccxt/issues/8329) is in the sums twice, as the exchange told it, and is marked.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from workers.model.events import Trade
from workers.model.trades.numbering import is_far

MOST_RANGES: Final = 64
"""Ranges of fills remembered of one symbol. Fills without a hole between them are one range, so this is the whole past
of a symbol in which no more than so many holes were seen."""

Range = tuple[int, int]
"""Ids of the first and the last fill."""


class Oddity(NamedTuple):
    """What is odd about the fills of one trade."""

    repeated: int = 0
    """Fills that an earlier trade had."""
    unnamed: int = 0
    """Fills between the trade with the id before and this one that no trade had."""
    impossible: bool = False
    """The ids are those of no fills: the last is before the first, or they are absurdly far from all others."""


class Fills:
    """Compares the fills of each trade with those of the trades before it. Cost: O(1) where they rise.

    A venue that tells no fills (ids below 0) is passed over; raw trades are their own fills.

    Args:
        known: fills that were told of before the first trade that is given here; None: nobody knows.
    """

    def __init__(self, known: Range | None = None) -> None:
        self._trade_id = -1
        self._last = -1
        """The last fill of the trade before; -1: not known."""
        self._ranges: list[Range] = []
        """Disjoint; that of the newest trade at the end."""
        if known is not None and 0 <= known[0] <= known[1] and not is_far(*known):
            self._ranges.append(known)
        self._highest = known[1] if self._ranges and known is not None else -1

    def follow(self, trade: Trade) -> Oddity | None:
        """Take the next trade of the symbol, by id; None: nothing is odd about it."""
        before = self._last if trade.trade_id == self._trade_id + 1 else -1
        self._trade_id = trade.trade_id
        first, last = trade.first_trade_id, trade.last_trade_id
        if first < 0 or last < first or is_far(first, last):
            self._last = -1
            return Oddity(impossible=True) if trade.is_market and (first, last) != (-1, -1) else None
        self._last = last
        if not trade.is_market:  # it is in no sum, so a trade that has its fills is no repeat
            return None
        is_next = self._ranges and self._ranges[-1][1] == self._highest < first
        if is_next and before in (-1, self._highest):
            repeated, unnamed = 0, 0 if before < 0 else first - before - 1
            if first == self._highest + 1:
                self._ranges[-1] = (self._ranges[-1][0], last)
            else:
                self._ranges.append((first, last))
                del self._ranges[:-MOST_RANGES]
            self._highest = last
        else:
            repeated, unnamed = self._common(first, last), 0
            if 0 <= before < first - 1:
                unnamed = first - before - 1 - self._common(before + 1, first - 1)
            self._remember(first, last)
        far = unnamed > 0 and is_far(before, first)
        if far:
            return Oddity(repeated, impossible=True)
        return Oddity(repeated, unnamed) if repeated or unnamed else None

    def _common(self, first: int, last: int) -> int:
        """How many of the fills are known."""
        return sum(max(0, min(last, high) - max(first, low) + 1) for low, high in self._ranges)

    def _remember(self, first: int, last: int) -> None:
        apart = []
        for low, high in self._ranges:
            if high < first - 1 or low > last + 1:
                apart.append((low, high))
            else:
                first, last = min(first, low), max(last, high)
        self._ranges = [*apart[-MOST_RANGES + 1 :], (first, last)]
        self._highest = max(high for _, high in self._ranges)
