"""Bitfinex's single orders: books of precision `R0`, the best orders a side, which fall out of view and come back."""

from __future__ import annotations

import math
from typing import Any, Final

from workers.sim.bitfinex.wire import BitfinexWire, checksum, frame
from workers.sim.engine.feed import Schedule
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.orders import SimOrder, SimOrders
from workers.sim.engine.topics import Topic

FIRST_ORDER_ID: Final = 34_753_002_978
INTERVAL_MS: Final = 50
CHECKSUM_MS: Final = 2_500

Window = dict[int, tuple[int, int]]
"""By id, signed key and quantity of the orders in view, best first."""


class BitfinexOrders:
    """The orders of one pair, from the first subscription on."""

    def __init__(self, wire: BitfinexWire, market: SymbolMarket, seed: int, schedule: Schedule) -> None:
        self.wire = wire
        self.schedule = schedule
        self._market = market
        self._seed = f"{seed}/orders/{wire.name}"
        self._orders: SimOrders | None = None
        self.windows: list[BitfinexWindow] = []

    def sides(self) -> tuple[list[SimOrder], list[SimOrder]]:
        """All orders, made of the levels as they are where there are none yet."""
        if self._orders is None:
            levels = sorted(self._market.book.levels(), reverse=True)
            self._orders = SimOrders(self._seed, FIRST_ORDER_ID, levels, self._market.acted_ms)
        return self._orders.sides()

    @property
    def acted_ms(self) -> int:
        """When the market last acted."""
        return int(self._market.acted_ms)

    def note_changes(self, position: int, at_ms: float) -> None:
        """Levels have changed."""
        if self._orders is not None:
            self._orders.change(self._market.changes.since(position).items(), at_ms)
            for window in self.windows:
                window.note_changes(at_ms)

    def truth(self) -> dict[str, Any]:
        """The orders of the longest window that is followed, as its followers have them."""
        followed = [window for window in self.windows if window.topic.subscribers]
        placed = {str(order.order_id): order.placed_ms for side in self.sides() for order in side}
        told = followed[-1].truth() if followed else {"bids": [], "asks": []}
        return {"event_id": "", "placed_ms": placed, **told}


class BitfinexWindow:
    """The best orders a side, as they were last told: a frame for each that differs, and a checksum now and then."""

    def __init__(self, orders: BitfinexOrders, topic: Topic, length: int) -> None:
        self.topic = topic
        self._orders = orders
        self._length = length
        self._told: Window = {}
        self._pending = self._checking = False
        self.events = 0
        topic.first = self._first

    def _look(self) -> Window:
        bids, asks = self._orders.sides()
        best = [*bids[: self._length], *asks[: self._length]]
        return {order.order_id: (order.key, order.quantity) for order in best}

    def _first(self) -> str:
        if not self.topic.subscribers:
            self._told = self._look()
        rows = ",".join(self._row(order_id, *what) for order_id, what in self._told.items())
        return frame(f"[{rows}]", self._orders.acted_ms)

    def _row(self, order_id: int, key: int, quantity: int) -> str:
        wire, sign = self._orders.wire, "-" if key < 0 else ""
        if not quantity:
            return f"[{order_id},0,{sign}1]"
        return f"[{order_id},{wire.price_number(abs(key))},{sign}{wire.amount_number(quantity)}]"

    def note_changes(self, at_ms: float) -> None:
        """A message is due at the next interval."""
        if not self._pending and self.topic.subscribers:
            self._pending = True
            due_ms = (math.floor(at_ms / INTERVAL_MS) + 1) * INTERVAL_MS
            self._orders.schedule(due_ms, self.flush)

    def flush(self, at_ms: float) -> None:
        """Send what is pending: what is gone, or out of view, first."""
        if not self._pending:
            return
        self._pending = False
        before, self._told = self._told, self._look()
        rows = [self._row(each, key, 0) for each, (key, _) in before.items() if each not in self._told]
        there = [self._row(each, *what) for each, what in self._told.items() if before.get(each) != what]
        rows += reversed(there)  # in no order of theirs: ids tell it
        if rows and self.topic.subscribers:
            self.events += 1
            self.topic.publish("\n".join(frame(row, int(at_ms)) for row in rows))
            if not self._checking:
                self._checking = True
                self._orders.schedule(at_ms + CHECKSUM_MS, self._check)

    def _check(self, at_ms: float) -> None:
        self._checking = False
        if self.topic.subscribers:
            wire = self._orders.wire
            sides = [
                [
                    (str(each), sign + wire.amount_number(quantity))
                    for each, (key, quantity) in self._told.items()
                    if (key < 0) == bool(sign)
                ]
                for sign in ("", "-")
            ]
            self.topic.publish(frame(f'"cs",{checksum(*sides)}', int(at_ms)))

    def truth(self) -> dict[str, Any]:
        """Those in view, as they were last told: price, what is left, and id."""
        wire = self._orders.wire
        rows = [
            (key > 0, (wire.price(abs(key)), wire.quantity(quantity), str(each)))
            for each, (key, quantity) in self._told.items()
        ]
        sides = {name: [row for is_bid, row in rows if is_bid == wanted] for name, wanted in SIDES}
        return {"events": self.events, **sides}


SIDES: Final = (("bids", True), ("asks", False))
