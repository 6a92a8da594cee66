"""One owned book: the sync machine, what is not yet acknowledged, and what is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter, Gauge

from workers.books.delivery import Delivery, date_by_entry
from workers.books.overtaking import Overtaking, same_level
from workers.errors import BadNumber, MalformedFrame
from workers.model.books.audit import BestLevelCheck
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.freshness import Freshness
from workers.model.books.sync import BookSync, Outcome, SequenceRule, SyncState
from workers.model.books.top_of_book import Pace
from workers.model.events import DepthEvent, Level
from workers.model.history.recorder import HistoryRecorder
from workers.model.pauses import Pauses, Relapses
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings
from workers.store.log.streams import Delivered, update_id_of
from workers.venues.entries import depth_of

log = structlog.get_logger()

TOLD_AT_MOST = 10
"""Entries in a row of one stream that the log names one by one."""
QUIET_S = 90.0
"""A new book whose stream brought nothing for so long is no reason to let the others wait for their levels."""

STEADY_S = 60.0
"""A book lost again sooner than so long after it came into sync waits ever longer for its next snapshot: whatever it
is that spoils it goes on, and would take the weight that all the others need."""

EVENTS = Counter("fleet_depth_events_total", "Depth events read by the book owners", ["venue", "outcome"])
MALFORMED = Counter("fleet_malformed_entries_total", "Stream entries that could not be decoded", ["venue"])
LOSSES = Counter("fleet_sync_lost_total", "Times a book left sync", ["venue", "reason"])
BEHIND = Counter(
    "fleet_books_behind_total", "Books withheld because they lacked what their stream had brought", ["venue"]
)
SYNCS = Counter("fleet_syncs_total", "Times a book came into sync", ["venue"])
IN_SYNC = Gauge("fleet_books_in_sync", "Books in sync in this worker", ["venue"])


class OwnedBook:
    """A book this worker owns.

    Args:
        token: the fencing number of its lease.
        sync: fresh, or restored from the checkpoint.
    """

    def __init__(self, claim: Claim, token: int, sync: BookSync, settings: BookSettings) -> None:
        self.claim = claim
        self.token = token
        self.sync = sync
        self.pace = Pace(settings.publish_ms)
        self._settings = settings
        self.delivery = Delivery()
        self._events = {one: EVENTS.labels(claim.context.name, one.value) for one in Outcome}
        self.last_stream_id = b"0-0"
        self.received_us = self.transaction_time = 0
        self.published = False
        """Whether `LIVE_ORDERBOOK` holds this book."""
        self.withdraw = True
        """Whether the next publication must withdraw it (also at the start: the last owner may have left it)."""
        self.committed_at = time.monotonic()
        self.status_at = 0.0
        self.lost = False
        """Whether the stored checkpoint is of a book that was lost since."""
        self.unsaved = False
        """Whether a snapshot has brought the book into sync, or moved its range, since the last checkpoint."""
        self.freshness = Freshness()
        self.overtaking = Overtaking()
        self.unreadable = ""
        """Why its stream cannot be read now and what to do about it, for people; empty: it can."""
        self.reread = False
        """Whether entries may have been given to an owner that never saw them: they are pending now."""
        self.current_at = time.monotonic()
        """All that its stream had brought by then is in the book (monotonic seconds)."""
        self.behind = False
        """Whether that is too long ago: what it shows was true once."""
        self.read = False
        """Whether its stream has been read since it was recovered."""
        self.heard_at = time.monotonic()
        self.heard = False
        """Whether the stream brought anything: a snapshot without a stream is worth nothing."""
        self.before_last = b"0-0"
        """The stream id taken in before the last one."""
        self.refresh_check_at = 0.0
        self.snapshot_at = 0.0
        self.snapshot_pauses = Pauses(settings.snapshot_retry_s, settings.snapshot_retry_max_s)
        self._relapses = Relapses(settings.snapshot_retry_s, settings.snapshot_retry_max_s, STEADY_S)
        self.fetching = False
        self.shallow = False
        """Whether it began with a small snapshot, and shall have all its levels when there is weight for them."""
        self.best_levels = BestLevelCheck() if claim.context.settings.book_ticker else None
        """Compares the best levels with the exchange's bookTicker, where that is followed."""
        self.told_comparisons = (0, 0)
        """Of its comparisons, those told as metrics: all, and those that disagreed."""
        self.recorder: HistoryRecorder | None = None
        """Takes down its history, once that has been taken up."""
        self.malformed = 0
        """Entries that could not be decoded so far."""
        self.crossed_events = self.applied = 0
        self.wake: Callable[[], None] = lambda: None
        """Called when something happened to it: the next round is to see to it."""
        self._was_synced = sync.state is SyncState.SYNCED
        if self._was_synced:
            IN_SYNC.labels(claim.context.name).inc()
            self.pace.changed()
            self.withdraw = not self.showable

    @property
    def key(self) -> str:
        """Its raw stream."""
        return self.claim.context.keys.raw(self.claim.symbol, "depth")

    def take(self, entry: Delivered, now_ms: int) -> Outcome | None:
        """Fold one stream entry in; None for one that cannot be used."""
        self.delivery.pending.append(entry.stream_id)
        self.before_last, self.last_stream_id = self.last_stream_id, entry.stream_id
        self.heard = True
        self.heard_at = time.monotonic()
        if not entry.data and entry.kind != "break":
            self._lacks(entry, now_ms)  # trimmed before it was read
            return None
        try:
            event = depth_of(self.claim.context.venue, self.claim.symbol, entry)
            filed_ms = date_by_entry(event, entry)
            if self.recorder is not None:
                self.recorder.before(event, filed_ms)
            compared = self.sync.refreshing
            outcome = self.sync.on_event(event, now_ms)
        except (MalformedFrame, BadNumber) as error:
            MALFORMED.labels(self.claim.context.name).inc()
            self.malformed += 1
            if self.malformed <= TOLD_AT_MOST or self.malformed % 1000 == 0:  # not a log line an entry
                log.warning("malformed_entry", key=self.key, entry=entry.stream_id.decode(),
                            entries=self.malformed, error=str(error))  # fmt: skip
            self._lacks(entry, now_ms)
            return None
        if self.recorder is not None:
            self.recorder.after(event, outcome)
        self._events[outcome].inc()
        synced = self.sync.state is SyncState.SYNCED
        bridged = synced and outcome is Outcome.GAP  # by a whole book that was ahead
        agrees = event.kind == "checksum" or event.last_id == self.sync.last_update_id
        if bridged or (synced and event.kind != "update" and agrees):
            self.borne_out()  # by a whole book, or a checksum, that agrees
        if bridged or outcome in (Outcome.APPLIED, Outcome.SYNCED):
            self.overtaking.moved(self.sync.last_update_id, self.sync.last_event_time)
            self._changed([entry], event)
        self.noticed()
        if compared and synced and not self.sync.refreshing:  # by a snapshot that was ahead of the stream
            self.snapshot_pauses.reset()
            self.borne_out()
        return outcome

    def _lacks(self, entry: Delivered, now_ms: int) -> None:
        """An entry cannot be used: a book that has not come to it is lost, for no other may come that shows it."""
        is_further = update_id_of(entry.stream_id) > self.sync.last_update_id
        if entry.kind != "update" or not is_further:
            return
        self.torn("malformed entry", now_ms)
        if self.sync.state is SyncState.SYNCED:
            self.sync.lose("malformed entry", now_ms)
            self.noticed()

    def may_soon_sync(self, now: float) -> bool:
        """Whether it was never in sync and may want its first snapshot soon (monotonic seconds): one whose stream has
        been quiet for `QUIET_S` is not waited for."""
        return not self.sync.sync_count and (self.heard or now - self.heard_at < QUIET_S)

    @property
    def changes_unseen(self) -> bool:
        """Whether nobody looks at it between two plain changes that follow each other: see `folding`."""
        return self.sync.only_changes and self.best_levels is None and not self.overtaking.watching

    def took(self, entries: Sequence[Delivered], events: Sequence[DepthEvent]) -> None:
        """Entries were folded together while its changes were unseen; what `take` would have made of each."""
        ids = [self.last_stream_id, *(entry.stream_id for entry in entries)]
        self.delivery.pending += ids[1:]
        self.before_last, self.last_stream_id = ids[-2:]
        self.heard, self.heard_at = True, time.monotonic()
        if self.recorder is not None:
            self.recorder.applied(events)
        self._events[Outcome.APPLIED].inc(len(events))
        self._changed(entries, events[-1])
        self.noticed()

    def _changed(self, entries: Sequence[Delivered], event: DepthEvent) -> None:
        """Entries have changed the book, in the end by an event."""
        self.freshness.event(max(entry.received_us for entry in entries) // 1000)
        self.transaction_time = event.transaction_time
        self.applied += len(entries)
        self.received_us = entries[-1].received_us
        self.pace.changed()
        if self.sync.book.crossed:
            self.crossed_events += 1
        if self.best_levels is not None:
            self._compare_best(self.best_levels)

    def read_until(self, now: float, wall_us: int, *, end: bool) -> None:
        """What was read has been folded; `end`: it was all there was at `now` (monotonic seconds)."""
        if end:
            self.current_at = now
        elif self.received_us:
            self.current_at = max(self.current_at, now - max(0, wall_us - self.received_us) / 1e6)

    def judge_lag(self, now: float) -> None:
        """Withhold a book whose stream is further than it, or show it again."""
        behind = (now - self.current_at) * 1000 > self._settings.behind_ms
        if behind == self.behind:
            return
        self.behind = behind
        if behind:
            self.withdraw = True
            BEHIND.labels(self.claim.context.name).inc()
            log.warning("book_behind", venue=self.claim.context.name, symbol=self.claim.symbol,
                        behind_ms=int((now - self.current_at) * 1000))  # fmt: skip
        else:
            self.pace.changed()

    def seen_ahead(self, update_id: int, bid: Level | None, ask: Level | None, evidence: str) -> None:
        """Another source stands at a later update id, with these best levels (a quantity of zero: an empty side)."""
        if update_id <= self.sync.last_update_id or self.sync.state is not SyncState.SYNCED:
            return
        book = self.sync.book
        if same_level(book.best_bid, bid) and same_level(book.best_ask, ask):
            self.overtaking.agreed()
        else:
            self.overtaking.ahead(evidence, time.monotonic(), update_id=update_id)

    def tick(self, now_ms: int) -> None:
        """What time does to it; silence may have brought it further."""
        if self.sync.tick(now_ms) is Outcome.SYNCED:
            self.overtaking.moved(self.sync.last_update_id, self.sync.last_event_time)
            self.borne_out()
        self.noticed()

    def torn(self, why: str, now_ms: int) -> None:
        """Something is missing before what was taken in last: where no id shows it, the book ends here, and what was
        kept for a snapshot to come."""
        at = self.sync.last_update_id
        if self.sync.rule is SequenceRule.RISING:
            hole = DepthEvent(self.claim.symbol, at, at, -1, 0, 0, [], [], "break", why=why)
            self.sync.on_event(hole, now_ms)
            self.noticed()

    def noticed(self) -> None:
        """Draw the consequences of a change of state."""
        synced = self.sync.state is SyncState.SYNCED
        if synced == self._was_synced:
            return
        self._was_synced = synced
        self.wake()
        name, now = self.claim.context.name, time.monotonic()
        self.freshness.proven()
        self.overtaking.forget()
        if synced:
            SYNCS.labels(name).inc()
            IN_SYNC.labels(name).inc()
            self.snapshot_pauses.reset()
            self._relapses.began(now)
            self.lost = False
            self.committed_at = 0.0  # at once: from now on the next owner needs no snapshot
            self.unsaved = True
            self.pace.changed()
            if self.best_levels is not None:
                self._compare_best(self.best_levels)
            log.info("book_synced", venue=name, symbol=self.claim.symbol, u=self.sync.last_update_id)
        else:
            LOSSES.labels(name, self.sync.reason).inc()
            IN_SYNC.labels(name).dec()
            self.withdraw = True
            if self.best_levels is not None:
                self.best_levels.reset()
            # a gap is looked into first: the log may have what is missing
            self.lost = self.sync.reason != "gap"
            # REST answers from a cache that lags the stream: asked at once, it would be older than the gap
            delay_s = self._settings.snapshot_delay_ms / 1000
            self.snapshot_at = now + max(delay_s, self._relapses.lost(now))
            why = {"error": str(self.sync.bad_number)} if self.sync.reason == "bad number" else {}
            log.warning("sync_lost", venue=name, symbol=self.claim.symbol, reason=self.sync.reason, **why)

    def borne_out(self) -> None:
        """A snapshot has said what the book says: it is not outdated, and if it was the second one, it may be shown."""
        self.unsaved = True
        self.freshness.proven()
        self.pace.changed()
        self.wake()

    def _compare_best(self, check: BestLevelCheck) -> None:
        """The book stands at an update id: its best levels, if they are claimed, must be those of the ticker."""
        if self.sync.publishable and not self.sync.unconfirmed and not self.beyond_range:
            book = self.sync.book
            check.observe_book(self.sync.last_update_id, book.best_bid, book.best_ask)

    def recovered(self, now_ms: int) -> None:
        """The entries of the last owner have been taken in (ms since 1970): the book is as old as its last event."""
        if self.sync.state is SyncState.SYNCED:
            last_event_ms = max(self.received_us // 1000, self.sync.last_event_time)
            self.heard_at = time.monotonic() - max(0, now_ms - last_event_ms) / 1000
            self.current_at = self.heard_at  # until its stream has been read to its end
            self.shallow = self._is_shallow()
            self.freshness.recovered(now_ms, last_event_ms)

    def _is_shallow(self) -> bool:
        """Whether so little of it is known that its last owner can have had but a small snapshot."""
        book = self.sync.book
        has_edge = book.known_low != "0" or book.known_high != "inf"
        by_rest = self.claim.context.venue.facts.snapshots == "rest"
        return by_rest and has_edge and max(book.known_counts) <= self._settings.compared_levels

    def forget(self) -> None:
        """The book is no longer ours."""
        if self._was_synced:
            IN_SYNC.labels(self.claim.context.name).dec()

    @property
    def listens(self) -> bool:
        """Whether a new entry of its stream can be read at once."""
        return not (self.unreadable or self.reread)

    @property
    def settled(self) -> bool:
        """Whether nothing but events, and the seconds, will change it: it is shown, and waits for no answer."""
        return (
            self.decided
            and self.showable
            and self.sync.crossed_since_ms is None
            and not (self.fetching or self.shallow or self.freshness.to_confirm or self.sync.wants_comparison)
        )

    @property
    def decided(self) -> bool:
        """Whether it can be told yet if it may be shown: what its stream brought meanwhile may say that it is lost."""
        return (self.read or bool(self.unreadable)) and self.freshness.judged

    @property
    def showable(self) -> bool:
        """Whether the book may be shown: in sync, borne out, not crossed, its stream read, its range known."""
        return (
            not (self.unreadable or self.behind)
            and self.sync.publishable
            and not self.sync.single_source
            and not self.freshness.stale
            and not self.overtaking.dead
            and not self.beyond_range
        )

    @property
    def beyond_range(self) -> bool:
        """Whether the market has left the known range: the best levels held may miss better ones."""
        return self.sync.book.edge_distance() <= 0.0

    def commit_due(self, now: float) -> bool:
        """Whether a checkpoint is due (monotonic seconds)."""
        if not (self.delivery.pending or self.lost or self.unsaved):
            return False
        usual_s = self._settings.commit_ms / 1000
        more_comes = now - self.heard_at < usual_s and not self.unsaved
        pause_s = self.delivery.pause_s(usual_s, more_comes=more_comes)
        return self.commit_urgent or now - self.committed_at >= pause_s

    @property
    def commit_urgent(self) -> bool:
        """Whether a checkpoint is due that waits for no other book's."""
        is_much = len(self.delivery.pending) >= self._settings.commit_entries
        # out of sync so many stay pending, whatever is committed
        return self.lost or (is_much and self.sync.state is SyncState.SYNCED)

    def checkpoint(self) -> tuple[bytes | None, list[bytes]]:
        """What to commit now: the checkpoint (None: leave the stored one) and the ids it allows to acknowledge.

        Out of sync the loss alone is stored; entries stay pending for the next owner, up to a bound.
        """
        if self.sync.state is SyncState.SYNCED:
            return self._state(), self.delivery.pending[:]
        excess = len(self.delivery.pending) - self._settings.commit_entries
        return self._state() if self.lost else None, self.delivery.pending[: max(0, excess)]

    def _state(self) -> bytes:
        return encode_checkpoint(self.sync.checkpoint(self.last_stream_id.decode()))

    def committed(self, ids: list[bytes], now: float, *, told_loss: bool, told_snapshot: bool) -> None:
        """A commit was accepted; `told_loss`, `told_snapshot`: `lost` and `unsaved` when it was made."""
        self.delivery.acknowledged(len(ids))
        self.committed_at = now
        self.lost = self.lost and not told_loss
        self.unsaved = self.unsaved and not told_snapshot
