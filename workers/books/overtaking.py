"""Whether the exchange has gone on while a book's stream stands still, as other sources show; sans clock."""

from __future__ import annotations

from typing import Final

from workers.model.books.order_book import price_key, quantity_value
from workers.model.events import Level

DEAD_S: Final = 3.0
"""How long a stream may be silent while something else is ahead of it: streams of one symbol come apart by less."""


class Overtaking:
    """What others know the exchange to have reached, against where the book stands. Times are monotonic seconds.

    Ahead of the book may be a snapshot or ticker (by update id) or trades (by the exchange's time). That proves the
    stream dead once it has stood silent beside it for `DEAD_S`, and until an event brings the book there.
    """

    def __init__(self) -> None:
        self._update_id = self._event_ms = -1
        self._ahead_since: float | None = None
        self.evidence = ""
        """What is ahead, for people."""
        self.dead = False

    def ahead(self, evidence: str, now: float, *, update_id: int = -1, event_ms: int = -1) -> None:
        """Something ahead of the book was seen."""
        if self._ahead_since is None:
            self._ahead_since, self.evidence = now, evidence
        self._update_id, self._event_ms = max(self._update_id, update_id), max(self._event_ms, event_ms)

    def agreed(self) -> None:
        """Something ahead says of the best levels what the book says: they moved and came back, or only ids went on."""
        if self._event_ms < 0 and not self.dead:
            self.forget()

    @property
    def watching(self) -> bool:
        """Whether something ahead was seen, so that it matters how far each event brings the book."""
        return self._ahead_since is not None or self.dead

    def moved(self, update_id: int, event_ms: int) -> None:
        """An event brought the book to an update id and an event time (exchange ms)."""
        if not self.watching:
            return
        self._ahead_since = None
        if update_id >= self._update_id and event_ms >= self._event_ms:
            self.forget()

    def forget(self) -> None:
        """The book was lost or synced anew."""
        self._update_id = self._event_ms = -1
        self._ahead_since, self.evidence, self.dead = None, "", False

    def judge(self, now: float, silent_s: float) -> bool:
        """Whether the stream is dead.

        Args:
            silent_s: since the stream brought anything.
        """
        if self._ahead_since is not None and min(silent_s, now - self._ahead_since) >= DEAD_S:
            self.dead = True
        return self.dead


def same_level(held: Level | None, other: Level | None) -> bool:
    """Whether two best levels are the same, however they are spelled. Raises BadNumber."""
    mine = held if held and quantity_value(held[1]) else None
    theirs = other if other and quantity_value(other[1]) else None
    if mine is None or theirs is None:
        return mine is theirs
    return price_key(mine[0]) == price_key(theirs[0]) and quantity_value(mine[1]) == quantity_value(theirs[1])
