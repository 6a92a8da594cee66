"""Where new orders come from: whether an order takes the place of one that has just gone.

Hasbrouck and Saar, "Low-latency trading" (2013), link orders to *strategic runs*: an order within 100 ms of another's
end, on its side and with its size, is taken for the same trader's. Makers' quotes stand in such runs: each follows one
that was withdrawn or filled elsewhere. The first part of an iceberg is new.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TypeVar

from workers.model.analytics.order_flow import OrderEvent
from workers.model.analytics.order_kinds import Origin
from workers.model.books.order_book import Side

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

RUN_US = 100_000
"""From the end of an order to the next of its run (Hasbrouck and Saar, §3.1)."""
MOST_ENDED = 10_000
"""Ends of orders that are remembered; of more within `RUN_US` the oldest are forgotten."""
MOST_LINKED = 20_000
"""Orders that rest and are known to follow others; of more the oldest are forgotten, and count as fresh."""

Trail = tuple[Side, float]
"""Side and size."""


class OrderRuns:
    """The origins of the orders of one level-3 book. Memory: `MOST_ENDED` ends and `MOST_LINKED` orders."""

    __slots__ = ("_ended", "_filled", "_linked", "_since_us")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """There is no book any more: where an order came from that was placed before the next one is not known."""
        self._since_us: int | None = None
        self._ended: OrderedDict[Trail, int] = OrderedDict()
        self._filled: OrderedDict[tuple[Trail, float], int] = OrderedDict()
        self._linked: OrderedDict[str, Origin] = OrderedDict()

    def origin(self, event: OrderEvent) -> Origin:
        """Of the order of an event that is not its addition."""
        linked = self._linked.get(event.order_id)
        if linked is not None:
            return linked
        if self._since_us is None or event.age_us < 0:
            return Origin.UNKNOWN
        return Origin.FRESH if event.time_us - event.age_us >= self._since_us else Origin.UNKNOWN

    def on_added(self, event: OrderEvent) -> None:
        trail, limit = (event.side, event.quantity), event.time_us - RUN_US
        if self._filled.get((trail, event.price), -math.inf) >= limit:
            self._linked[event.order_id] = Origin.SUCCESSOR
        elif self._ended.get(trail, -math.inf) >= limit:
            self._linked[event.order_id] = Origin.MOVED
        _bound(self._linked, MOST_LINKED)

    def on_ended(self, event: OrderEvent, size: float) -> None:
        """The order is gone. size: that it was placed with."""
        self._linked.pop(event.order_id, None)
        trail = event.side, size
        self._ended[trail] = event.time_us
        self._ended.move_to_end(trail)
        _bound(self._ended, MOST_ENDED)
        if event.what == "filled":
            self._filled[trail, event.price] = event.time_us
            self._filled.move_to_end((trail, event.price))
            _bound(self._filled, MOST_ENDED)

    def on_time(self, now_us: int) -> None:
        if self._since_us is None:
            self._since_us = now_us


def _bound(oldest_first: OrderedDict[_Key, _Value], most: int) -> None:
    while len(oldest_first) > most:
        oldest_first.popitem(last=False)
