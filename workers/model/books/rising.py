"""Keeping a book in step with a stream whose ids only order its events: what is missing is told, or not at all."""

from __future__ import annotations

from workers.model.books.sequence import Run
from workers.model.books.sync import BookSync, Outcome, SyncState
from workers.model.events import DepthEvent, Snapshot


class RisingSync(BookSync):
    """A `BookSync` by `SequenceRule.RISING`: it also ends where the log says that a socket has ended."""

    def on_event(self, event: DepthEvent, now_ms: int) -> Outcome:
        """Take the next entry of the stream."""
        if event.kind != "break":
            return super().on_event(event, now_ms)
        was_synced = self.state is SyncState.SYNCED
        self.lose(event.why or "connection", now_ms)
        self._run = Run(self.buffer_limit)  # no snapshot from before the next event will do
        return Outcome.LOST if was_synced else Outcome.STALE

    def _approach(self, event: DepthEvent, held: Snapshot, now_ms: int) -> Outcome:
        """CONFIRMING: what came between a snapshot and the very first event nobody knows."""
        if self._run.end is None and held.last_update_id < event.last_id:
            self._give_up("snapshot too old")
            return self._buffer(event, now_ms)
        return super()._approach(event, held, now_ms)
