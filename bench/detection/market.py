"""The matching engine, and the tape that it writes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from workers.model.books.order_book import Side
from workers.model.level3.events import OrderChange, OrderMessage

START = 10_000
"""Ticks of a hundredth."""
TOP_US = 100_000
"""Level 2 is told so often, as Binance does."""
LEVELS = 20
SIDES: tuple[Side, Side] = ("bid", "ask")


def text(ticks: int) -> str:
    return f"{ticks / 100:.2f}"


@dataclass(eq=False)
class Resting:
    order_id: str
    side: Side
    ticks: int
    quantity: float
    after_fill: Callable[[Resting], None] | None = None


@dataclass(eq=False)
class Planted:
    """What is known to be there."""

    kind: str
    side: Side
    price: float
    since_us: int
    until_us: int = 1 << 62
    refills: int = 0
    hidden: float = 0.0
    hidden_at: list[tuple[int, float]] = field(default_factory=list)
    in_sight_us: int = 0
    order_ids: set[str] = field(default_factory=set)
    """Of an iceberg: the orders that showed its parts."""


@dataclass
class Trade:
    resting: Side
    price: float
    quantity: float


@dataclass
class Top:
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


Record = tuple[int, OrderMessage | Trade | Top]


class Market:
    """The matching engine, and the tape that it writes."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1_700_000_000_000_000
        self.end = self.now
        self.fair = float(START)
        self.queues: dict[Side, dict[int, list[Resting]]] = {"bid": {}, "ask": {}}
        self.planted: list[Planted] = []
        self.tape: list[Record] = []
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self._last_ids = count(1)

    def after(self, delay_us: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + max(0, int(delay_us)), next(self._numbers), what))

    def every(self, mean_us: float, what: Callable[[], None]) -> None:
        """With exponential pauses."""

        def again() -> None:
            what()
            self.after(self.rng.expovariate(1 / mean_us), again)

        self.after(self.rng.expovariate(1 / mean_us), again)

    def run(self, seconds: float) -> list[Record]:
        self.end = self.now + int(seconds * 1e6)
        self.after(TOP_US, self._tell_top)
        while self._agenda and self._agenda[0][0] <= self.end:
            self.now, _, what = heapq.heappop(self._agenda)
            what()
        return self.tape

    def best(self, side: Side) -> int | None:
        prices = self.queues[side]
        return (max(prices) if side == "bid" else min(prices)) if prices else None

    def add(self, side: Side, ticks: int, quantity: float, order_id: str = "") -> Resting:
        """At the price, or at the next one that does not take."""
        other = self.best("ask" if side == "bid" else "bid")
        if other is not None:
            ticks = min(ticks, other - 1) if side == "bid" else max(ticks, other + 1)
        order = Resting(order_id or f"{next(self._last_ids)}", side, ticks, max(round(quantity, 6), 1e-6))
        self.queues[side].setdefault(ticks, []).append(order)
        price, shown = text(ticks), f"{order.quantity:.6f}"
        self._tell(OrderChange("add", order.order_id, side, price, shown, time_us=self.now))
        return order

    def rests(self, order: Resting) -> bool:
        return order in self.queues[order.side].get(order.ticks, [])

    def cancel(self, order: Resting) -> None:
        if self.rests(order):
            self._leave(order)
            self._tell(OrderChange("remove", order.order_id, order.side, ending="cancelled"))

    def top_up(self, order: Resting, quantity: float) -> None:
        """An order gets more under its id, at the end of its queue."""
        self._leave(order)
        self.queues[order.side].setdefault(order.ticks, []).append(order)
        order.quantity = round(quantity, 6)
        price, shown = text(order.ticks), f"{order.quantity:.6f}"
        self._tell(OrderChange("set", order.order_id, order.side, price, shown))

    def take(self, side: Side, quantity: float) -> None:
        """Take what rests on a side, from its best price on."""
        while quantity > 1e-6 and (ticks := self.best(side)) is not None:
            order = self.queues[side][ticks][0]
            taken = round(min(quantity, order.quantity), 6)
            quantity -= taken
            order.quantity = round(order.quantity - taken, 6)
            self.tape.append((self.now, Trade(side, ticks / 100, taken)))
            if order.quantity > 0:
                shown = f"{order.quantity:.6f}"
                self._tell(OrderChange("set", order.order_id, side, text(ticks), shown))
            else:
                self._leave(order)
                self._tell(OrderChange("remove", order.order_id, side, ending="filled"))
            if order.after_fill is not None:
                order.after_fill(order)
            self.on_trade(side, ticks)

    def on_trade(self, side: Side, ticks: int) -> None:
        """Others see the trade."""

    def _leave(self, order: Resting) -> None:
        queue = self.queues[order.side][order.ticks]
        queue.remove(order)
        if not queue:
            del self.queues[order.side][order.ticks]

    def _tell(self, change: OrderChange) -> None:
        self.tape.append((self.now, OrderMessage(self.now, [change])))

    def _tell_top(self) -> None:
        tops = []
        for side in SIDES:
            prices = sorted(self.queues[side], reverse=side == "bid")[:LEVELS]
            tops.append(
                [(ticks / 100, sum(order.quantity for order in self.queues[side][ticks])) for ticks in prices]
            )
        self.tape.append((self.now, Top(*tops)))
        for plant in self.planted:
            if plant.until_us > self.now and any(price == plant.price for top in tops for price, _ in top):
                plant.in_sight_us += TOP_US
        self.after(TOP_US, self._tell_top)
