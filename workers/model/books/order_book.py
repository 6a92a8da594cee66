"""A local order book: the price levels of one symbol, and the price range in which they are proven.

A REST snapshot proves a range of prices, not the whole book: "you won't learn the quantities for the levels
outside of the initial snapshot unless they change" (Binance docs, 'How to manage a local order book
correctly'). So a book keeps apart what it *holds*, every level it was told of, and what it *knows*, the
levels inside the proven range, where absence is knowledge too.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from workers.model.books.book_side import BookSide, Side
from workers.model.books.level_numbers import (
    LONGEST_NUMBER,
    Numbers,
    parse_changes,
    price_key,
    quantity_value,
)
from workers.model.events import Level, Snapshot

__all__ = [
    "DEFAULT_MAX_LEVELS",
    "LONGEST_NUMBER",
    "Difference",
    "OrderBook",
    "Side",
    "parse_changes",
    "price_key",
    "quantity_value",
]

DEFAULT_MAX_LEVELS = 5000
"""Levels held per side: the deepest snapshot Binance gives."""

USUAL_LIMITS = frozenset({5, 10, 20, 50, 100, 500, 1000, 5000})
"""The numbers of levels that an exchange can be asked for, or gives unasked."""


class Difference(NamedTuple):
    """A price at which two books at the same update id disagree; an absent level has quantity `"0"`."""

    side: Side
    price: str
    held_quantity: str
    snapshot_quantity: str


def whole_sides(snapshot: Snapshot) -> tuple[bool, bool]:
    """Whether a snapshot proves that its bids, and its asks, are all there are.

    That a side has fewer levels than were asked for is no proof: of 1,000 an exchange has left out one it would not
    show, and what stands between may ask for fewer than we do. A proof is a side of at most half as many; but not if
    both have just as many as another limit would leave.
    """
    bids, asks = len(snapshot.bids), len(snapshot.asks)
    if bids == asks and bids in USUAL_LIMITS:
        return False, False
    return 2 * bids <= snapshot.limit > 0, 2 * asks <= snapshot.limit > 0


class OrderBook:
    """The book of one symbol.

    Fill: `load`, `apply`, `succeed`, `restore`, `clear`.
    What is held, best first: `top`, `best_bid`, `best_ask`, `levels`, `counts`, `crossed`.
    What is known: `known_levels`, `known_counts`, `quantity_at`, `nearest_level`, and of the range itself
    `known_low`, `known_high`, `covers`, `edge_distance`.

    `known_top` is proven whole while `known_counts` is at least n on both sides. A new or cleared book knows nothing.
    Beyond `max_levels` on a side the farthest are dropped, and the known range shrinks to what is complete.

    Runtime, n levels a side: `apply` O(log n) a change, `top(k)` O(k), best, `crossed` and `quantity_at`
    O(1), `nearest_level` O(log n), `load` and `succeed` O(n log n). BadNumber from `load`
    or `apply` leaves the book as it was.
    """

    __slots__ = ("_asks", "_bids", "max_levels")

    def __init__(self, max_levels: int = DEFAULT_MAX_LEVELS) -> None:
        if max_levels < 1:
            raise ValueError(f"max_levels must be at least 1, not {max_levels}")
        self.max_levels = max_levels
        self._bids = BookSide("bid", max_levels)
        self._asks = BookSide("ask", max_levels)

    def clear(self) -> None:
        """Forget every level and the known range."""
        self._bids.clear()
        self._asks.clear()

    def load(self, snapshot: Snapshot) -> None:
        """Replace the book by a snapshot; which of its sides are complete to their end, `whole_sides` says."""
        n = len(snapshot.bids)
        keys, quantities = parse_changes(snapshot.bids, snapshot.asks)
        whole = whole_sides(snapshot)
        self._bids.load(snapshot.bids, keys[:n], quantities[:n], whole=whole[0])
        self._asks.load(snapshot.asks, keys[n:], quantities[n:], whole=whole[1])

    def apply(self, bids: list[Level], asks: list[Level], numbers: Numbers | None = None) -> None:
        """Set absolute quantities by price; zero deletes, and deleting what is not there is normal.

        `numbers`: what `parse_changes` says of these levels, where they were read with others at once.
        """
        n = len(bids)
        keys, quantities = numbers or parse_changes(bids, asks)
        self._bids.apply(bids, keys, quantities)
        self._asks.apply(asks, keys[n:], quantities[n:])

    def stays_apart(self, bids: list[float], asks: list[float]) -> bool:
        """Whether changes of these keys, in whatever pieces, can neither cross the book nor have levels dropped. O(n).

        Then it is the same after all of them, however they were applied.
        """
        highest = max(self._bids.keys[-1:] + bids, default=-math.inf)
        lowest = -max(self._asks.keys[-1:] + asks, default=-math.inf)
        most = self.max_levels
        return (
            highest < lowest
            and len(self._bids.keys) + len(bids) <= most
            and len(self._asks.keys) + len(asks) <= most
        )

    def prove_whole(self) -> None:
        """What is held is all there is of each side that has not reached `max_levels`. O(1)."""
        for side in (self._bids, self._asks):
            if len(side.keys) < side.max_levels:
                side.prove(-math.inf, "")

    def keep_window(self, levels: int, *, cut: bool) -> None:
        """Of a stream that keeps up so many best levels a side, 0: all. What is known ends with the last of them. O(1).

        Args:
            cut: drop what is held beyond them, O(n) for n such levels; else the stream deletes it itself.
        """
        self._bids.keep_window(levels, cut=cut)
        self._asks.keep_window(levels, cut=cut)

    def top(self, n: int = 10) -> tuple[list[Level], list[Level]]:
        """The best `n` bids and asks, best first."""
        return self._bids.top(n), self._asks.top(n)

    @property
    def best_bid(self) -> Level | None:
        return self._bids.best()

    @property
    def best_ask(self) -> Level | None:
        return self._asks.best()

    @property
    def crossed(self) -> bool:
        """Best bid at or above best ask: an exchange's own book never is, so something is wrong."""
        bids, asks = self._bids.keys, self._asks.keys
        return bool(bids and asks and bids[-1] >= -asks[-1])

    @property
    def known_low(self) -> str:
        """Bids are known from this price upwards: `"0"` when to their end, `"inf"` when nothing is known."""
        return self._bids.edge_text or ("0" if self._bids.edge < 0 else "inf")

    @property
    def known_high(self) -> str:
        """Asks are known up to this price: `"inf"` when to their end, `"0"` when nothing is known."""
        return self._asks.edge_text or ("inf" if self._asks.edge < 0 else "0")

    @property
    def proven_best(self) -> tuple[float, float]:
        """Best bid and ask when the known range was last proven, from which `edge_distance` measures."""
        return self._bids.proven_best, -self._asks.proven_best

    @property
    def counts(self) -> tuple[int, int]:
        """Levels held: bids, asks."""
        return len(self._bids.keys), len(self._asks.keys)

    @property
    def known_counts(self) -> tuple[int, int]:
        """Levels known: bids, asks."""
        bids, asks = (len(side.keys) - side.known_start() for side in (self._bids, self._asks))
        return bids, asks

    def levels(self, side: Side) -> Iterator[Level]:
        """Every level of a side, best first. The book must not change meanwhile."""
        return (self._bids if side == "bid" else self._asks).from_best()

    def known_levels(self, side: Side) -> Iterator[Level]:
        """The levels of a side inside the known range, best first. The book must not change meanwhile."""
        one = self._bids if side == "bid" else self._asks
        return one.from_best(one.known_start())

    def known_top(self, n: int) -> tuple[list[Level], list[Level]]:
        """The best `n` bids and asks that are known: fewer where the known range ends before."""
        if min(self.known_counts) >= n:
            return self.top(n)
        return list(islice(self.known_levels("bid"), n)), list(islice(self.known_levels("ask"), n))

    def covers(self, price: str) -> bool:
        """Whether a price lies within `known_low..known_high`. Raises BadNumber."""
        key = price_key(price)
        return self._bids.edge <= key and self._asks.edge <= -key

    def quantity_at(self, side: Side, price: str) -> str | None:
        """The quantity as sent, `"0"` where none is known to be, None for unknown. Raises BadNumber."""
        one = self._bids if side == "bid" else self._asks
        key = one.sign * price_key(price)
        return None if key < one.edge else one.levels.get(key, ("", "0"))[1]

    def level_at(self, side: Side, price: str) -> Level | None:
        """The level held at a price, inside the known range or not, in its own spelling. Raises BadNumber."""
        key = price_key(price)
        return self._bids.levels.get(key) if side == "bid" else self._asks.levels.get(-key)

    def nearest_level(self, price: str) -> tuple[Side, Level] | None:
        """The known level nearest to a price; of equally near ones the lower, a bid before an ask."""
        key, target = price_key(price), Decimal(price)
        near: list[tuple[Decimal, Decimal, int, Side, Level]] = []
        for rank, one in enumerate((self._bids, self._asks)):
            start = one.known_start()
            place = max(start, bisect_left(one.keys, one.sign * key))
            for found in one.keys[max(start, place - 1) : place + 1]:
                level = one.levels[found]
                near.append((abs(Decimal(level[0]) - target), Decimal(level[0]), rank, one.side, level))
        return min(near)[3:] if near else None

    def edge_distance(self) -> float:
        """How far the market is from the edge of the known range, 1.0 to 0.0.

        The smaller of the sides' distances from best level to edge, each as a share of what it was when the range
        was proven. A side complete to its end has no edge; at 0.0 one has hardly a known level left.
        """
        return min(self._bids.room(), self._asks.room())

    def succeed(self, newer: OrderBook) -> list[Difference]:
        """Become a book that was filled later and stands at the same id; on differences (returned) nothing is changed.

        The two must agree where both know. What this book knows beyond the newer one's range is kept, in the newer one,
        which must not be used any more. What neither knows is dropped, so nothing accumulates.
        """
        differences = self.differences(newer)
        if not differences:
            newer._bids.extend(self._bids)
            newer._asks.extend(self._asks)
            self._bids, self._asks = newer._bids, newer._asks
        return differences

    def differences(self, other: OrderBook) -> list[Difference]:
        """Prices known to both books at which their quantities differ as numbers, best first. O(n log n)."""
        different: list[Difference] = []
        for mine, theirs in ((self._bids, other._bids), (self._asks, other._asks)):
            edge = max(mine.edge, theirs.edge)
            for key in sorted({*mine.keys, *theirs.keys}, reverse=True):
                if key < edge:
                    break
                held, sent = mine.levels.get(key), theirs.levels.get(key)
                quantities = held[1] if held else "0", sent[1] if sent else "0"
                if quantities[0] != quantities[1] and Decimal(quantities[0]) != Decimal(quantities[1]):
                    different.append(Difference(mine.side, (held or sent or ("",))[0], *quantities))
        return different

    def count_compared(self, other: OrderBook) -> tuple[int, int]:
        """Bid and ask prices known to both books at which at least one has a level. O(n)."""
        pairs = ((self._bids, other._bids), (self._asks, other._asks))
        bids, asks = (
            sum(key >= max(mine.edge, theirs.edge) for key in {*mine.keys, *theirs.keys})
            for mine, theirs in pairs
        )
        return bids, asks

    def restore(
        self, bids: list[Level], asks: list[Level], known: tuple[str, str], proven_best: tuple[float, float]
    ) -> None:
        """Become the book that gave these: `levels`, (`known_low`, `known_high`) and `proven_best`."""
        low = -math.inf if known[0] == "0" else math.inf if known[0] == "inf" else price_key(known[0])
        high = math.inf if known[1] == "inf" else 0.0 if known[1] == "0" else price_key(known[1])
        self._bids.max_levels = self._asks.max_levels = max(len(bids), len(asks), self.max_levels)
        self.load(Snapshot(symbol="", last_update_id=0, bids=bids, asks=asks))
        self._bids.max_levels = self._asks.max_levels = self.max_levels
        self._bids.prove(low, "" if math.isinf(low) else known[0], proven_best[0])
        self._asks.prove(-high or math.inf, known[1] if 0 < high < math.inf else "", -proven_best[1])

    def check(self) -> None:
        """Assert every invariant of the structure. O(n)."""
        self._bids.check()
        self._asks.check()
