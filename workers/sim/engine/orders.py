"""Whose the levels of a book are: single orders by id, first come first served, that add up to the market's levels.

Every change of a level becomes what orders do to make it: new ones come, the first in the queue are filled, others are
cancelled or made smaller. Nobody pays for this before somebody asks.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

FILLED_SHARE: Final = 0.5
"""Of the decreases of a level those that fill its first orders; the others cancel any."""
TAKER_SHARE: Final = 0.3
"""Of the fills those whose taker is told as resting before its match."""
SPLIT_SHARE: Final = 0.3
"""Of new quantities those that come as two orders."""

OrderKind = Literal["created", "changed", "deleted"]


class SimOrder:
    """An order; `key` is the signed tick of its price, as in the book of levels, quantities are in steps."""

    __slots__ = ("created", "key", "order_id", "placed_ms", "quantity")

    def __init__(self, order_id: int, key: int, quantity: int, placed_ms: float) -> None:
        self.order_id = order_id
        self.key = key
        self.created = self.quantity = quantity
        self.placed_ms = placed_ms


class OrderEvent(NamedTuple):
    """What an order did. `quantity`: what is left of it; `price_key`: of an execution, else the order's own; `before`:
    what there was of one that is changed."""

    kind: OrderKind
    order: SimOrder
    quantity: int
    price_key: int
    before: int = 0


class SimOrders:
    """The orders of one symbol.

    Args:
        seed: of the draws, which are no others than these.
        first_id: ids rise from it.
        levels: signed keys and quantities of the book as it is.
        filled_share: of the decreases of a level; 0 where fills are told by `trade`.
    """

    def __init__(
        self,
        seed: str,
        first_id: int,
        levels: Iterable[tuple[int, int]],
        at_ms: float,
        filled_share: float = FILLED_SHARE,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- reproducible, not secret
        self._filled_share = filled_share
        self._next_id = first_id
        self.queues: dict[int, dict[int, SimOrder]] = {}
        """By key, the orders by id in the order of the queue."""
        for key, quantity in levels:
            self._come(key, quantity, at_ms)

    def change(self, levels: Iterable[tuple[int, int]], at_ms: float) -> list[OrderEvent]:
        """Levels have new quantities (0: gone): what orders did, in order. O(orders of those levels)."""
        events: list[OrderEvent] = []
        for key, quantity in levels:
            more = quantity - sum(order.quantity for order in self.queues.get(key, {}).values())
            if more > 0:
                events += self._come(key, more, at_ms)
            elif more < 0:
                filled = self._random.random() < self._filled_share
                events += self._fill(key, -more, at_ms) if filled else self._cancel(key, -more)
        return events

    def _come(self, key: int, quantity: int, at_ms: float) -> list[OrderEvent]:
        first = quantity
        if quantity > 1 and self._random.random() < SPLIT_SHARE:
            first = self._random.randrange(1, quantity)
        parts = [part for part in (first, quantity - first) if part]
        return [OrderEvent("created", self._new(key, part, at_ms), part, key) for part in parts]

    def _new(self, key: int, quantity: int, at_ms: float) -> SimOrder:
        order = SimOrder(self._next_id, key, quantity, at_ms)
        self._next_id += 1
        self.queues.setdefault(key, {})[order.order_id] = order
        return order

    def _fill(self, key: int, quantity: int, at_ms: float) -> list[OrderEvent]:
        """The first orders of a queue are filled, and the taker of some is told before it is gone."""
        events = []
        if self._random.random() < TAKER_SHARE:
            taker = SimOrder(self._next_id, -key, quantity, at_ms)
            self._next_id += 1
            events += [OrderEvent("created", taker, quantity, -key), OrderEvent("deleted", taker, 0, -key)]
        while quantity:
            order = next(iter(self.queues[key].values()))
            taken = min(quantity, order.quantity)
            quantity -= taken
            events.append(self._lessen(order, taken, filled=True))
        return events

    def trade(self, key: int, quantity: int, at_ms: float) -> list[OrderEvent]:
        """A trade is of one maker, the first in its queue: what orders did, the last of it the fill.

        Those before it that are too small are cancelled first, and where none is left one comes.
        """
        events = []
        while (order := next(iter(self.queues.get(key, {}).values()), None)) and order.quantity < quantity:
            events.append(self._lessen(order, order.quantity, filled=False))
        if order is None:
            order = self._new(key, quantity, at_ms)
            events.append(OrderEvent("created", order, quantity, key))
        return [*events, self._lessen(order, quantity, filled=True)]

    def _cancel(self, key: int, quantity: int) -> list[OrderEvent]:
        """Any orders of a queue are cancelled, and the last of them made smaller, which keeps its place."""
        events = []
        while quantity:
            order = self._random.choice(list(self.queues[key].values()))
            taken = min(quantity, order.quantity)
            quantity -= taken
            events.append(self._lessen(order, taken, filled=False))
        return events

    def _lessen(self, order: SimOrder, taken: int, *, filled: bool) -> OrderEvent:
        before, left = order.quantity, order.quantity - taken
        if left:
            order.quantity = left
            return OrderEvent("changed", order, left, order.key, before)
        queue = self.queues[order.key]
        del queue[order.order_id]
        if not queue:
            del self.queues[order.key]
        return OrderEvent("deleted", order, 0 if filled else order.quantity, order.key)

    def sides(self) -> tuple[list[SimOrder], list[SimOrder]]:
        """All orders of bids and of asks, best price first, those of a price in the order of the queue."""
        bids = [
            order
            for key in sorted(self.queues, reverse=True)
            if key > 0
            for order in self.queues[key].values()
        ]
        asks = [
            order
            for key in sorted(self.queues, reverse=True)
            if key < 0
            for order in self.queues[key].values()
        ]
        return bids, asks
