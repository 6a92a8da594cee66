"""Exchange's single orders: the channel `full`, numbered without a gap, and REST `level=3`.

Whatever an order does is told, what never rests too: takers, some by market orders, and some made smaller between
being received and being matched.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from workers.sim.coinbase.wire import ExchangeWire, Rows
from workers.sim.engine.history import Fill
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.orders import OrderEvent, SimOrders
from workers.sim.engine.topics import Topic

FIRST_ORDER_ID: Final = 1
MARKET_SHARE: Final = 0.3
"""Of the takers those without a price."""
CHANGED_SHARE: Final = 0.3
"""Of the other takers those that are made smaller before they are matched: such an order never was in the book."""


class CoinbaseOrders:
    """The orders of one product, from the first subscription, or the first question, on.

    Args:
        number: gives the next number of the product's messages.
    """

    def __init__(
        self,
        wire: ExchangeWire,
        market: SymbolMarket,
        topic: Topic,
        seed: int,
        number: Callable[[], int],
    ) -> None:
        self._wire = wire
        self._market = market
        self._topic = topic
        self._number = number
        self._seed = f"{seed}/orders/{wire.spec.symbol}"
        self._random = random.Random(f"{self._seed}/takers")  # noqa: S311 -- reproducible, not secret
        self._orders: SimOrders | None = None
        self._next_trade_id = 0
        """Of the trades that are not told yet."""
        self._next_taker = FIRST_ORDER_ID
        self._copy = ""
        self.sequence = 0
        """Of the last message: the queues are as after it."""
        self.events = 0
        self.matches: dict[int, int] = {}
        """Numbers of the last trades, by their ids."""
        topic.first = self._first

    @property
    def begun(self) -> bool:
        """Whether anybody has asked for them."""
        return self._orders is not None

    def begin(self) -> SimOrders:
        """The orders, made of the levels as they are where there are none yet."""
        if self._orders is None:
            levels = sorted(self._market.book.levels(), reverse=True)
            self.sequence = self._number()
            self._next_trade_id = self._market.tape.next_trade_id
            self._orders = SimOrders(
                self._seed, FIRST_ORDER_ID, levels, self._market.acted_ms, filled_share=0
            )
            self._copy = self._told()
        return self._orders

    def _first(self) -> str | None:
        self.begin()
        return None

    def note_changes(self, position: int, at_ms: float) -> None:
        """Levels have changed: what was traded first, then what else orders did to make the levels what they are."""
        orders = self._orders
        if orders is None:
            return
        self.matches.clear()
        for fills in self._market.fills:
            new = [fill for fill in fills if fill.trade_id >= self._next_trade_id]
            if new:
                self._next_trade_id = new[-1].trade_id + 1
                self._trade(orders, new, at_ms)
        for event in orders.change(self._market.changes.since(position).items(), at_ms):
            self._tell(event, int(at_ms))

    def _trade(self, orders: SimOrders, fills: list[Fill], at_ms: float) -> None:
        """A taker comes, is matched with the first orders of the queues, and is done without ever having rested."""
        wire, moment, taker, quantity = (
            self._wire,
            int(at_ms),
            self._next_taker,
            sum(f.quantity for f in fills),
        )
        self._next_taker += 1
        key = -fills[-1].price if fills[-1].buyer_is_maker else fills[-1].price
        is_market = self._random.random() < MARKET_SHARE
        size = quantity + (not is_market and self._random.random() < CHANGED_SHARE)
        self._publish(wire.received(taker, key, size, moment, is_market=is_market, is_taker=True))
        if size > quantity:
            self._publish(wire.change(taker, key, (size, quantity), moment, is_taker=True))
        for fill in fills:
            *before, matched = orders.trade(
                fill.price if fill.buyer_is_maker else -fill.price, fill.quantity, at_ms
            )
            for event in before:
                self._tell(event, moment)
            number = self.matches[fill.trade_id] = self._next()
            self._topic.publish(wire.match("match", fill, number, (matched.order.order_id, taker)))
            if matched.kind == "deleted":
                self._publish(wire.done(matched.order.order_id, matched.order.key, 0, moment))
        self._publish(wire.done(taker, key, 0, moment, is_market=is_market, is_taker=True))

    def _tell(self, event: OrderEvent, moment: int) -> None:
        """What an order did by itself: it came, was made smaller, or was cancelled."""
        wire, order_id, key = self._wire, event.order.order_id, event.order.key
        if event.kind == "created":
            self._publish(wire.received(order_id, key, event.quantity, moment))
            self._publish(wire.opened(order_id, key, event.quantity, moment))
        elif event.kind == "changed":
            self._publish(wire.change(order_id, key, (event.before, event.quantity), moment))
        else:
            self._publish(wire.done(order_id, key, event.quantity, moment))

    def _next(self) -> int:
        self.sequence = self._number()
        self.events += 1
        return self.sequence

    def _publish(self, text: str) -> None:
        """Send a message with the next number."""
        self._topic.publish(f'{text[:-1]},"sequence":{self._next()}}}')

    def book(self, *, stale: bool = False) -> str:
        """The reply of REST; `stale`: the one before, or what there was in the beginning."""
        self.begin()
        if not stale:
            self._copy = self._told()
        return self._copy

    def _told(self) -> str:
        return self._wire.level3(*self._rows(), self.sequence, int(self._market.acted_ms))

    def _rows(self) -> tuple[Rows, Rows]:
        bids, asks = self.begin().sides()
        return [self._wire.order_row(each) for each in bids], [self._wire.order_row(each) for each in asks]

    def truth(self) -> dict[str, Any]:
        """Every order by id, price, what is left of it and place, and after which message."""
        bids, asks = self._rows()
        return {"event_id": str(self.sequence), "events": self.events, "bids": bids, "asks": asks}
