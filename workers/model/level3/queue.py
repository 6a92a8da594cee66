"""The orders of one price, first come first served: a linked list, so that one leaves the middle of it in O(1).

A dict of orders would do until a queue is eaten from its head: finding the first entry of a dict passes over all that
were deleted before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from workers.model.books.order_book import Side
from workers.model.trades.decimals import FINE


class Order:
    """An order that rests.

    quantity: what is left, as sent (as plain text after a fill that was told by its size); `units` of 1e-18.
    rank: what its queue is ordered by where the venue says so; it never falls from the head to the tail.
    placed_us: exchange µs since 1970, -1: unknown.
    seen: its creation was seen; else it is from a seed.
    """

    __slots__ = ("ahead", "behind", "order_id", "placed_us", "quantity", "queue", "rank", "seen", "units")

    def __init__(
        self, order_id: str, queue: PriceQueue, quantity: str, units: int, placed_us: int, *, seen: bool
    ) -> None:
        self.order_id = order_id
        self.queue = queue
        self.quantity = quantity
        self.units = units
        self.rank = 0
        self.placed_us = placed_us
        self.seen = seen
        self.ahead: Order | None = None
        self.behind: Order | None = None


class PriceQueue:
    """A price level: its orders from head to tail, their sum in units of 1e-18 and their number."""

    __slots__ = ("count", "head", "key", "price", "side", "tail", "units")

    def __init__(self, side: Side, price: str, key: float) -> None:
        self.side: Side = side
        self.price = price
        self.key = key
        self.units = 0
        self.count = 0
        self.head: Order | None = None
        self.tail: Order | None = None

    @property
    def quantity(self) -> str:
        """The sum of what rests here, plain text without trailing zeros."""
        return FINE.plain_quantity(self.units)

    def __iter__(self) -> Iterator[Order]:
        order = self.head
        while order is not None:
            yield order
            order = order.behind

    def insert(self, order: Order, rank: int | None) -> None:
        """Put an order at the tail, or behind the last one whose rank is not above its own. O(1), O(passed)."""
        ahead = self.tail
        if rank is None:
            order.rank = ahead.rank if ahead is not None else 0
        else:
            order.rank = rank
            while ahead is not None and ahead.rank > rank:
                ahead = ahead.ahead
        behind = ahead.behind if ahead is not None else self.head
        order.ahead, order.behind = ahead, behind
        if ahead is None:
            self.head = order
        else:
            ahead.behind = order
        if behind is None:
            self.tail = order
        else:
            behind.ahead = order
        self.units += order.units
        self.count += 1

    def detach(self, order: Order) -> None:
        """Take an order out. O(1)."""
        ahead, behind = order.ahead, order.behind
        if ahead is None:
            self.head = behind
        else:
            ahead.behind = behind
        if behind is None:
            self.tail = ahead
        else:
            behind.ahead = ahead
        order.ahead = order.behind = None
        self.units -= order.units
        self.count -= 1

    def ahead_of(self, order: Order) -> tuple[int, int]:
        """How many orders stand before one, and their sum in units. O(orders ahead)."""
        position = units = 0
        before = order.ahead
        while before is not None:
            position += 1
            units += before.units
            before = before.ahead
        return position, units

    def first(self, n: int) -> tuple[Order, ...]:
        """The first so many orders. O(n)."""
        orders: list[Order] = []
        order = self.head
        while order is not None and len(orders) < n:
            orders.append(order)
            order = order.behind
        return tuple(orders)

    def check(self) -> None:
        """Assert every invariant of the queue. O(n)."""
        orders = list(self)
        assert orders, "an empty level is dropped"
        assert self.count == len(orders), (self.count, len(orders))
        assert self.units == sum(order.units for order in orders)
        assert self.tail is orders[-1]
        for ahead, order in zip([None, *orders], orders, strict=False):
            assert order.ahead is ahead
            assert order.queue is self
            assert order.units == FINE.quantity_units(order.quantity) > 0
            assert ahead is None or ahead.rank <= order.rank, "ranks never fall"
