"""Keeping one symbol's book in step with its depth stream: a state machine without clock or socket.

Its states and their changes are drawn in `sync_states`. The buffer holds the newest events; a snapshot that is older
than those comes as a `Reference`, brought forward over the log (`on_reference`).

With `two_snapshots` a book that came into sync has a `single_source` until a second snapshot, compared at the same
update id, agrees with it: ids prove that no event is missing, not that the snapshot was true.
The rules by which events chain are in `sequence`.
"""

from __future__ import annotations

from workers.errors import BadNumber, StateUnreadable
from workers.model.books.checkpoint import Checkpoint
from workers.model.books.crossing import Crossing
from workers.model.books.order_book import DEFAULT_MAX_LEVELS, Difference, OrderBook
from workers.model.books.reference import Reference
from workers.model.books.sequence import Gap, Run, SequenceRule
from workers.model.books.sync_states import Outcome, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Snapshot

__all__ = ["REWIND_MS", "BookSync", "Gap", "Outcome", "SequenceRule", "SnapshotOutcome", "SyncState"]

REWIND_MS = 5_000
"""An old update id with an event time this much later is no duplicate: the venue has restarted its ids."""
CONFIRM_AFTER_MS = 10_000
"""Silence of the stream after which a snapshot that is ahead of it is taken to be where it stands."""
HOLD_LIMIT_MS = 60_000
"""How long such a snapshot is kept at most."""
SAME_ID_MS = 1_000
"""Age from which a snapshot of the same update id is another one: REST caches live under a second."""


class BookSync:
    """One symbol's book and its state. Times are ms; every `now_ms` is of one clock of the caller's choice.

    Feed it by `on_event`, `on_snapshot`, `tick` (every second or so), `lose`, `begin_refresh`, `restore`. Ask
    for a snapshot while `wants_snapshot`; when to ask again after TOO_OLD is the caller's decision. Show the
    book while `publishable`. An event costs `OrderBook.apply` plus O(1), an accepted snapshot O(n log n).
    """

    def __init__(
        self,
        symbol: str,
        rule: SequenceRule,
        *,
        max_levels: int = DEFAULT_MAX_LEVELS,
        buffer_limit: int = 500,
        crossed_limit_ms: int = 1_500,
        two_snapshots: bool = False,
    ) -> None:
        self.symbol, self.rule = symbol, rule
        self.book = OrderBook(max_levels)
        self.buffer_limit, self.two_snapshots = buffer_limit, two_snapshots
        self.crossed_limit_ms, self.state = crossed_limit_ms, SyncState.WAITING
        self.reason = ""
        """Why a book or snapshot was last lost: "gap", "crossed", "bad number", "buffer full",
        "ids restarted", "snapshot too old", "snapshot ahead", "snapshot mismatch", or what `lose` got."""
        self.gap: Gap | None = None
        self.bad_number: BadNumber | None = None
        self.differences: list[Difference] = []
        self.sync_count, self.gap_count, self.last_update_id = 0, 0, -1
        self.last_event_time = 0
        """Event time of the last event applied or buffered, exchange ms."""
        self.synced_at = self.lost_at = 0
        self._crossing = Crossing()
        self.unconfirmed = False
        """Synced by silence: the next event is still the first one after the snapshot."""
        self.single_source = False
        """No second snapshot has agreed with the book yet, though one shall."""
        self._began = (-1, 0)
        """Update id of the snapshot the book began with, and when (ms)."""
        self._run = Run(buffer_limit)
        self._refresh: Run | None = None
        self._held: Snapshot | None = None
        self._doubted: Snapshot | None = None  # was held for so long that another one is wanted
        self._asks_again = False
        self._held_ms = self._heard_ms = 0
        self._heard = False  # an event arrived since the book was last lost
        self._from_first_event = True  # no event of the stream came before the run

    @property
    def wants_snapshot(self) -> bool:
        """Also, once, while one is held that the stream has not reached for long: it may be of another book."""
        doubts = self._asks_again and self.state is SyncState.CONFIRMING
        return doubts or self.state in (SyncState.WAITING, SyncState.BROKEN)

    @property
    def publishable(self) -> bool:
        return self.state is SyncState.SYNCED and self.crossed_since_ms is None

    @property
    def crossed_since_ms(self) -> int | None:
        return self._crossing.since_ms

    @property
    def wants_comparison(self) -> bool:
        """Whether a second snapshot is needed, of a few levels at least, and none is held until events reach it."""
        return self.state is SyncState.SYNCED and self.single_source and self._held is None

    @property
    def oldest_usable_id(self) -> int | None:
        """The update id that a snapshot must have, or be brought forward to; None: any, or none is wanted."""
        run = self._refresh if self.state is SyncState.SYNCED else self._run
        return None if run is None else run.start

    @property
    def refreshing(self) -> bool:
        return self._refresh is not None

    def on_event(self, event: DepthEvent, now_ms: int) -> Outcome:
        """Take the next event of the stream, or a copy of an older one."""
        self._heard_ms, self._heard = now_ms, True
        if self.state is SyncState.SYNCED:
            return self._advance(event, now_ms)
        if self.state is SyncState.CONFIRMING and self._held is not None:
            return self._approach(event, self._held, now_ms)
        return self._buffer(event, now_ms)

    @property
    def only_changes(self) -> bool:
        """Whether an update that follows changes the book and nothing else, so that several can be folded at once."""
        synced = self.state is SyncState.SYNCED and not self.unconfirmed
        return synced and self._refresh is None and self.crossed_since_ms is None

    def has_taken(self, event: DepthEvent, now_ms: int) -> None:
        """While there were `only_changes`, the book was given all up to this event, which may have crossed it."""
        self._heard_ms, self._heard = now_ms, True
        self.last_update_id, self.last_event_time = event.last_id, event.event_time
        self._crossing.after(self.book, event, now_ms)

    def on_snapshot(self, snapshot: Snapshot, now_ms: int) -> SnapshotOutcome:
        """Take the answer to a request for a snapshot."""
        if self.state is SyncState.SYNCED:
            return self._begin_overlap(snapshot, now_ms)
        self._asks_again = False
        if snapshot.partial:
            return SnapshotOutcome.UNWANTED
        run, last_id = self._run, snapshot.last_update_id
        if last_id == -1:
            # Never traded when taken: only the stream's very first event can follow. Once one has come, a newer
            # snapshot has an id; an exchange that still says -1 may say it of any symbol.
            if run.events or not self._from_first_event:
                return SnapshotOutcome.TOO_OLD
        elif run.start is not None and run.end is not None:
            if last_id < run.start:
                return SnapshotOutcome.TOO_OLD
            if last_id <= run.end:
                return self._enter(snapshot, now_ms)
            self._run = Run(self.buffer_limit, run.end)
            self._from_first_event = False
        held_id = -1 if self._held is None else self._held.last_update_id
        if self._held is None or held_id == -1 or -1 < last_id < held_id:
            self._held, self._held_ms = snapshot, now_ms
        self.state = SyncState.CONFIRMING
        return SnapshotOutcome.HELD

    def on_reference(self, reference: Reference, now_ms: int, *, partial: bool = False) -> SnapshotOutcome:
        """Take a snapshot that was too old, brought forward over the log to `oldest_usable_id` or further.

        Its book becomes this one's, or part of it, and must not be used any more. `partial`: as of `Snapshot`.
        """
        at, synced = reference.update_id, self.state is SyncState.SYNCED
        run = self._refresh if synced else self._run
        if run is None or run.start is None or run.end is None or not run.start <= at <= run.end:
            return SnapshotOutcome.TOO_OLD
        later = [event for event in run.events if event.last_id > at]
        if later and not self.rule.continues(later[0], at):
            return SnapshotOutcome.TOO_OLD
        if synced:
            return self._compare(reference.book, later, now_ms, partial=partial)
        if partial:
            return SnapshotOutcome.UNWANTED
        self.book, self.last_update_id = reference.book, at
        return self._catch_up(reference.snapshot_id, later, now_ms)

    def tick(self, now_ms: int) -> Outcome | None:
        """What time decides: a book crossed too long, a held snapshot confirmed by silence or given up."""
        if self.state is SyncState.SYNCED:
            if self.crossed_since_ms is not None and now_ms - self.crossed_since_ms >= self.crossed_limit_ms:
                self.lose("crossed", now_ms)
                return Outcome.LOST
            limit_ms = CONFIRM_AFTER_MS if self.single_source else HOLD_LIMIT_MS
            self._held = self._held if now_ms - self._held_ms < limit_ms else None
        elif self._held is not None and self._heard and self._run.end is not None:
            if now_ms - max(self._heard_ms, self._held_ms) >= CONFIRM_AFTER_MS:
                self.unconfirmed = self._enter(self._held, now_ms) is SnapshotOutcome.ACCEPTED
                return Outcome.SYNCED if self.unconfirmed else Outcome.LOST
            if now_ms - self._held_ms >= HOLD_LIMIT_MS:
                self._give_up("snapshot ahead")
            elif now_ms - self._held_ms >= CONFIRM_AFTER_MS and self._doubted is not self._held:
                self._doubted, self._asks_again = self._held, True
        return None

    def lose(self, reason: str, now_ms: int) -> None:
        """Forget the book and wait for a snapshot that reaches the id the stream stands at."""
        at = self.last_update_id if self.state is SyncState.SYNCED else self._run.end
        self.book.clear()
        self.lost_at = now_ms
        self._run, self._refresh = Run(self.buffer_limit, at), None
        self._heard = self._from_first_event = self.unconfirmed = self.single_source = False
        self._crossing = Crossing()
        self._give_up(reason)

    def begin_refresh(self) -> None:
        """Keep events from here on, so that a snapshot asked for now can move a synced book's known range."""
        if self.state is SyncState.SYNCED:
            self._refresh, self._held = Run(self.buffer_limit, self.last_update_id), None

    def checkpoint(self, stream_id: str) -> Checkpoint:
        """What `restore` goes on from; `stream_id` names the last entry of the stream that was fed. O(n)."""
        book = self.book
        return Checkpoint(
            symbol=self.symbol,
            rule=self.rule.value,
            stream_id=stream_id,
            synced=self.state is SyncState.SYNCED,
            unconfirmed=self.unconfirmed,
            last_update_id=self.last_update_id,
            last_event_time=self.last_event_time,
            synced_at=self.synced_at,
            lost_at=self.lost_at,
            crossed_since_ms=self.crossed_since_ms,
            sync_count=self.sync_count,
            gap_count=self.gap_count,
            reason=self.reason,
            known=(book.known_low, book.known_high),
            proven_best=book.proven_best,
            bids=list(book.levels("bid")),
            asks=list(book.levels("ask")),
            single_source=self.single_source,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was made; StateUnreadable if it is another book's."""
        if (checkpoint.symbol, checkpoint.rule) != (self.symbol, self.rule.value):
            raise StateUnreadable(f"checkpoint of {checkpoint.symbol}", f"it is not of {self.symbol}")
        self.sync_count, self.gap_count = checkpoint.sync_count, checkpoint.gap_count
        self.reason, self.last_event_time = checkpoint.reason, checkpoint.last_event_time
        self.synced_at, self.lost_at = checkpoint.synced_at, checkpoint.lost_at
        self.last_update_id = checkpoint.last_update_id
        self._run, self._held, self._refresh = Run(self.buffer_limit), None, None
        self._heard, self._from_first_event = False, self.last_event_time == 0
        self._give_up(self.reason)
        if checkpoint.synced:
            self.book.restore(checkpoint.bids, checkpoint.asks, checkpoint.known, checkpoint.proven_best)
            self._crossing = Crossing(checkpoint.crossed_since_ms)
            self.unconfirmed = checkpoint.unconfirmed
            self.state = SyncState.SYNCED
            self._await_second(-1, 0, wanted=checkpoint.single_source)

    def _advance(self, event: DepthEvent, now_ms: int) -> Outcome:
        """SYNCED: apply what follows, ignore what is old, break on a hole."""
        last_id = self.last_update_id
        if self.unconfirmed:
            if event.last_id < last_id:
                return Outcome.STALE
            chained = self.rule.continues(event, last_id)
        elif event.last_id <= last_id:
            return self._old(event, now_ms)
        else:
            chained = self.rule.follows(event, last_id)
        if not chained:
            self.lose("gap", now_ms)
            return self._note_gap(last_id, event)
        if not self._apply(event, now_ms):
            return Outcome.LOST
        if self._refresh is not None:
            self._refresh.append(event, last_id)
            if self._held is not None and self._held.last_update_id <= event.last_id:
                outcome = self._overlap(self._held, self._refresh, now_ms)
                return Outcome.LOST if outcome is SnapshotOutcome.MISMATCH else Outcome.APPLIED
        return Outcome.APPLIED

    def _approach(self, event: DepthEvent, held: Snapshot, now_ms: int) -> Outcome:
        """CONFIRMING: wait for the event that takes the held snapshot further."""
        start, last_id, before = self.rule.start_of(event), held.last_update_id, self._run.end
        if last_id == -1 or (last_id <= event.last_id and self.rule.continues(event, last_id)):
            self._run = Run.of(event, start, self.buffer_limit)
            return Outcome.SYNCED if self._enter(held, now_ms) is SnapshotOutcome.ACCEPTED else Outcome.LOST
        if event.last_id < last_id:
            self._run = Run(self.buffer_limit, event.last_id)
            self._from_first_event = False
            self.last_event_time = event.event_time
            return Outcome.STALE
        self._give_up("snapshot too old")
        if before is not None:
            self.reason = "gap"
            return self._note_gap(before, event)
        return self._buffer(event, now_ms)

    def _buffer(self, event: DepthEvent, now_ms: int) -> Outcome:
        """WAITING or BROKEN: keep what a snapshot to come may need."""
        end = self._run.end
        if end is not None and event.last_id <= end:
            return self._old(event, now_ms)
        if end is not None and not self.rule.follows(event, end):
            return self._note_gap(end, event)
        self.last_event_time = event.event_time
        if self._run.append(event, self.rule.start_of(event)):
            self._from_first_event = False
            self.reason = self.reason or "buffer full"
        return Outcome.BUFFERED

    def _enter(self, snapshot: Snapshot, now_ms: int) -> SnapshotOutcome:
        """Load a snapshot, apply the run's events after it, be synced."""
        try:
            self.book.load(snapshot)
        except BadNumber as error:
            self.bad_number = error
            self._give_up("bad number")
            return SnapshotOutcome.UNUSABLE
        self.last_update_id = snapshot.last_update_id
        self.last_event_time = max(self.last_event_time, snapshot.event_time)
        later = self.rule.not_contained(self._run.events, snapshot.last_update_id)
        return self._catch_up(snapshot.last_update_id, later, now_ms)

    def _catch_up(self, snapshot_id: int, later: list[DepthEvent], now_ms: int) -> SnapshotOutcome:
        """Apply the buffered events after what the book holds, be synced."""
        self._crossing = Crossing.of(self.book, now_ms)
        for place, event in enumerate(later, 1):
            if not self._apply(event, now_ms):
                for after in later[place:]:
                    self._run.append(after, event.last_id)
                return SnapshotOutcome.TOO_OLD
        self._run.events.clear()
        self._held, self._refresh, self.unconfirmed = None, None, False
        self.state, self.synced_at = SyncState.SYNCED, now_ms
        self.sync_count += 1
        self._await_second(snapshot_id, now_ms, wanted=True)
        return SnapshotOutcome.ACCEPTED

    def _await_second(self, snapshot_id: int, now_ms: int, *, wanted: bool) -> None:
        """In sync by one snapshot: keep the events from here on, to compare the next one."""
        self._began, self.single_source = (snapshot_id, now_ms), wanted and self.two_snapshots
        if self.single_source:
            self.begin_refresh()

    def _begin_overlap(self, snapshot: Snapshot, now_ms: int) -> SnapshotOutcome:
        """SYNCED: the snapshot asked for by a refresh, or to bear the first one out."""
        run, last_id = self._refresh, snapshot.last_update_id
        if run is None or run.start is None or run.end is None:
            return SnapshotOutcome.UNWANTED
        if self.single_source and last_id == self._began[0] and now_ms - self._began[1] < SAME_ID_MS:
            return SnapshotOutcome.SAME
        if last_id < run.start:
            return SnapshotOutcome.TOO_OLD
        if last_id > run.end:
            self._held, self._held_ms = snapshot, now_ms
            return SnapshotOutcome.HELD
        return self._overlap(snapshot, run, now_ms)

    def _overlap(self, snapshot: Snapshot, run: Run, now_ms: int) -> SnapshotOutcome:
        """SYNCED: compare the book with snapshot plus events at the same id, then take over its range."""
        self._held = None
        newer = OrderBook(self.book.max_levels)
        later = self.rule.not_contained(run.events, snapshot.last_update_id)
        try:
            newer.load(snapshot)
        except BadNumber as error:
            self.bad_number = error
            return SnapshotOutcome.UNUSABLE
        return self._compare(newer, later, now_ms, partial=snapshot.partial)

    def _compare(
        self, newer: OrderBook, later: list[DepthEvent], now_ms: int, *, partial: bool
    ) -> SnapshotOutcome:
        """SYNCED: bring a newer book up to this one's id by events that this one has applied; they must agree."""
        for event in later:
            newer.apply(event.bids, event.asks)
        self._refresh = None
        self.differences = self.book.differences(newer) if partial else self.book.succeed(newer)
        if self.differences:
            self.lose("snapshot mismatch", now_ms)
            return SnapshotOutcome.MISMATCH
        self.single_source = False
        if partial:
            return SnapshotOutcome.AGREED
        if self.crossed_since_ms is None:  # it may be, by a level it did not know before
            self._crossing = Crossing.of(self.book, now_ms)
        return SnapshotOutcome.REFRESHED

    def _apply(self, event: DepthEvent, now_ms: int) -> bool:
        """Change the book, or lose it at an event that spoils it: only a snapshot after it helps."""
        try:
            self.book.apply(event.bids, event.asks)
        except BadNumber as error:
            self.bad_number = error
            return self._spoiled("bad number", event, now_ms)
        self.last_update_id, self.last_event_time = event.last_id, event.event_time
        self.unconfirmed = False
        return self._crossing.after(self.book, event, now_ms) or self._spoiled("crossed", event, now_ms)

    def _spoiled(self, reason: str, event: DepthEvent, now_ms: int) -> bool:
        self.lose(reason, now_ms)
        self._run = Run(self.buffer_limit, event.last_id)
        return False

    def _old(self, event: DepthEvent, now_ms: int) -> Outcome:
        if event.previous_id == event.last_id or not 0 < self.last_event_time < event.event_time - REWIND_MS:
            return Outcome.STALE  # the first: word of OKX that a book stands still
        self.lose("ids restarted", now_ms)
        self._restart(event)
        return Outcome.LOST

    def _note_gap(self, expected: int, event: DepthEvent) -> Outcome:
        """Record a hole; the event after it becomes the first one of the next attempt."""
        self.gap = Gap(expected, self.rule.start_of(event), self.last_event_time)
        self.gap_count += 1
        self._restart(event)
        return Outcome.GAP

    def _restart(self, event: DepthEvent) -> None:
        self._run = Run.of(event, self.rule.start_of(event), self.buffer_limit)
        self._heard, self._from_first_event, self.last_event_time = True, False, event.event_time

    def _give_up(self, reason: str) -> None:
        """Want a snapshot (again)."""
        self._held, self.reason = None, reason
        self.state = SyncState.BROKEN if self.sync_count else SyncState.WAITING
