"""A book stream that begins with a snapshot: the best levels, and what has changed of them at every interval."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

from workers.sim.engine.book import Ladder, Levels, MatchingBook, sides_of
from workers.sim.engine.feed import SymbolFeed
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.topics import Topic


class BookWindow:
    """The best `depth` levels a side as they were last looked at. Keys are signed ticks as in the book.

    Args:
        names_leavers: levels that only left the window count as gone too; else the client cuts them off itself.
    """

    def __init__(self, book: MatchingBook, depth: int, *, names_leavers: bool) -> None:
        self._book = book
        self._depth = depth
        self._names_leavers = names_leavers
        self._levels = self._best()

    def _best(self) -> dict[int, int]:
        levels: dict[int, int] = {}
        for side in (self._book.bids, self._book.asks):
            levels.update(_best_of(side, self._depth))
        return levels

    def changes(self) -> tuple[Levels, Levels]:
        """Bids and asks that differ since the last look, best first; a level that is gone has quantity 0."""
        before, now = self._levels, self._best()
        self._levels = now
        changed = {key: quantity for key, quantity in now.items() if before.get(key) != quantity}
        gone = [key for key in before if key not in now]
        if not self._names_leavers:
            gone = [
                key for key in gone if key not in (self._book.bids if key > 0 else self._book.asks).levels
            ]
        changed.update(dict.fromkeys(gone, 0))
        return sides_of(changed.items())

    def levels(self) -> tuple[Levels, Levels]:
        """Bids and asks of the last look, best first."""
        return sides_of(self._levels.items())


class TouchedLevels(BookWindow):
    """The whole book. A look tells of every level that was touched, also where its quantity is what it was before: a
    copy of the book may have been taken in between."""

    def __init__(self, market: SymbolMarket) -> None:
        super().__init__(market.book, len(market.book.bids.keys), names_leavers=True)
        self._log = market.changes
        self._position = self._log.position

    def changes(self) -> tuple[Levels, Levels]:
        """Bids and asks touched since the last look, best first; a level that is gone has quantity 0."""
        touched = self._log.since(self._position)
        self._position = self._log.position
        return sides_of(touched.items())

    def levels(self) -> tuple[Levels, Levels]:
        """Bids and asks of this moment, best first."""
        return sides_of(self._book.levels())


def _best_of(side: Ladder, depth: int) -> Iterable[tuple[int, int]]:
    return ((key, side.levels[key]) for key in side.keys[-depth:])


class BookChannel(ABC):
    """One depth of one symbol's book, for as long as anybody subscribes to it.

    Args:
        interval_ms: least pause between two messages.
        quiet_ms: after so long without a message `still` is sent; 0: never.
    """

    def __init__(
        self,
        feed: SymbolFeed,
        topic: Topic,
        depth: int,
        interval_ms: int,
        quiet_ms: int = 0,
        *,
        names_leavers: bool = True,
    ) -> None:
        self.feed = feed
        self.topic = topic
        self.depth = depth
        self.window = BookWindow(feed.market.book, depth, names_leavers=names_leavers)
        self.events = 0
        self.sent_ms = 0.0
        self._interval_ms = interval_ms
        self._quiet_ms = quiet_ms
        self._pending = False
        self._watching = False
        topic.first = self.snapshot

    @abstractmethod
    def advance(self) -> None:
        """Take the ids of the book as it is now."""

    @abstractmethod
    def whole(self) -> str:
        """A snapshot of the window with the last ids."""

    @abstractmethod
    def update(self, bids: Levels, asks: Levels, at_ms: int) -> str:
        """What has changed, with the last ids."""

    def still(self) -> str:
        """What is sent when nothing has changed for long."""
        return self.whole()

    def snapshot(self) -> str:
        """What a new subscriber begins with: the book as the others have it."""
        self.look()
        return self.whole()

    def look(self) -> None:
        """Bring the window up to now where nobody follows it; otherwise it stays as its followers have it."""
        if not self.topic.subscribers:
            self.window.changes()
            self.advance()
            self.sent_ms = self.feed.engine_time
            self._watch()

    def note_changes(self, at_ms: float) -> None:
        """The book has changed: a message is due at the next interval."""
        if self._pending or not self.topic.subscribers:
            return
        self._pending = True
        due_ms = (math.floor(at_ms / self._interval_ms) + 1) * self._interval_ms
        self.feed.schedule(due_ms, self.flush)

    def flush(self, at_ms: float) -> None:
        """Send what is pending."""
        if not self._pending:
            return
        self._pending = False
        bids, asks = self.window.changes()
        if not (bids or asks) or not self.topic.subscribers:
            return
        self.advance()
        self.publish(self.update(bids, asks, int(at_ms)), at_ms)

    def publish(self, text: str, at_ms: float) -> None:
        """Send a message to all who follow."""
        self.events += 1
        self.sent_ms = at_ms
        self.topic.publish(text)
        self._watch()

    def _watch(self) -> None:
        if self._quiet_ms and not self._watching:
            self._watching = True
            self.feed.schedule(self.sent_ms + self._quiet_ms, self._repeat)

    def _repeat(self, at_ms: float) -> None:
        self._watching = False
        if not self.topic.subscribers:
            return
        if at_ms - self.sent_ms >= self._quiet_ms:
            self.publish(self.still(), at_ms)
        else:
            self._watch()
