"""How depth events chain to each other and to snapshots: the rules, a run of chained events, a hole between two.

Source of the rules: Binance docs, 'How to manage a local order book correctly', spot and futures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from workers.model.events import DepthEvent


class SequenceRule(Enum):
    """How a venue's depth events chain to each other, and to a snapshot of id L."""

    SPOT = "spot"
    """`U` is the previous `u` plus one; the first event has `U <= L + 1 <= u`."""
    FUTURES = "futures"
    """`pu` is the previous `u` (ids have holes); the first event has `U <= L <= u`, or `pu <= L < U`."""
    RISING = "rising"
    """Ids only order events (Bitstamp's microtimestamp): each follows any older one, the first has `L <= u`."""

    def start_of(self, event: DepthEvent) -> int:
        """The lowest id a book may stand at for `event` to leave no hole after it."""
        if self is SequenceRule.RISING:
            return event.last_id  # what came before the first event nobody knows
        if self is SequenceRule.SPOT:
            return event.first_id - 1
        return event.previous_id if event.previous_id >= 0 else event.first_id

    def follows(self, event: DepthEvent, last_id: int) -> bool:
        """Whether `event`, newer than `last_id`, is the next one after it."""
        if self is SequenceRule.RISING:
            return True
        if self is SequenceRule.SPOT:
            return event.first_id <= last_id + 1
        return event.previous_id == last_id

    def continues(self, event: DepthEvent, snapshot_id: int) -> bool:
        """Whether `event`, which a snapshot does not contain, leaves no hole after it."""
        return self is SequenceRule.RISING or self.start_of(event) <= snapshot_id

    def contained(self, event: DepthEvent, snapshot_id: int) -> bool:
        """Whether a snapshot makes `event` superfluous: futures drop only `u < L`, others `u <= L`."""
        return event.last_id <= (snapshot_id - 1 if self is SequenceRule.FUTURES else snapshot_id)

    def not_contained(self, events: Iterable[DepthEvent], snapshot_id: int) -> list[DepthEvent]:
        """Those of chained events that a snapshot needs to go on."""
        return [event for event in events if not self.contained(event, snapshot_id)]


class Gap(NamedTuple):
    """A hole in the chain: the stream stood at id `expected`, the next event goes on from id `got`."""

    expected: int
    got: int
    after_ms: int
    """Event time of the last event before the hole, 0 if there was none."""


class Run:
    """Chained events, at most `limit`: a snapshot with an id in `start..end` can be brought up to `end`."""

    def __init__(self, limit: int, at: int | None = None) -> None:
        self.limit = limit
        self.start = self.end = at
        self.events: deque[DepthEvent] = deque()

    @classmethod
    def of(cls, event: DepthEvent, start: int, limit: int) -> Run:
        """A run that begins with an event."""
        run = cls(limit)
        run.append(event, start)
        return run

    def append(self, event: DepthEvent, start: int) -> bool:
        """Add the next event, O(1); True if the oldest had to go and the run starts after it."""
        self.start = start if self.start is None else self.start
        self.events.append(event)
        self.end = event.last_id
        if len(self.events) <= self.limit:
            return False
        self.start = self.events.popleft().last_id
        return True
