"""Orders of a seed that do not exist any more: how they show, and which of them go.

Bitstamp's REST names orders whose end its stream never tells. Two of a seed of 6,512 kept a book crossed,
in the end for good, on 76,136 of the next 93,488 events (BTC/USD). Only seeded orders are ever purged,
never one whose creation was seen, by two rules:

*crossing*: the book has been crossed for more than `LASTING_US` and more than `LASTING_EVENTS` messages. Of the two
best levels the one of seeded orders alone goes, if an order that was seen stands in the other; if none was seen in
either, both go, since nothing tells which is wrong.

*level 2*: the venue's own best prices have differed for as long and as often. Seeded orders better than them go.

A price that lost an order so is not complete any more. What neither rule mends is no phantom: the book is lost.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from workers.model.events import Level
from workers.model.level3.book import Level3Book
from workers.model.level3.queue import PriceQueue

LASTING_US: Final = 1_000_000
LASTING_EVENTS: Final = 10
"""A taker's order is published as resting before its match: one-message crossings are ordinary."""


class Lasting:
    """Since when, and for how many messages, something that should pass has been so."""

    __slots__ = ("events", "since_us")

    def __init__(self) -> None:
        self.since_us: int | None = None
        self.events = 0

    def after(self, now_us: int, *, holds: bool) -> bool:
        """Count a message. True once it has outlasted what passes by itself."""
        if not holds:
            self.since_us, self.events = None, 0
            return False
        # a clock that was set back lets nothing last for as long as it was ahead
        self.since_us = now_us if self.since_us is None else min(self.since_us, now_us)
        self.events += 1
        return self.events > LASTING_EVENTS and now_us - self.since_us > LASTING_US


def purge_crossing(book: Level3Book) -> int:
    """Rule *crossing*: how many orders went. The book is still crossed where orders that were seen cross it."""
    purged = 0
    while book.crossed:
        bid, ask = book.best("bid"), book.best("ask")
        if bid is None or ask is None:
            break
        seen = [any(order.seen for order in queue) for queue in (bid, ask)]
        if all(seen):
            return purged
        for queue, has_seen in zip((bid, ask), seen, strict=True):
            if not has_seen:
                purged += _purge(book, queue)
    return purged


def purge_beyond(book: Level3Book, best_bid: Level | None, best_ask: Level | None) -> int:
    """Rule *level 2*: how many seeded orders better than the venue's best prices went. None: the side is empty."""
    purged = 0
    for side, best in (("bid", best_bid), ("ask", best_ask)):
        sign = 1 if side == "bid" else -1
        for queue in list(book.levels("bid" if side == "bid" else "ask")):
            if best is not None and sign * Decimal(queue.price) <= sign * Decimal(best[0]):
                break
            purged += _purge(book, queue)
    return purged


def agrees(book: Level3Book, best_bid: Level | None, best_ask: Level | None) -> bool:
    """Whether the best levels, prices and sums, are those of the venue's level 2."""
    return all(
        (queue is None) == (best is None)
        and (queue is None or best is None or _numbers(queue.price, queue.quantity) == _numbers(*best))
        for queue, best in ((book.best("bid"), best_bid), (book.best("ask"), best_ask))
    )


def _numbers(price: str, quantity: str) -> tuple[Decimal, Decimal]:
    return Decimal(price), Decimal(quantity)


def _purge(book: Level3Book, queue: PriceQueue) -> int:
    seeded = [order.order_id for order in queue if not order.seen]
    for order_id in seeded:
        book.remove(order_id)
    if seeded:
        book.doubt(queue.side, queue.price)
    return len(seeded)
