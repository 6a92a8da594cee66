"""A snapshot brought forward: to compare a book with it, or to begin a book with one that is older than its buffer."""

from __future__ import annotations

from workers.errors import BadNumber
from workers.model.books.order_book import OrderBook
from workers.model.books.sequence import SequenceRule
from workers.model.events import DepthEvent, Snapshot


class Reference:
    """A snapshot's book, brought forward by the later events of the stream: `book` stands at `update_id`.

    Raises BadNumber when the snapshot has something that is no number.
    """

    def __init__(self, snapshot: Snapshot, rule: SequenceRule, max_levels: int) -> None:
        self.book = OrderBook(max_levels)
        self.book.load(snapshot)
        self.update_id = self.snapshot_id = snapshot.last_update_id
        self._rule = rule
        self._started = False
        self._reached = rule is not SequenceRule.RISING
        """Whether it is known that nothing came between the snapshot and the first event after it."""

    def advance(self, event: DepthEvent) -> str:
        """Apply the next event, or skip one contained already; why that is impossible, or `""`."""
        if event.kind == "break":
            self._reached = False
            return "stream has a hole after the snapshot" if self._started else ""
        if not self._started:
            if self._rule.contained(event, self.snapshot_id):
                self._reached = True
                return ""
            if not (self._reached and self._rule.continues(event, self.snapshot_id)):
                return "stream does not reach back to the snapshot"
        elif event.last_id <= self.update_id:
            return ""
        elif not self._rule.follows(event, self.update_id):
            return "stream has a hole after the snapshot"
        try:
            self.book.apply(event.bids, event.asks)
        except BadNumber:
            return "stream has a bad number"
        self._started, self.update_id = True, event.last_id
        return ""
