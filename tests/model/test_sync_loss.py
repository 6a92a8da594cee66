"""How a book is lost, and how a newer snapshot takes its place while it stands."""

from __future__ import annotations

from test_sync import FUTURES, SPOT, futures, machine, snapshot, spot, synced

from workers.model.books.order_book import Difference
from workers.model.books.sync import Outcome, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent


class TestLoss:
    def test_lose_keeps_the_place_in_the_stream(self):
        sync = synced(SPOT)
        sync.lose("audit mismatch", 7)
        assert (sync.state, sync.reason, sync.lost_at) == (SyncState.BROKEN, "audit mismatch", 7)
        assert sync.on_snapshot(snapshot(159), 8) is SnapshotOutcome.TOO_OLD
        assert sync.on_event(spot(161, 165, [("10", "2")]), 8) is Outcome.BUFFERED
        assert sync.on_snapshot(snapshot(160), 9) is SnapshotOutcome.ACCEPTED
        assert sync.book.best_bid == ("10", "2")

    def test_bad_number_in_an_event(self):
        sync = synced(SPOT)
        assert sync.on_event(spot(161, 165, [("nan", "2")]), 8) is Outcome.LOST
        assert (sync.state, sync.reason) == (SyncState.BROKEN, "bad number")
        assert sync.on_event(spot(166, 170), 9) is Outcome.BUFFERED
        assert sync.on_snapshot(snapshot(164), 9) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(165), 9) is SnapshotOutcome.ACCEPTED

    def test_bad_number_in_a_buffered_event(self):
        sync = machine(SPOT, spot(1, 5), spot(6, 10, [("10", "-1")]), spot(11, 15), spot(16, 20))
        assert sync.on_snapshot(snapshot(3), 0) is SnapshotOutcome.TOO_OLD
        assert (sync.state, sync.reason, sync.book.counts) == (SyncState.WAITING, "bad number", (0, 0))
        assert sync.on_snapshot(snapshot(9), 0) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(10), 0) is SnapshotOutcome.ACCEPTED
        assert sync.last_update_id == 20

    def test_bad_number_in_a_snapshot(self):
        sync = machine(SPOT, spot(1, 5))
        assert sync.on_snapshot(snapshot(3, [("x", "1")]), 0) is SnapshotOutcome.UNUSABLE
        assert (sync.wants_snapshot, sync.reason) == (True, "bad number")
        assert sync.on_snapshot(snapshot(3), 0) is SnapshotOutcome.ACCEPTED

    def test_bad_number_in_a_held_snapshot(self):
        sync = machine(SPOT, spot(1, 5))
        assert sync.on_snapshot(snapshot(8, [("x", "1")]), 0) is SnapshotOutcome.HELD
        assert sync.on_event(spot(6, 10), 1) is Outcome.LOST
        assert sync.on_snapshot(snapshot(8), 2) is SnapshotOutcome.ACCEPTED
        sync = machine(SPOT, spot(1, 5))
        sync.on_snapshot(snapshot(8, [("x", "1")]), 0)
        assert sync.tick(10_000) is Outcome.LOST
        assert sync.wants_snapshot

    def test_crossed_too_long(self):
        sync = synced(SPOT)
        assert sync.on_event(spot(161, 161, [("11", "1")]), 1_000) is Outcome.APPLIED
        assert (sync.crossed_since_ms, sync.publishable) == (1_000, False)
        assert sync.on_event(spot(162, 162, [("11.5", "1")]), 2_000) is Outcome.APPLIED
        assert sync.crossed_since_ms == 1_000
        assert sync.tick(2_499) is None
        assert sync.tick(2_500) is Outcome.LOST
        assert (sync.state, sync.reason, sync.crossed_since_ms) == (SyncState.BROKEN, "crossed", None)

    def test_crossed_for_a_moment(self):
        sync = synced(SPOT)
        sync.on_event(spot(161, 161, [("11", "1")]), 1_000)
        sync.on_event(spot(162, 162, [("11", "0")]), 2_000)
        assert (sync.crossed_since_ms, sync.publishable, sync.tick(9_000)) == (None, True, None)

    def test_crossed_until_the_market_has_passed_the_wrong_level(self):
        sync = synced(SPOT)
        (low, _), (high, _) = sync.book.best_bid, sync.book.best_ask
        assert (low, high) == ("10", "11")
        sync.on_event(spot(161, 161, [("11", "1")]), 1_000)
        gone = DepthEvent(sync.symbol, 162, 162, -1, 2_000, 0, [], [("11", "0"), ("12", "1")])
        assert sync.on_event(gone, 2_000) is Outcome.LOST
        assert (sync.state, sync.reason, sync.publishable) == (SyncState.BROKEN, "crossed", False)
        assert sync.on_snapshot(snapshot(162), 3_000) is SnapshotOutcome.ACCEPTED

    def test_crossed_inside_the_spread_by_what_one_event_says(self):
        """Bid and ask are both new and cannot both be right: that the one is gone does not prove the other."""
        sync = machine(SPOT, spot(1, 5))
        sync.on_snapshot(snapshot(5, [("10", "1")], [("20", "1")]), 3)
        both = DepthEvent(sync.symbol, 6, 6, -1, 2_000, 0, [("16", "1")], [("15", "1")])
        assert sync.on_event(both, 4) is Outcome.APPLIED
        assert not sync.publishable
        one_gone = DepthEvent(sync.symbol, 7, 7, -1, 2_100, 0, [], [("15", "0")])
        assert sync.on_event(one_gone, 5) is Outcome.LOST
        assert (sync.state, sync.reason) == (SyncState.BROKEN, "crossed")

    def test_crossed_and_told_anew(self):
        """What crossed the book is set again by a later event, while the market goes past it: now it is right."""
        sync = synced(SPOT)
        sync.on_event(spot(161, 161, [("11", "1")]), 1_000)
        sync.on_event(spot(162, 162, [("11.5", "1")]), 1_100)
        passed = DepthEvent(sync.symbol, 163, 163, -1, 2_000, 0, [("11", "3")], [("11", "0"), ("12", "1")])
        assert sync.on_event(passed, 2_000) is Outcome.LOST, "11.5 was not"
        sync = synced(SPOT)
        sync.on_event(spot(161, 161, [("11", "1"), ("9", "2")]), 1_000)
        passed = DepthEvent(sync.symbol, 162, 162, -1, 2_000, 0, [("11", "3")], [("11", "0"), ("12", "1")])
        assert sync.on_event(passed, 2_000) is Outcome.APPLIED
        assert (sync.publishable, sync.book.best_bid) == (True, ("11", "3"))

    def test_crossed_snapshot(self):
        sync = machine(SPOT, spot(1, 5))
        assert sync.on_snapshot(snapshot(5, [("11", "1")]), 3) is SnapshotOutcome.ACCEPTED
        assert (sync.crossed_since_ms, sync.publishable) == (3, False)


class TestRefresh:
    def test_with_a_snapshot_that_crosses_where_nothing_was_known(self):
        sync = machine(SPOT, spot(1, 5))
        sync.on_snapshot(snapshot(5, [("100", "1")], [("101", "1")], limit=1), 3)
        moved = DepthEvent(sync.symbol, 6, 6, -1, 2_000, 0, [("100", "0"), ("89", "1")], [("90", "1")])
        assert sync.on_event(moved, 4) is Outcome.APPLIED
        sync.begin_refresh()
        wrong = snapshot(6, [("95", "1")], [("90", "1")], limit=1)
        assert sync.on_snapshot(wrong, 5) is SnapshotOutcome.REFRESHED
        assert (sync.book.crossed, sync.crossed_since_ms, sync.publishable) == (True, 5, False)

    def test_without_leaving_sync(self):
        sync = synced(SPOT)
        sync.begin_refresh()
        assert sync.refreshing
        sync.on_event(spot(161, 165, [("10", "2")]), 1)
        sync.on_event(spot(166, 170, [("9", "2")]), 1)
        assert sync.on_snapshot(snapshot(159), 1) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(163, [("10", "2")]), 1) is SnapshotOutcome.REFRESHED
        assert (sync.state, sync.refreshing, sync.last_update_id) == (SyncState.SYNCED, False, 170)
        assert list(sync.book.levels("bid")) == [("10", "2"), ("9", "2")]
        assert sync.sync_count == 1

    def test_snapshot_ahead_waits_for_the_events(self):
        sync = synced(FUTURES)
        sync.begin_refresh()
        assert sync.on_snapshot(snapshot(175, [("10", "2")]), 1) is SnapshotOutcome.HELD
        assert sync.on_event(futures(160, 165, 170), 2) is Outcome.APPLIED
        assert sync.refreshing
        assert sync.on_event(futures(170, 172, 180, [("10", "2")]), 2) is Outcome.APPLIED
        assert not sync.refreshing
        assert sync.differences == []

    def test_mismatch_loses_the_book_and_says_where(self):
        sync = synced(FUTURES)
        sync.begin_refresh()
        assert sync.on_snapshot(snapshot(160, [("10", "7")]), 1) is SnapshotOutcome.MISMATCH
        assert sync.differences == [Difference("bid", "10", "1", "7")]
        assert (sync.state, sync.reason) == (SyncState.BROKEN, "snapshot mismatch")
        sync = synced(FUTURES)
        sync.begin_refresh()
        sync.on_snapshot(snapshot(165, [("10", "7")]), 1)
        assert sync.on_event(futures(160, 165, 170), 2) is Outcome.LOST

    def test_unusable_and_unwanted_snapshots_do_no_harm(self):
        sync = synced(SPOT)
        assert sync.on_snapshot(snapshot(160, [("10", "7")]), 1) is SnapshotOutcome.UNWANTED
        sync.begin_refresh()
        assert sync.on_snapshot(snapshot(160, [("x", "7")]), 1) is SnapshotOutcome.UNUSABLE
        assert sync.on_snapshot(snapshot(10**15), 1) is SnapshotOutcome.HELD
        assert sync.tick(60_001) is None
        assert sync.on_snapshot(snapshot(160), 60_002) is SnapshotOutcome.REFRESHED
        assert sync.state is SyncState.SYNCED

    def test_a_loss_ends_it(self):
        sync = synced(SPOT)
        sync.begin_refresh()
        sync.lose("stale feed", 1)
        assert not sync.refreshing
        sync.begin_refresh()
        assert not sync.refreshing, "only a synced book can be refreshed"
