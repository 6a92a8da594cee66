"""What happened to single orders, told before the book has it: the ground of what is inferred from level 3.

A change says what is left of an order; what the book held before says what was taken from it, and whether a new
order rests at all or takes what stands on the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from workers.model.books.level_numbers import price_key
from workers.model.books.order_book import Side
from workers.model.level3.book import Level3Book
from workers.model.level3.events import OrderChange, OrderMessage

Happening = Literal["added", "filled", "grown", "cancelled"]
"""`grown`: an order that keeps its id has more than before."""

UNITS = 1e18
"""Of a quantity in `Order.units`."""


class OrderEvent(Struct, frozen=True, gc=False):
    """One happening.

    quantity: that was added, taken, put back or cancelled, base currency.
    left: of the order after it.
    age_us: since the order was placed, -1: nobody told.
    best: the best price of its side before it; 0: there was none.
    """

    what: Happening
    order_id: str
    side: Side
    price: float
    quantity: float
    left: float
    time_us: int
    age_us: int = -1
    best: float = 0.0


def order_events(book: Level3Book, message: OrderMessage, *, moves: bool) -> Iterator[OrderEvent]:
    """What a message will do to a book that is in sync, before it does it. O(1) a change.

    A new order at or beyond the other side's best price is about to trade, does not rest, and is not told. A change of
    price is a cancel and an addition.

    Args:
        moves: `OrderRules.moves`: a change may name another price.
    """
    for change in message.changes:
        if change.kind == "add" or (change.kind == "put" and book.order(change.order_id) is None):
            if not _takes(book, change):
                yield _added(book, change, float(change.quantity), message.time_us)
        else:
            yield from _changed(book, change, message.time_us, moves=moves)


def _takes(book: Level3Book, change: OrderChange) -> bool:
    other = book.best("ask" if change.side == "bid" else "bid")
    if other is None:
        return False
    price, best = price_key(change.price), price_key(other.price)
    return price >= best if change.side == "bid" else price <= best


def _best(book: Level3Book, side: Side) -> float:
    queue = book.best(side)
    return price_key(queue.price) if queue is not None else 0.0


def _added(book: Level3Book, change: OrderChange, quantity: float, now_us: int) -> OrderEvent:
    price = price_key(change.price)
    return OrderEvent(
        "added", change.order_id, change.side, price, quantity, quantity, now_us, 0, _best(book, change.side)
    )


def _changed(book: Level3Book, change: OrderChange, now_us: int, *, moves: bool) -> Iterator[OrderEvent]:
    order = book.order(change.order_id)
    if order is None:
        return
    side, held = order.queue.side, order.units / UNITS
    price, best = price_key(order.queue.price), _best(book, order.queue.side)
    age = now_us - order.placed_us if order.placed_us >= 0 else -1

    def happening(what: Happening, quantity: float, left: float) -> OrderEvent:
        return OrderEvent(what, change.order_id, side, price, quantity, left, now_us, age, best)

    if change.kind == "remove":
        if change.ending != "unknown":
            yield happening("filled" if change.ending == "filled" else "cancelled", held, 0.0)
        return
    if change.kind == "fill":
        taken = float(change.quantity)
        yield happening("filled", taken, max(0.0, held - taken))
        return
    left = float(change.quantity or order.quantity)
    if moves and change.price and price_key(change.price) != price:
        yield happening("cancelled", held, 0.0)
        if not _takes(book, change):
            yield _added(book, change, left, now_us)
        return
    if left > held:
        yield happening("grown", left - held, left)
    elif left < held and change.ending != "cancelled":
        yield happening("filled", held - left, left)
