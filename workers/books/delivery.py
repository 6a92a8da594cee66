"""What of its stream an owner has taken in and not acknowledged, and what of that the group has yet to give it."""

from __future__ import annotations

from typing import Final

from workers.model.events import DepthEvent
from workers.store.books.publishing import Read
from workers.store.log.streams import Delivered, goes_on

FEW: Final = 100
"""Entries that the next owner folds in a few milliseconds: no checkpoint is made for fewer while more come."""
PATIENCE: Final = 5
"""Times the usual pause, after which it is."""


def date_by_entry(event: DepthEvent, entry: Delivered) -> int:
    """Give an event a time no later than its entry came, and that which it is filed under where it has none.

    Returns the ms it is filed under.
    """
    filed_ms = int(entry.stream_id.partition(b"-")[0])
    # a time ahead of every clock would pass for fresh, and for the exchange's ids going on
    latest_ms = max(filed_ms, entry.received_us // 1000)
    event.event_time = min(event.event_time, latest_ms) if event.event_time >= 0 else filed_ms
    return filed_ms


class Delivery:
    """The entries of one stream on their way from the log into a checkpoint.

    What is heard of is read by a plain read, which takes nothing from another owner; the group gives it to this one
    later, in the same step as the next publication or checkpoint.
    """

    def __init__(self) -> None:
        self.pending: list[bytes] = []
        """Stream ids taken in and not acknowledged, in order."""
        self._ungiven = 0
        """How many of the last of them the group has not given to anybody."""

    def read_alone(self, entries: int) -> None:
        """So many entries that have just been taken in were read without the group."""
        self._ungiven += entries

    @property
    def to_be_given(self) -> Read | None:
        """What the group has to give us before it can be acknowledged."""
        return Read(self._ungiven, self.pending[-1]) if self._ungiven else None

    def given(self, last: bytes) -> None:
        """The group has given us all up to a stream id."""
        if self._ungiven:
            self._ungiven = sum(goes_on(last, entry) for entry in self.pending[-self._ungiven :])

    def pause_s(self, usual_s: float, *, more_comes: bool) -> float:
        """The pause between two checkpoints, which acknowledge: longer while little has changed and more comes."""
        return usual_s * PATIENCE if more_comes and len(self.pending) < FEW else usual_s

    def acknowledged(self, ids: int) -> None:
        """The first of what is pending were acknowledged: the group had given them."""
        del self.pending[:ids]
        self._ungiven = min(self._ungiven, len(self.pending))
