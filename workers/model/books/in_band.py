"""Keeping a book in step with a stream that brings its snapshots itself, and perhaps checksums.

The log has, besides changes, whole books, the word that something is missing, and checksums (`DepthEvent.kind`):

    any state ──snapshot──────────────────────────────────► SYNCED   (of the venue's ids: unless the book is further,
                                                                      and after the events before it, or silence)
    SYNCED    ──gap, break, checksum mismatch, bad number──► BROKEN   until the next snapshot

Where the venue numbers the messages of a symbol (`by_id`), two lines are merged in the log and a snapshot may come
between events that are older or newer than it: it takes its place by its id. Elsewhere one line writes, the log itself
numbers what it wrote, and a snapshot replaces whatever was before.

Source of the rules: the venues' documents, as collected in docs/venues.md.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.errors import BadNumber
from workers.model.books.checksum import ChecksumRule
from workers.model.books.order_book import DEFAULT_MAX_LEVELS, OrderBook
from workers.model.books.rising import RisingSync
from workers.model.books.sync import BookSync, Outcome, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Snapshot

AHEAD_MS = 1_000
"""Silence after which a whole book that is ahead of ours takes over: its lines hold back nothing for so long."""


class StreamRule(NamedTuple):
    """What a stream with snapshots of its own brings.

    by_id: the venue numbers the messages of a symbol.
    levels: levels a side that it keeps up, 0: all there are. Beyond the last of them nothing is known.
    cut: no deletion comes for what leaves those levels: the reader drops it.
    checksum: how the book is compared with what the venue says of it.
    """

    by_id: bool
    levels: int = 0
    cut: bool = False
    checksum: ChecksumRule | None = None


class BookRule(NamedTuple):
    """How a venue's depth entries make a book.

    sequence: how they chain; `SPOT` also where the log numbers them.
    stream: what its snapshots are; None: they come over REST.
    """

    sequence: SequenceRule
    stream: StreamRule | None = None

    def sync(
        self,
        symbol: str,
        *,
        max_levels: int = DEFAULT_MAX_LEVELS,
        crossed_limit_ms: int = 1_500,
        two_snapshots: bool = False,
    ) -> BookSync:
        """A fresh book. `two_snapshots`: see `BookSync`; what comes in band is borne out by what follows it."""
        if self.stream is None:
            kind = RisingSync if self.sequence is SequenceRule.RISING else BookSync
            return kind(
                symbol,
                self.sequence,
                max_levels=max_levels,
                crossed_limit_ms=crossed_limit_ms,
                two_snapshots=two_snapshots,
            )
        return InBandSync(
            symbol, self.sequence, self.stream, max_levels=max_levels, crossed_limit_ms=crossed_limit_ms
        )


class InBandSync(BookSync):
    """A `BookSync` of such a stream; its snapshots are events. An event costs O(levels) more where it is checked.

    Args:
        sequence: how events chain; `SequenceRule.SPOT` also for numbers of the log.
        rule: what the stream brings.
    """

    def __init__(
        self,
        symbol: str,
        sequence: SequenceRule,
        rule: StreamRule,
        *,
        max_levels: int = DEFAULT_MAX_LEVELS,
        crossed_limit_ms: int = 1_500,
    ) -> None:
        super().__init__(symbol, sequence, max_levels=max_levels, crossed_limit_ms=crossed_limit_ms)
        self.stream_rule = rule
        self.checksums_ok = 0
        """Checksums that the book bore out."""
        self.checksums_of = 0
        """Checksums it was compared with."""
        self.replaced = 0
        """Whole books that took the place of one in sync: that is no loss."""
        self._upcoming: Snapshot | None = None
        """A whole book ahead of ours: should the events before it not come, it takes over at the next or by silence."""

    @property
    def only_changes(self) -> bool:
        """Nor if the book is compared, or cut, after each of them."""
        rule = self.stream_rule
        return rule.checksum is None and not rule.levels and super().only_changes

    def on_event(self, event: DepthEvent, now_ms: int) -> Outcome:
        """Take the next entry of the stream."""
        numbered_checksum = event.kind == "checksum" and not self.stream_rule.by_id
        if event.kind == "update" or (numbered_checksum and self.state is SyncState.SYNCED):
            # a checksum that the log numbered is a change of nothing, whose number the next one follows
            outcome = super().on_event(event, now_ms)
            if outcome is Outcome.GAP and self._upcoming is not None:
                self._begin_by_id(self._upcoming, now_ms)
            return outcome
        self._heard_ms, self._heard = now_ms, True
        if event.kind == "break":
            return self._end(event.why or "connection", now_ms)
        if event.kind == "checksum":
            agreed = self.state is not SyncState.SYNCED or self._agrees(event)
            return Outcome.STALE if agreed else self._end("checksum", now_ms)
        whole = Snapshot(
            event.symbol,
            event.last_id,
            event.bids,
            event.asks,
            event.event_time,
            limit=self.stream_rule.levels,
        )
        if self.stream_rule.by_id and event.kind == "snapshot":
            began = self._begin_by_id(whole, now_ms)
        else:
            began = self._replace(whole, now_ms)
        if began is Outcome.SYNCED and not self._agrees(event):
            return self._end("checksum", now_ms)
        return began

    def tick(self, now_ms: int) -> Outcome | None:
        """Also by silence: a whole book that is ahead takes over when nothing shows that the events before it come."""
        whole = self._upcoming if self.state is SyncState.SYNCED else None
        if whole is None or whole.last_update_id <= self.last_update_id or now_ms - self._heard_ms < AHEAD_MS:
            return super().tick(now_ms)
        self._forget("gap", now_ms)
        began = self._begin(whole, now_ms)
        self.unconfirmed = began is Outcome.SYNCED
        return began

    def _begin_by_id(self, whole: Snapshot, now_ms: int) -> Outcome:
        """A whole book of some id: it begins ours, or waits in case that the events before it do not come."""
        self._upcoming = None
        if self.state is SyncState.SYNCED:
            if whole.last_update_id == self.last_update_id and not self._says_the_same(whole):
                self._forget("snapshot mismatch", now_ms)
                return self._begin(whole, now_ms)
            if whole.last_update_id > self.last_update_id:
                self._upcoming = whole
            return Outcome.STALE
        start = self._run.start
        if start is not None and whole.last_update_id < start:
            return Outcome.STALE  # events that it would need are gone
        return self._begin(whole, now_ms)

    def _says_the_same(self, whole: Snapshot) -> bool:
        """Compare ours with a whole book of the same id; `differences` says where they contradict each other. O(n)."""
        other = OrderBook(self.book.max_levels)
        try:
            other.load(whole)
        except BadNumber:
            return True  # nothing can be told by it
        other.keep_window(self.stream_rule.levels, cut=self.stream_rule.cut)
        self.differences = self.book.differences(other)
        return not self.differences

    def _replace(self, whole: Snapshot, now_ms: int) -> Outcome:
        """A whole book that is the next entry of the log, or begins the ids anew."""
        if self.state is SyncState.SYNCED and whole.last_update_id == self.last_update_id:
            return Outcome.STALE  # the same entry once more
        self.replaced += self.state is SyncState.SYNCED
        self._forget(self.reason, now_ms)
        self.last_event_time = 0
        return self._begin(whole, now_ms)

    def _begin(self, whole: Snapshot, now_ms: int) -> Outcome:
        return Outcome.SYNCED if self._enter(whole, now_ms) is SnapshotOutcome.ACCEPTED else Outcome.LOST

    def _enter(self, snapshot: Snapshot, now_ms: int) -> SnapshotOutcome:
        self._upcoming = None
        outcome = super()._enter(snapshot, now_ms)
        if outcome is SnapshotOutcome.ACCEPTED:
            if not self.stream_rule.levels:
                self.book.prove_whole()
            self.book.keep_window(self.stream_rule.levels, cut=self.stream_rule.cut)
        return outcome

    def _apply(self, event: DepthEvent, now_ms: int) -> bool:
        if not super()._apply(event, now_ms):
            return False
        self.book.keep_window(self.stream_rule.levels, cut=self.stream_rule.cut)
        return self._agrees(event) or self._spoiled("checksum", event, now_ms)

    def _agrees(self, event: DepthEvent) -> bool:
        """Whether the book is what the event says of it, if it says something."""
        rule = self.stream_rule.checksum
        if rule is None or event.checksum is None:
            return True
        holds = rule.holds(self.book, event.checksum)
        self.checksums_of += 1
        self.checksums_ok += holds
        return holds

    def _forget(self, reason: str, now_ms: int) -> None:
        """Lose the book: nothing that came before counts any more, not even where the stream stood."""
        self._upcoming = None
        self.lose(reason, now_ms)
        self._run.start = self._run.end = None

    def _end(self, reason: str, now_ms: int) -> Outcome:
        """The book ends here, if there is one."""
        was_synced = self.state is SyncState.SYNCED
        self._forget(reason, now_ms)
        return Outcome.LOST if was_synced else Outcome.STALE
