"""The matching engine's view of one order book: integer levels on two sides.

Both sides are kept as signed keys, `+ticks` for bids and `-ticks` for asks, so that on either side a
greater key is a better price and the best one is last.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

Levels = list[tuple[int, int]]
"""Prices in ticks and quantities in steps."""


def sides_of(levels: Iterable[tuple[int, int]]) -> tuple[Levels, Levels]:
    """Bids and asks, best first, of levels by signed keys."""
    ordered = sorted(levels, reverse=True)
    return [level for level in ordered if level[0] > 0], [(-key, steps) for key, steps in ordered if key < 0]


class Ladder:
    """Levels of one side by key, with the keys in ascending order."""

    __slots__ = ("keys", "levels")

    def __init__(self, levels: dict[int, int]) -> None:
        self.levels = levels
        self.keys = sorted(levels)

    def set(self, key: int, quantity: int) -> bool:
        """Set the quantity of a level, 0 removing it; False when nothing changed."""
        levels = self.levels
        if quantity:
            known = levels.get(key)
            if known == quantity:
                return False
            levels[key] = quantity
            if known is None:
                insort(self.keys, key)
            return True
        if levels.pop(key, None) is None:
            return False
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]
        return True


class MatchingBook:
    """Bids and asks of one symbol."""

    __slots__ = ("asks", "bids")

    def __init__(self, bids: Ladder, asks: Ladder) -> None:
        self.bids = bids
        self.asks = asks

    def opposite(self, side: Ladder) -> Ladder:
        """The other side."""
        return self.asks if side is self.bids else self.bids

    def levels(self) -> Iterator[tuple[int, int]]:
        """All levels of both sides as signed keys and quantities."""
        yield from self.bids.levels.items()
        yield from self.asks.levels.items()

    def top(self, count: int) -> tuple[Levels, Levels]:
        """The best `count` bids and asks, best first, as (ticks, steps)."""
        bids = [(key, self.bids.levels[key]) for key in reversed(self.bids.keys[-count:])]
        asks = [(-key, self.asks.levels[key]) for key in reversed(self.asks.keys[-count:])]
        return bids, asks

    def best(self) -> tuple[int, int, int, int]:
        """Best bid key and quantity, best ask key and quantity; zeros for an empty side."""
        bid = self.bids.keys[-1] if self.bids.keys else 0
        ask = self.asks.keys[-1] if self.asks.keys else 0
        return bid, self.bids.levels.get(bid, 0), ask, self.asks.levels.get(ask, 0)

    def check(self) -> None:
        """Assert that keys and levels agree, quantities are positive and the sides do not cross."""
        for side in (self.bids, self.asks):
            assert side.keys == sorted(side.levels)
            assert all(quantity > 0 for quantity in side.levels.values())
        assert all(key > 0 for key in self.bids.keys)
        assert all(key < 0 for key in self.asks.keys)
        if self.bids.keys and self.asks.keys:
            assert self.bids.keys[-1] < -self.asks.keys[-1]
