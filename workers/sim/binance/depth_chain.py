"""One speed of a symbol's depth stream: the running chain of events over the symbol's update ids.

Every speed cuts the same sequence of changes into its own events. The chain runs whether or not anyone
is subscribed; who subscribes later joins it where it is.
"""

from __future__ import annotations

import math

from workers.sim.binance.wire import DepthIds
from workers.sim.engine.topics import Topic

# `@depth@0ms` is not one event per change: captures show gaps of about 26 ms and more between events.
SHORTEST_GAP_MS = 26


class DepthChain:
    """The state of one speed.

    suffix: what the stream name adds to `@depth`; interval_ms: 0 for the fastest speed.
    phase_ms: shifts the boundaries, so that symbols do not all send at the same moment.
    """

    def __init__(self, suffix: str, interval_ms: int, phase_ms: int, first_id: int) -> None:
        self.suffix = suffix
        self.interval_ms = interval_ms
        self._phase_ms = phase_ms
        self.previous_id = first_id
        self.first_id = 0
        self.position = 0
        self.pending = False
        self.events = 0
        self.first_event: DepthIds | None = None
        self.diff: Topic | None = None
        self.partials: dict[int, Topic] = {}
        self.last_partials: dict[int, tuple[str, str]] = {}

    def begin(self, first_id: int, position: int, at_ms: float) -> float:
        """A change came after the last event: remember where the next event starts, say when it is due."""
        self.pending = True
        self.first_id = first_id
        self.position = position
        if not self.interval_ms:
            return at_ms + SHORTEST_GAP_MS
        windows = math.floor((at_ms - self._phase_ms) / self.interval_ms) + 1
        return windows * self.interval_ms + self._phase_ms

    def close(self, last_id: int, contiguous: bool) -> DepthIds:
        """End the event at `last_id`; in a contiguous (spot) chain it begins right after the last one."""
        first = self.previous_id + 1 if contiguous else self.first_id
        ids = DepthIds(first, last_id, self.previous_id)
        self.previous_id = last_id
        self.pending = False
        self.events += 1
        if self.first_event is None:
            self.first_event = ids
        return ids
