"""What is inferred of the single orders of one owned symbol: their stream in, icebergs and flicker out. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from workers.errors import BadNumber
from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.flicker import FlickerParameters, OrderFlicker
from workers.model.analytics.icebergs import Iceberg, IcebergDetector, IcebergParameters
from workers.model.analytics.order_flow import OrderEvent, order_events
from workers.model.books.order_book import Side
from workers.model.level3.events import OrderMessage
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.store.log.streams import Delivered
from workers.store.orders.rebuilding import OrderFold

MOST_TOLD: Final = 1_000
"""Orders of icebergs that are remembered as told; of more the oldest are forgotten."""
STAGES: Final = {"iceberg_found": 1, "iceberg_confirmed": 2}


class ToldIcebergs:
    """How much was told of which iceberg, by order id: a book that was lost, or an owner, that begins anew infers it
    anew, and does not tell it again."""

    def __init__(self) -> None:
        self._stages: OrderedDict[str, int] = OrderedDict()

    def is_news(self, event: AnalyticsEvent) -> bool:
        """Whether an event says what was not said before; it counts as said then. O(1)."""
        if not event.order_id:
            return True
        if (stage := STAGES.get(event.kind)) is None:
            self._stages.pop(event.order_id, None)
            return True
        if self._stages.get(event.order_id, 0) >= stage:
            return False
        self._stages[event.order_id] = stage
        if len(self._stages) > MOST_TOLD:
            self._stages.popitem(last=False)
        return True


class OrderInference:
    """Folds single orders, and infers only within one book: none is taken from one that was lost to the next.

    Memory: that of the book, of the detectors and of `MOST_TOLD` ids.
    """

    def __init__(self, icebergs: IcebergParameters, flicker: FlickerParameters, told: ToldIcebergs) -> None:
        self._icebergs = IcebergDetector(icebergs)
        self._flicker = OrderFlicker(flicker)
        self.told = told
        self.fold: OrderFold | None = None
        self._book_number = 0
        """Which of the books of the fold the detectors are about."""

    @property
    def in_sync(self) -> bool:
        """Whether there is a book to infer from."""
        return self.fold is not None and self.fold.sync.synced

    def begin(self, fold: OrderFold) -> None:
        """There is no book: go on after what this one has folded already, of which nothing is told."""
        self.fold = fold
        self._book_number = fold.sync.counts["syncs"]

    def end(self) -> None:
        """The book is not to be trusted: what was inferred of it neither stands nor has ended."""
        self.fold = None
        self._icebergs.clear()

    def take(self, entries: Iterable[Delivered]) -> list[AnalyticsEvent]:
        """Fold entries of the stream; what they tell. O(changes · log n)."""
        events: list[AnalyticsEvent] = []
        for entry in entries if self.fold is not None else ():
            assert self.fold is not None
            sync, message = self.fold.sync, self.fold.message(entry)
            happened = [] if message is None else _happened(sync, message)
            applied = message is not None and sync.on_message(message) is OrderOutcome.APPLIED
            if not sync.synced or sync.counts["syncs"] != self._book_number:
                self._icebergs.clear()
                self._book_number = sync.counts["syncs"]
            elif applied:
                for event in happened:
                    events += self._icebergs.on_event(event)
                    events += [told] if (told := self._flicker.on_event(event)) else []
        return [event for event in events if self.told.is_news(event)]

    def icebergs(self) -> list[Iceberg]:
        """Those that stand, most confident first. One whose order went without a reason is no more: it was pushed out
        of what the exchange shows, or purged, or its end is told without one."""
        standing: list[Iceberg] = []
        for chain in self._icebergs.icebergs() if self.fold is not None else ():
            assert self.fold is not None
            if chain.waited or self.fold.sync.book.order(chain.order_id) is not None:
                standing.append(chain)
            else:
                self._icebergs.lose_sight(chain.order_id)
        return standing

    def orders_at(self, side: Side, price: float) -> int | None:
        """How many orders rest at a price; None where not all are known. O(1)."""
        if self.fold is None or not self.fold.sync.synced:
            return None
        book = self.fold.sync.book
        queue = book.queue_at(side, price)
        return queue.count if queue is not None and book.complete(queue) else None

    def check(self) -> None:
        """Assert the invariants of all that is held."""
        self._icebergs.check()
        self._flicker.check()
        if self.fold is not None:
            self.fold.sync.book.check()


def _happened(sync: OrderSync, message: OrderMessage) -> list[OrderEvent]:
    """What a message does to the book, before it does."""
    if not sync.synced or message.whole:
        return []
    try:
        return list(order_events(sync.book, message, moves=sync.rules.moves))
    except (BadNumber, ValueError):  # the sync tells what is wrong with it
        return []
