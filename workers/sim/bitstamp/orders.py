"""Bitstamp's single orders: the channel `live_orders`, whose events name the one before, and REST `group=2`."""

from __future__ import annotations

from typing import Any, Final

from workers.sim.bitstamp.wire import FIRST_ORDER_ID, BitstampWire
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.orders import SimOrder, SimOrders
from workers.sim.engine.topics import Topic

LAST_WORD: Final = "000100000020"


class BitstampOrders:
    """The orders of one market, from the first subscription, or the first question, on."""

    def __init__(self, wire: BitstampWire, market: SymbolMarket, topic: Topic, seed: int) -> None:
        self._wire = wire
        self._market = market
        self._topic = topic
        self._seed = f"{seed}/orders/{wire.name}"
        self._orders: SimOrders | None = None
        self.micros = 0
        self.event_id = _event_id(0, 0)
        """Of the last event: the queues are as after it."""
        self.events = 0
        topic.first = self._first

    def begin(self, at_ms: float) -> SimOrders:
        """The orders, made of the levels as they are where there are none yet."""
        if self._orders is None:
            self.micros = int(at_ms * 1000)
            self.event_id = _event_id(self.micros, 0)
            levels = sorted(self._market.book.levels(), reverse=True)
            self._orders = SimOrders(self._seed, FIRST_ORDER_ID, levels, at_ms)
        return self._orders

    def _first(self) -> str | None:
        self.begin(self._market.acted_ms)
        return None

    def note_changes(self, position: int, at_ms: float) -> None:
        """Levels have changed: an event for each thing that an order did, all of one µs."""
        if self._orders is None:
            return
        before, happened = (
            self.event_id,
            self._orders.change(self._market.changes.since(position).items(), at_ms),
        )
        if happened:
            self.micros = max(self.micros + 1, int(at_ms * 1000))
            self.event_id = _event_id(self.micros, len(happened) - 1)
            self.events += len(happened)
        for within, event in enumerate(happened):
            event_id = _event_id(self.micros, within)
            self._topic.publish(self._wire.order_message(event, self.micros, event_id, before))
            before = event_id

    def book(self, at_ms: float, phantom_ticks: int = 0) -> str:
        """The reply of REST; `phantom_ticks`: with an ask that is none, so many ticks below the best."""
        bids, asks = self.begin(at_ms).sides()
        if phantom_ticks and asks:
            phantom = SimOrder(FIRST_ORDER_ID - 1, asks[0].key + phantom_ticks, asks[0].quantity, at_ms)
            asks.insert(0, phantom)
        return self._wire.order_book(bids, asks, self.micros)

    def truth(self) -> dict[str, Any]:
        """Every order by id, price, what is left of it and place, and after which event."""
        bids, asks = self.begin(self._market.acted_ms).sides()
        return {
            "event_id": self.event_id,
            "events": self.events,
            "bids": [self._wire.order_row(order) for order in bids],
            "asks": [self._wire.order_row(order) for order in asks],
        }


def _event_id(micros: int, within: int) -> str:
    digits = f"{micros:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:]}-{within:04x}-{LAST_WORD}"
