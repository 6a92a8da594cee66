"""One side of an order book: its levels in the order of their prices, and how far out they are proven."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Literal

from workers.model.books.level_numbers import price_key, quantity_value
from workers.model.events import Level

Side = Literal["bid", "ask"]


class BookSide:
    """One side of a book, the best level last, so that a change near the best moves little memory.

    `levels` maps key to level as sent, `keys` holds the keys ascending; a key is the price of a bid, or minus
    that of an ask. A change of a held level is O(1); insert and delete O(log n) to find the place plus a
    memmove of what is better; best O(1), top k O(k).
    """

    __slots__ = ("edge", "edge_text", "keys", "levels", "max_levels", "proven_best", "side", "sign")

    def __init__(self, side: Side, max_levels: int) -> None:
        self.side: Side = side
        self.sign = 1.0 if side == "bid" else -1.0
        self.max_levels = max_levels
        self.clear()

    def clear(self) -> None:
        self.levels: dict[float, Level] = {}
        self.keys: list[float] = []
        # Keys from `edge` upwards are known: inf for none, -inf when the side is complete to its end.
        self.edge = self.proven_best = math.inf
        self.edge_text = ""

    def load(self, changes: list[Level], keys: list[float], quantities: list[float], *, whole: bool) -> None:
        """Replace everything by a snapshot's side, which may be all there is of it. O(n log n)."""
        self.levels = {k: level for level, k, q in zip(changes, keys, quantities, strict=True) if q}
        self.keys = sorted(self.levels)
        if whole or not self.keys:
            self.prove(-math.inf, "")
        else:
            self.prove(self.keys[0], self.levels[self.keys[0]][0])

    def prove(self, edge: float, edge_text: str, proven_best: float | None = None) -> None:
        """Declare every key from `edge` upwards known, and `room` to be measured from the best level."""
        self.edge, self.edge_text = edge, edge_text
        self.drop_farthest()
        best = self.keys[-1] if self.keys else self.edge
        self.proven_best = best if proven_best is None else proven_best

    def apply(self, changes: list[Level], keys: list[float], quantities: list[float]) -> None:
        """Set or delete levels, O(log n) each; `keys` and `quantities` may be longer than `changes`."""
        levels, ordered = self.levels, self.keys
        for level, key, quantity in zip(changes, keys, quantities, strict=False):
            if quantity:
                if key not in levels:
                    insort(ordered, key)
                levels[key] = level
            elif key in levels:
                del levels[key]
                del ordered[bisect_left(ordered, key)]
        if len(ordered) > self.max_levels:
            self.drop_farthest()

    def drop_farthest(self) -> None:
        excess = len(self.keys) - self.max_levels
        if excess > 0:
            farthest_edge = self.keys[excess - 1]
            for key in self.keys[:excess]:
                del self.levels[key]
            del self.keys[:excess]
            if farthest_edge >= self.edge:
                self.edge, self.edge_text = self.keys[0], self.levels[self.keys[0]][0]

    def keep_window(self, levels: int, *, cut: bool) -> None:
        """See `OrderBook.keep_window`."""
        if not levels or levels > self.max_levels:
            return  # what was dropped beyond `max_levels` is unknown, however many levels are left
        excess = len(self.keys) - levels
        if cut and excess > 0:
            for key in self.keys[:excess]:
                del self.levels[key]
            del self.keys[:excess]
        if excess < 0:
            self.prove(-math.inf, "")
        else:
            self.prove(self.keys[0], self.levels[self.keys[0]][0])

    def extend(self, older: BookSide) -> None:
        """Replace what is held beyond the edge by what `older` knows there, at the same update id. O(n).

        An open end beyond which `older` has nothing stays open only where this one proves it.
        """
        start = self.known_start()
        for key in self.keys[:start]:
            del self.levels[key]
        beyond = older.keys[older.known_start() : bisect_left(older.keys, self.edge)]
        self.levels.update((key, older.levels[key]) for key in beyond)
        self.keys[:start] = beyond
        if older.edge < self.edge and (beyond or older.edge > -math.inf):
            self.prove(older.edge, older.edge_text)

    def best(self) -> Level | None:
        return self.levels[self.keys[-1]] if self.keys else None

    def top(self, n: int) -> list[Level]:
        return list(map(self.levels.__getitem__, self.keys[: -n - 1 : -1]))

    def known_start(self) -> int:
        """Index of the worst known level in `keys`. O(log n)."""
        return bisect_left(self.keys, self.edge)

    def from_best(self, start: int = 0) -> Iterator[Level]:
        """The levels held, best first, down to the index `start` of `keys`."""
        return map(self.levels.__getitem__, reversed(self.keys[start:]))

    def room(self) -> float:
        """The share left of the way from best level to edge, compared with when the range was proven."""
        if self.edge == -math.inf:
            return 1.0
        if not self.keys or self.keys[-1] <= self.edge or self.proven_best <= self.edge:
            return 0.0
        return min(1.0, (self.keys[-1] - self.edge) / (self.proven_best - self.edge))

    def check(self) -> None:
        assert len(self.keys) == len(self.levels) <= self.max_levels, (len(self.keys), len(self.levels))
        assert all(a < b for a, b in zip(self.keys, self.keys[1:], strict=False)), "keys must ascend"
        for key in self.keys:
            price, quantity = self.levels[key]
            assert self.sign * price_key(price) == key, (key, price)
            assert quantity_value(quantity) > 0, (price, quantity)
        named = self.sign * price_key(self.edge_text) if self.edge_text else None
        assert named == (None if math.isinf(self.edge) else self.edge), (self.edge, self.edge_text)
