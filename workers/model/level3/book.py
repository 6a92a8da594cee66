"""A level-3 book: every order by its id, one queue a price, sides in price order.

Level sums and counts are kept by the code that changes the queues, so the level-2 view cannot differ from them.
Prices and quantities stay the exchange's text; beside it a quantity is an integer in units of 1e-18, so sums are exact.

What is known: a book that is `whole` began with every order there was. A level is *complete* if its book is whole and
nothing at its price showed that an order is missing. Only there is the number of orders ahead of one exact.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from workers.model.books.level_numbers import price_key
from workers.model.books.order_book import Side
from workers.model.events import Level
from workers.model.level3.queue import Order, PriceQueue
from workers.model.trades.decimals import FINE

DEFAULT_MAX_ORDERS: Final = 1_000_000
"""Orders held: nine times what Coinbase's BTC-USD has."""
MOST_DOUBTS: Final = 10_000
"""Prices of a side that are remembered as incomplete; with more of them nothing of the book is called complete."""

_cached_price_key = lru_cache(1 << 16)(price_key)


class Place(NamedTuple):
    """Where an order stands in the queue of its price.

    position: orders before it, 0 for the first.
    quantity_ahead: their sum, plain decimal text.
    exact: False where orders may stand ahead that nobody told us of, so that both are only lower bounds.
    """

    position: int
    quantity_ahead: str
    exact: bool


class LevelView(NamedTuple):
    """A price level as it is published: its sum, its number of orders, and who stands first."""

    price: str
    quantity: str
    orders: int
    complete: bool
    first: tuple[Order, ...]


class _OrderSide:
    """One side; keys as in `OrderBook`: the price of a bid, minus that of an ask, ascending, so the best is last."""

    __slots__ = ("count", "doubts", "keys", "levels", "side", "sign", "window")

    def __init__(self, side: Side, window: int) -> None:
        self.side: Side = side
        self.sign = 1.0 if side == "bid" else -1.0
        self.window = window
        self.levels: dict[float, PriceQueue] = {}
        self.keys: list[float] = []
        self.doubts: set[float] = set()
        self.count = 0

    def queue_at(self, price: str) -> PriceQueue:
        """The queue of a price, made where there is none. O(log n)."""
        key = self.sign * _cached_price_key(price)
        queue = self.levels.get(key)
        if queue is None:
            queue = self.levels[key] = PriceQueue(self.side, price, key)
            insort(self.keys, key)
        return queue

    def drop(self, queue: PriceQueue) -> None:
        """An empty level goes. O(log n)."""
        del self.levels[queue.key]
        del self.keys[bisect_left(self.keys, queue.key)]

    def best(self) -> PriceQueue | None:
        return self.levels[self.keys[-1]] if self.keys else None

    def from_best(self) -> Iterator[PriceQueue]:
        return map(self.levels.__getitem__, reversed(self.keys))

    def complete(self, key: float) -> bool:
        """Whether all orders of a level are known, if the book is whole. The last one of a full window may be cut."""
        return key not in self.doubts and not (0 < self.window <= self.count and key <= self.keys[0])


class Level3Book:
    """The orders of one symbol.

    Change: `add`, `set_quantity`, `move`, `reduce`, `remove`, `doubt`, `keep_levels`, `clear`,
    `restore_doubts`.
    Ask: `order`, `place`, `age_us`, `top`, `best`, `levels`, `level2`, `counts`, `complete`, `crossed`, `full`.

    Runtime, n levels a side: a change by id is O(1), one that makes or empties a level O(log n) plus a memmove of
    what is better; `place` O(orders ahead), `top(k)` O(k). BadNumber from a change leaves the book as it was.

    Args:
        max_orders: more than these make the book `full`. It drops none: a book without some of its orders is wrong,
            so whoever keeps it (`OrderSync`) takes the whole of it out of sync.
        window: orders a side that the exchange shows at most, 0: all.
    """

    __slots__ = ("_asks", "_bids", "_orders", "max_orders", "whole", "window")

    def __init__(self, max_orders: int = DEFAULT_MAX_ORDERS, *, window: int = 0) -> None:
        if max_orders < 1:
            raise ValueError(f"max_orders must be at least 1, not {max_orders}")
        self.max_orders = max_orders
        self.window = window
        self.clear()

    def clear(self, *, whole: bool = False) -> None:
        """Forget every order. `whole`: what is added next is all there is."""
        self._orders: dict[str, Order] = {}
        self._bids = _OrderSide("bid", self.window)
        self._asks = _OrderSide("ask", self.window)
        self.whole = whole

    def _side(self, side: Side) -> _OrderSide:
        return self._bids if side == "bid" else self._asks

    def add(
        self,
        order_id: str,
        side: Side,
        price: str,
        quantity: str,
        *,
        rank: int | None = None,
        placed_us: int = -1,
        seen: bool = True,
    ) -> Order:
        """A new order, at the end of its queue, or by its rank where the venue has an order of its own.

        Args:
            rank: what the venue orders a queue by (a time, an id); it goes behind all of the same or a lower one.
            placed_us: exchange µs since 1970, -1: unknown.
            seen: its creation was seen; else it is from a seed.

        Raises:
            ValueError: the id is held already, or the quantity is zero.
            BadNumber: of price or quantity.
        """
        if order_id in self._orders:
            raise ValueError(f"order {order_id[:64]} is held already")
        units = FINE.quantity_units(quantity)
        if not units:
            raise ValueError(f"order {order_id[:64]} has no quantity")
        where = self._side(side)
        queue = where.queue_at(price)
        order = Order(order_id, queue, quantity, units, placed_us, seen=seen)
        queue.insert(order, rank)
        where.count += 1
        self._orders[order_id] = order
        return order

    def set_quantity(self, order_id: str, quantity: str, *, keeps_place: bool = False) -> Order | None:
        """What is left of an order. More than before costs its place unless `keeps_place`; zero removes it. O(1).

        Returns: the order as it stands, or as it went; None where none is known.
        """
        order = self._orders.get(order_id)
        if order is None:
            return None
        units = FINE.quantity_units(quantity)
        if not units:
            return self.remove(order_id)
        queue = order.queue
        if units > order.units and not keeps_place:
            queue.detach(order)
            order.quantity, order.units = quantity, units
            queue.insert(order, None)
        else:
            queue.units += units - order.units
            order.quantity, order.units = quantity, units
        return order

    def reduce(self, order_id: str, quantity: str) -> Order | None:
        """Take a fill off an order, which keeps its place; one that is used up goes. O(1).

        Raises:
            ValueError: the fill is larger than the order.
        """
        order = self._orders.get(order_id)
        if order is None:
            return None
        left = order.units - FINE.quantity_units(quantity)
        if left < 0:
            raise ValueError(f"order {order_id[:64]} is filled by more than it has")
        return self.set_quantity(order_id, FINE.plain_quantity(left))

    def move(self, order_id: str, price: str, quantity: str, *, rank: int | None = None) -> Order | None:
        """An order gets another price: it goes to the end of that queue, or where its rank says. O(log n)."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        _cached_price_key(price)
        units = FINE.quantity_units(quantity)
        removed = self.remove(order_id)
        if units and removed:
            side = removed.queue.side
            return self.add(
                order_id, side, price, quantity, rank=rank, placed_us=removed.placed_us, seen=removed.seen
            )
        return removed

    def remove(self, order_id: str) -> Order | None:
        """Detach an order by its id, whatever price an event names. O(1), O(log n) where its level empties."""
        order = self._orders.pop(order_id, None)
        if order is None:
            return None
        queue = order.queue
        where = self._side(queue.side)
        queue.detach(order)
        where.count -= 1
        if not queue.count:
            where.drop(queue)
        return order

    def doubt(self, side: Side, price: str) -> None:
        """Something at a price showed that an order is missing: it is not complete until the book begins anew."""
        where = self._side(side)
        where.doubts.add(where.sign * _cached_price_key(price))
        if len(where.doubts) > MOST_DOUBTS:
            self.whole = False
            where.doubts.clear()

    def keep_levels(self, levels: int) -> None:
        """Drop what is beyond so many best prices a side: the exchange says nothing of it any more. O(dropped)."""
        for where in (self._bids, self._asks):
            for key in where.keys[: max(0, len(where.keys) - levels)]:
                for order in list(where.levels[key]):
                    self.remove(order.order_id)

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def full(self) -> bool:
        """More orders than the bound allows: whoever keeps the book must let all of it go."""
        return len(self._orders) > self.max_orders

    @property
    def counts(self) -> tuple[int, int]:
        """Levels held: bids, asks."""
        return len(self._bids.keys), len(self._asks.keys)

    @property
    def crossed(self) -> bool:
        """Best bid at or above best ask. O(1)."""
        bids, asks = self._bids.keys, self._asks.keys
        return bool(bids and asks and bids[-1] >= -asks[-1])

    def order(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def best(self, side: Side) -> PriceQueue | None:
        return self._side(side).best()

    def queue_at(self, side: Side, price: float) -> PriceQueue | None:
        """The queue of a price, None where nothing rests. O(1)."""
        where = self._side(side)
        return where.levels.get(where.sign * price)

    def levels(self, side: Side) -> Iterator[PriceQueue]:
        """Every queue of a side, best first. The book must not change meanwhile."""
        return self._side(side).from_best()

    def complete(self, queue: PriceQueue) -> bool:
        """Whether every order of a level is known."""
        return self.whole and self._side(queue.side).complete(queue.key)

    def place(self, order_id: str) -> Place | None:
        """Where an order stands, None for one that is not known. O(orders ahead)."""
        order = self._orders.get(order_id)
        if order is None:
            return None
        position, units = order.queue.ahead_of(order)
        return Place(position, FINE.plain_quantity(units), self.complete(order.queue))

    def age_us(self, order_id: str, now_us: int) -> int | None:
        """For how long an order has been there, by the exchange's clock; None where nobody told since when."""
        order = self._orders.get(order_id)
        return None if order is None or order.placed_us < 0 else max(0, now_us - order.placed_us)

    @property
    def doubts(self) -> tuple[list[float], list[float]]:
        """Prices of bids, and of asks, whose levels are not complete."""
        bids, asks = (sorted(where.sign * key for key in where.doubts) for where in self.sides())
        return bids, asks

    def restore_doubts(self, bids: list[float], asks: list[float]) -> None:
        """The reverse."""
        self._bids.doubts, self._asks.doubts = set(bids), {-price for price in asks}

    def top(self, levels: int = 10, first: int = 3) -> tuple[list[LevelView], list[LevelView]]:
        """The best levels of bids and asks, best first, each with the first orders of its queue. O(levels · first)."""
        bids, asks = (
            [self._view(queue, first) for queue in self._best(side, levels)] for side in self.sides()
        )
        return bids, asks

    def level2(self, levels: int | None = None) -> tuple[list[Level], list[Level]]:
        """The level-2 view, best first: price as sent, exact sum as plain text. O(levels)."""
        bids, asks = (
            [(queue.price, queue.quantity) for queue in self._best(side, levels)] for side in self.sides()
        )
        return bids, asks

    def sides(self) -> tuple[_OrderSide, _OrderSide]:
        return self._bids, self._asks

    def _best(self, side: _OrderSide, levels: int | None) -> Iterator[PriceQueue]:
        keys = side.keys if levels is None else side.keys[max(0, len(side.keys) - levels) :]
        return map(side.levels.__getitem__, reversed(keys))

    def _view(self, queue: PriceQueue, first: int) -> LevelView:
        return LevelView(queue.price, queue.quantity, queue.count, self.complete(queue), queue.first(first))

    def check(self) -> None:
        """Assert every invariant of the structure. O(n)."""
        known: dict[str, Order] = {}
        for where in self.sides():
            assert len(where.keys) == len(where.levels), (len(where.keys), len(where.levels))
            assert all(a < b for a, b in zip(where.keys, where.keys[1:], strict=False)), "keys must ascend"
            count = 0
            for key in where.keys:
                queue = where.levels[key]
                assert queue.side == where.side
                assert queue.key == key == where.sign * price_key(queue.price), (key, queue.price)
                queue.check()
                count += queue.count
                known.update((order.order_id, order) for order in queue)
            assert count == where.count, (count, where.count)
        assert known == self._orders, "every order stands in one queue, and no other does"
