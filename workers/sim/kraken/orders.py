"""Kraken's single orders: the channel `level3`, the orders of the best prices, a checksum in every message."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from workers.sim.engine.feed import Schedule
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.orders import SimOrder, SimOrders
from workers.sim.engine.topics import Topic
from workers.sim.kraken.wire import CHECKED_LEVELS, KrakenWire, checksum, nanoseconds, order_id, order_row

DEPTHS: Final = (10, 100, 1000)
INTERVAL_MS: Final = 20
FIRST_ORDER_ID: Final = 1_000_000


class PublishedOrder(NamedTuple):
    """An order as it was last published: its signed key, what is left of it, and when it was placed."""

    key: int
    quantity: int
    placed_ms: float


class KrakenOrders:
    """The orders of one pair, from the first subscription on."""

    def __init__(self, wire: KrakenWire, market: SymbolMarket, seed: int, schedule: Schedule) -> None:
        self.wire = wire
        self.schedule = schedule
        self._market = market
        self._seed = f"{seed}/orders/{wire.name}"
        self._orders: SimOrders | None = None
        self.windows: list[KrakenWindow] = []

    def _all(self) -> SimOrders:
        """All orders, made of the levels as they are where there are none yet."""
        if self._orders is None:
            levels = sorted(self._market.book.levels(), reverse=True)
            self._orders = SimOrders(self._seed, FIRST_ORDER_ID, levels, self._market.acted_ms)
        return self._orders

    def best(self, depth: int) -> Iterable[SimOrder]:
        """The orders of so many prices a side, bids first, the best price first, in the order of their queues."""
        queues = self._all().queues
        bids, asks = self._market.book.top(depth)
        for key in (*(key for key, _ in bids), *(-ticks for ticks, _ in asks)):
            yield from queues[key].values()

    def rests(self, number: int, key: int) -> bool:
        """Whether an order is there, in view or not."""
        return number in self._all().queues.get(key, ())

    @property
    def acted_ms(self) -> float:
        """When the market last acted."""
        return self._market.acted_ms

    def note_changes(self, position: int, at_ms: float) -> None:
        """Levels have changed."""
        if self._orders is not None:
            self._orders.change(self._market.changes.since(position).items(), at_ms)
            for window in self.windows:
                window.note_changes(at_ms)

    def truth(self) -> dict[str, Any]:
        """The orders of the deepest window that is followed, as its followers have them."""
        followed = [window for window in self.windows if window.topic.subscribers]
        told = followed[-1].truth() if followed else {"bids": [], "asks": [], "placed_ms": {}}
        return {"event_id": "", **told}


class KrakenWindow:
    """The orders of the best prices, as they were last published; nothing is said of those that fall out of view."""

    def __init__(self, orders: KrakenOrders, topic: Topic, depth: int) -> None:
        self.topic = topic
        self._orders = orders
        self._depth = depth
        self._published: dict[int, PublishedOrder] = {}
        self._pending = False
        self.events = 0
        topic.first = self._first

    def _look(self) -> dict[int, PublishedOrder]:
        return {
            order.order_id: PublishedOrder(order.key, order.quantity, order.placed_ms)
            for order in self._orders.best(self._depth)
        }

    def _first(self) -> str:
        if not self.topic.subscribers:
            self._published = self._look()
        rows = [(order.key, self._row(number, order)) for number, order in self._published.items()]
        return self._message("snapshot", rows, self._orders.acted_ms)

    def _row(self, number: int, order: PublishedOrder, event: str = "", at_ms: float | None = None) -> str:
        at = order.placed_ms if at_ms is None else at_ms
        return order_row(self._orders.wire, number, order.key, order.quantity, at, event)

    def _message(self, kind: str, rows: list[tuple[int, str]], at_ms: float) -> str:
        bids = [row for key, row in rows if key > 0]
        asks = [row for key, row in rows if key < 0]
        return self._orders.wire.orders(kind, bids, asks, self._checksum(), int(at_ms * 1000))

    def _checksum(self) -> int:
        wire = self._orders.wire
        texts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        prices: tuple[set[int], set[int]] = (set(), set())
        for order in self._published.values():
            side = order.key < 0
            prices[side].add(order.key)
            if len(prices[side]) <= CHECKED_LEVELS:
                texts[side].append((wire.price(abs(order.key)), wire.quantity(order.quantity)))
        return checksum(texts[1], texts[0])

    def note_changes(self, at_ms: float) -> None:
        """A message is due at the next interval."""
        if not self._pending and self.topic.subscribers:
            self._pending = True
            due_ms = (math.floor(at_ms / INTERVAL_MS) + 1) * INTERVAL_MS
            self._orders.schedule(due_ms, self.flush)

    def flush(self, at_ms: float) -> None:
        """Send what is pending: what is gone, what has less left, and what has come, or come into view."""
        if not self._pending:
            return
        self._pending = False
        before, self._published = self._published, self._look()
        rows = [
            (order.key, self._row(number, order, "delete", at_ms))
            for number, order in before.items()
            if number not in self._published and not self._orders.rests(number, order.key)
        ]
        for number, order in self._published.items():
            if number not in before:
                rows.append((order.key, self._row(number, order, "add")))
            elif order.quantity != before[number].quantity:
                rows.append((order.key, self._row(number, order, "modify", at_ms)))
        if rows and self.topic.subscribers:
            self.events += 1
            self.topic.publish(self._message("update", rows, at_ms))

    def truth(self) -> dict[str, Any]:
        """Those in view, as they were last published: price, what is left, and id; and when each was placed."""
        wire = self._orders.wire
        sides: dict[str, list[tuple[str, str, str]]] = {"bids": [], "asks": []}
        for number, order in self._published.items():
            row = (wire.price(abs(order.key)), wire.quantity(order.quantity), order_id(number))
            sides["bids" if order.key > 0 else "asks"].append(row)
        placed = {
            order_id(number): nanoseconds(order.placed_ms) // 1000 / 1000
            for number, order in self._published.items()
        }
        return {"events": self.events, "placed_ms": placed, **sides}
