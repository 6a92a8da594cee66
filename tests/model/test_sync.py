"""BookSync: each rule by a literal example."""

from __future__ import annotations

import pytest

from workers.model.books.reference import Reference
from workers.model.books.sync import BookSync, Gap, Outcome, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot

SPOT, FUTURES = SequenceRule.SPOT, SequenceRule.FUTURES


def spot(
    first: int, last: int, bids: list[Level] | None = None, asks: list[Level] | None = None, time: int = 0
) -> DepthEvent:
    """`{"e":"depthUpdate","E":…,"s":"BNBBTC","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}`"""
    return DepthEvent("BNBBTC", first, last, -1, time or last, 0, bids or [], asks or [])


def futures(
    previous: int, first: int, last: int, bids: list[Level] | None = None, asks: list[Level] | None = None
) -> DepthEvent:
    """`{"e":"depthUpdate","E":…,"T":…,"s":"BTCUSDT","U":157,"u":160,"pu":149,"b":[],"a":[]}`"""
    return DepthEvent("BNBBTC", first, last, previous, last, last, bids or [], asks or [])


def snapshot(
    last_id: int, bids: list[Level] | None = None, asks: list[Level] | None = None, limit: int = 100
) -> Snapshot:
    return Snapshot("BNBBTC", last_id, bids or [("10", "1")], asks or [("11", "1")], limit=limit)


def machine(rule: SequenceRule, *events: DepthEvent, **settings: int) -> BookSync:
    sync = BookSync("BNBBTC", rule, **settings)
    for event in events:
        sync.on_event(event, 0)
    return sync


def synced(rule: SequenceRule, **settings: int) -> BookSync:
    """In step at id 160."""
    sync = machine(rule, spot(150, 160) if rule is SPOT else futures(140, 150, 160), **settings)
    assert sync.on_snapshot(snapshot(160), 5) is SnapshotOutcome.ACCEPTED
    assert sync.state is SyncState.SYNCED
    return sync


class TestFirstEvent:
    @pytest.mark.parametrize(
        ("last_id", "outcome"),
        [
            (148, SnapshotOutcome.TOO_OLD),
            (149, SnapshotOutcome.ACCEPTED),  # U == L + 1
            (150, SnapshotOutcome.ACCEPTED),
            (159, SnapshotOutcome.ACCEPTED),
            (160, SnapshotOutcome.ACCEPTED),  # u == L: the book stands where the stream stands
            (161, SnapshotOutcome.HELD),
        ],
    )
    def test_spot_snapshot_against_a_buffered_event(self, last_id, outcome):
        sync = machine(SPOT, spot(150, 160, [("10", "5")]))
        assert sync.on_snapshot(snapshot(last_id), 1) is outcome
        if outcome is SnapshotOutcome.ACCEPTED:
            assert sync.last_update_id == 160
            assert sync.book.best_bid == ("10", "1" if last_id == 160 else "5"), "spot drops u <= L"
            assert sync.on_event(spot(161, 161), 2) is Outcome.APPLIED

    @pytest.mark.parametrize(
        ("last_id", "outcome"),
        [
            (139, SnapshotOutcome.TOO_OLD),
            (140, SnapshotOutcome.ACCEPTED),  # pu == L
            (145, SnapshotOutcome.ACCEPTED),  # pu < L < U: ids have holes, nothing lies between
            (150, SnapshotOutcome.ACCEPTED),  # U == L
            (159, SnapshotOutcome.ACCEPTED),
            (160, SnapshotOutcome.ACCEPTED),  # u == L is applied, and sets the chain
            (161, SnapshotOutcome.HELD),
        ],
    )
    def test_futures_snapshot_against_a_buffered_event(self, last_id, outcome):
        sync = machine(FUTURES, futures(140, 150, 160, [("10", "5")]))
        assert sync.on_snapshot(snapshot(last_id), 1) is outcome
        if outcome is SnapshotOutcome.ACCEPTED:
            assert sync.last_update_id == 160
            assert sync.book.best_bid == ("10", "5")
            assert sync.on_event(futures(160, 170, 170), 2) is Outcome.APPLIED

    def test_futures_without_pu_must_straddle(self):
        sync = machine(FUTURES, futures(-1, 150, 160))
        assert sync.on_snapshot(snapshot(149), 1) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(150), 1) is SnapshotOutcome.ACCEPTED

    @pytest.mark.parametrize(
        ("rule", "event", "outcome"),
        [
            (SPOT, spot(150, 159), Outcome.STALE),
            (SPOT, spot(150, 160), Outcome.SYNCED),
            (SPOT, spot(161, 170), Outcome.SYNCED),
            (SPOT, spot(162, 170), Outcome.BUFFERED),
            (FUTURES, futures(140, 150, 159), Outcome.STALE),
            (FUTURES, futures(140, 150, 160), Outcome.SYNCED),
            (FUTURES, futures(140, 150, 170), Outcome.SYNCED),
            (FUTURES, futures(160, 170, 180), Outcome.SYNCED),
            (FUTURES, futures(161, 170, 180), Outcome.BUFFERED),
        ],
    )
    def test_snapshot_before_any_event(self, rule, event, outcome):
        sync = machine(rule)
        assert sync.on_snapshot(snapshot(160), 1) is SnapshotOutcome.HELD
        assert (sync.state, sync.wants_snapshot) == (SyncState.CONFIRMING, False)
        assert sync.book.counts == (0, 0), "nothing is shown before it is confirmed"
        assert sync.on_event(event, 2) is outcome
        if outcome is Outcome.BUFFERED:
            assert (sync.state, sync.reason, sync.wants_snapshot) == (
                SyncState.WAITING,
                "snapshot too old",
                True,
            )
            assert sync.on_snapshot(snapshot(165), 3) is SnapshotOutcome.ACCEPTED

    @pytest.mark.parametrize("rule", [SPOT, FUTURES])
    def test_symbol_that_never_traded_accepts_its_first_event(self, rule):
        first = spot(700, 710, [("10", "1")]) if rule is SPOT else futures(650, 700, 710, [("10", "1")])
        empty = Snapshot("BNBBTC", -1, [], [], limit=100)
        sync = machine(rule)
        assert sync.on_snapshot(empty, 0) is SnapshotOutcome.HELD
        assert sync.on_event(first, 1) is Outcome.SYNCED
        assert (sync.last_update_id, sync.book.best_bid) == (710, ("10", "1"))
        assert (sync.book.known_low, sync.book.known_high) == ("0", "inf")

    @pytest.mark.parametrize("rule", [SPOT, FUTURES])
    def test_a_symbol_with_events_is_no_symbol_that_never_traded(self, rule):
        first = spot(700, 710, [("10", "1")]) if rule is SPOT else futures(650, 700, 710, [("10", "1")])
        sync = machine(rule, first)
        assert sync.on_snapshot(Snapshot("BNBBTC", -1, [], [], limit=100), 1) is SnapshotOutcome.TOO_OLD
        assert (sync.state, sync.wants_snapshot) == (SyncState.WAITING, True)
        assert (
            sync.on_snapshot(Snapshot("BNBBTC", 705, [("9", "1")], [], limit=100), 2)
            is SnapshotOutcome.ACCEPTED
        )
        assert sync.book.counts == (2, 0)

    def test_a_snapshot_with_an_id_is_better_than_one_without(self):
        empty = Snapshot("BNBBTC", -1, [], [], limit=100)
        for first, second in ((empty, snapshot(160)), (snapshot(160), empty)):
            sync = machine(SPOT)
            sync.on_snapshot(first, 0)
            assert sync.on_snapshot(second, 0) is SnapshotOutcome.HELD
            assert sync.on_event(spot(162, 170), 1) is Outcome.BUFFERED, "160 does not lead to it"

    def test_id_minus_one_is_old_once_events_are_gone(self):
        empty = Snapshot("BNBBTC", -1, [], [])
        sync = machine(SPOT, spot(1, 2), spot(3, 4), buffer_limit=1)
        assert sync.on_snapshot(empty, 0) is SnapshotOutcome.TOO_OLD
        sync = synced(SPOT)
        sync.lose("audit", 1)
        assert sync.on_snapshot(empty, 2) is SnapshotOutcome.TOO_OLD


class TestChain:
    @pytest.mark.parametrize(
        ("event", "outcome"),
        [
            (spot(161, 165), Outcome.APPLIED),
            (spot(155, 165), Outcome.APPLIED),  # overlaps: quantities are absolute
            (spot(162, 165), Outcome.GAP),
            (spot(150, 160), Outcome.STALE),
            (spot(140, 149), Outcome.STALE),
        ],
    )
    def test_spot(self, event, outcome):
        assert synced(SPOT).on_event(event, 9) is outcome

    @pytest.mark.parametrize(
        ("event", "outcome"),
        [
            (futures(160, 165, 170), Outcome.APPLIED),
            (futures(160, 161, 170), Outcome.APPLIED),
            (futures(161, 165, 170), Outcome.GAP),
            (futures(159, 161, 170), Outcome.GAP),
            (futures(-1, 161, 170), Outcome.GAP),
            (futures(140, 150, 160), Outcome.STALE),
            (futures(130, 135, 140), Outcome.STALE),
        ],
    )
    def test_futures(self, event, outcome):
        assert synced(FUTURES).on_event(event, 9) is outcome

    def test_breaking_event_is_the_first_of_the_next_attempt(self):
        sync = synced(SPOT)
        assert sync.on_event(spot(171, 180, [("10", "9")]), 9) is Outcome.GAP
        assert (sync.state, sync.reason, sync.gap_count) == (SyncState.BROKEN, "gap", 1)
        assert sync.gap == Gap(expected=160, got=170, after_ms=160)
        assert sync.book.counts == (0, 0)
        assert (sync.wants_snapshot, sync.publishable, sync.lost_at) == (True, False, 9)
        assert sync.on_snapshot(snapshot(169), 10) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(175), 11) is SnapshotOutcome.ACCEPTED
        assert sync.book.best_bid == ("10", "9")
        assert (sync.sync_count, sync.synced_at, sync.last_update_id) == (2, 11, 180)

    def test_break_while_waiting_starts_the_buffer_again(self):
        sync = machine(FUTURES, futures(10, 15, 20), futures(20, 25, 30))
        assert sync.on_event(futures(40, 45, 50), 1) is Outcome.GAP
        assert sync.state is SyncState.WAITING
        assert sync.on_snapshot(snapshot(25), 2) is SnapshotOutcome.TOO_OLD
        assert sync.on_event(futures(20, 25, 30), 3) is Outcome.STALE
        assert sync.on_snapshot(snapshot(40), 4) is SnapshotOutcome.ACCEPTED

    def test_restarted_ids_are_no_duplicates(self):
        sync = synced(SPOT)
        assert sync.on_event(spot(1, 2, time=160 + 5_000), 1) is Outcome.STALE
        assert sync.on_event(spot(3, 4, time=160 + 5_001), 2) is Outcome.LOST
        assert (sync.state, sync.reason) == (SyncState.BROKEN, "ids restarted")
        assert sync.on_snapshot(snapshot(3), 3) is SnapshotOutcome.ACCEPTED
        sync.lose("stale feed", 4)
        assert sync.on_event(spot(1, 1, time=99_999), 5) is Outcome.LOST
        assert sync.on_snapshot(snapshot(1), 6) is SnapshotOutcome.ACCEPTED


class TestSnapshotAhead:
    def test_is_kept_until_the_events_reach_it(self):
        sync = machine(SPOT, spot(1, 10))
        assert sync.on_snapshot(snapshot(25), 0) is SnapshotOutcome.HELD
        assert not sync.wants_snapshot
        assert sync.on_event(spot(11, 20), 1) is Outcome.STALE
        assert sync.on_snapshot(snapshot(15), 1) is SnapshotOutcome.TOO_OLD
        assert sync.state is SyncState.CONFIRMING
        assert sync.on_event(spot(21, 30, [("10", "3")]), 2) is Outcome.SYNCED
        assert (sync.last_update_id, sync.book.best_bid) == (30, ("10", "3"))

    def test_a_nearer_one_replaces_it(self):
        sync = machine(SPOT, spot(1, 10))
        assert sync.on_snapshot(snapshot(500), 0) is SnapshotOutcome.HELD
        assert sync.on_snapshot(snapshot(600), 0) is SnapshotOutcome.HELD
        assert sync.on_snapshot(snapshot(12), 0) is SnapshotOutcome.HELD
        assert sync.on_event(spot(11, 12), 1) is Outcome.SYNCED

    def test_events_that_jump_over_it_make_it_too_old(self):
        sync = machine(FUTURES, futures(1, 5, 10))
        sync.on_snapshot(snapshot(25), 0)
        assert sync.on_event(futures(26, 28, 30), 1) is Outcome.GAP
        assert (sync.state, sync.reason, sync.gap_count) == (SyncState.WAITING, "gap", 1)
        assert sync.gap == Gap(10, 26, 10)
        assert sync.on_snapshot(snapshot(28), 2) is SnapshotOutcome.ACCEPTED

    def test_a_loss_before_it_does_no_harm(self):
        sync = machine(SPOT, spot(1, 10))
        sync.on_snapshot(snapshot(25), 0)
        assert sync.on_event(spot(16, 20), 1) is Outcome.STALE
        assert sync.on_event(spot(21, 26), 2) is Outcome.SYNCED
        assert sync.gap_count == 0

    def test_silence_confirms_it_if_the_stream_was_alive(self):
        sync = machine(FUTURES, futures(1, 5, 10))
        sync.on_snapshot(snapshot(25), 1_000)
        assert sync.tick(10_999) is None
        assert sync.tick(11_000) is Outcome.SYNCED
        assert (sync.last_update_id, sync.unconfirmed, sync.publishable) == (25, True, True)
        assert sync.on_event(futures(1, 5, 10), 11_001) is Outcome.STALE
        assert sync.on_event(futures(10, 30, 35, [("10", "4")]), 11_002) is Outcome.APPLIED, (
            "still the first event"
        )
        assert not sync.unconfirmed
        assert sync.on_event(futures(10, 36, 40), 11_003) is Outcome.GAP

    def test_silence_counts_from_the_last_event(self):
        sync = machine(SPOT, spot(1, 10))
        sync.on_snapshot(snapshot(25), 0)
        sync.on_event(spot(11, 12), 9_000)
        assert sync.tick(18_999) is None
        assert sync.tick(19_000) is Outcome.SYNCED
        assert sync.on_event(spot(14, 26), 19_001) is Outcome.APPLIED
        sync = machine(SPOT, spot(1, 10))
        sync.on_snapshot(snapshot(25), 0)
        sync.tick(10_000)
        assert sync.on_event(spot(27, 30), 10_001) is Outcome.GAP, "a hole after the snapshot is found"

    def test_silence_of_a_stream_never_heard_proves_nothing(self):
        sync = machine(SPOT)
        sync.on_snapshot(snapshot(25), 0)
        assert sync.tick(10**9) is None
        sync = synced(SPOT)
        sync.lose("stale feed", 0)
        sync.on_snapshot(snapshot(200), 1)
        assert sync.tick(10**9) is None
        assert sync.state is SyncState.CONFIRMING

    def test_one_of_another_book_gives_way_to_the_next(self):
        sync = machine(SPOT, spot(1, 10))
        sync.on_snapshot(snapshot(10**15), 0)
        for last in (11, 12):
            sync.on_event(spot(last, last), 9_999)
        sync.tick(10_000)
        assert sync.wants_snapshot
        assert sync.on_snapshot(snapshot(11), 10_001) is SnapshotOutcome.TOO_OLD
        reference = Reference(snapshot(11), SPOT, 10)
        reference.advance(spot(12, 12))
        assert sync.on_reference(reference, 10_002) is SnapshotOutcome.ACCEPTED
        assert (sync.state, sync.last_update_id) == (SyncState.SYNCED, 12)
        assert sync.on_event(spot(13, 13), 10_003) is Outcome.APPLIED

    def test_one_that_the_stream_never_reaches_is_given_up(self):
        sync = machine(SPOT, spot(1, 10))
        sync.on_snapshot(snapshot(10**15), 0)
        for second in range(1, 60):
            sync.on_event(spot(10 + second, 10 + second), second * 1000)
            assert sync.tick(second * 1000) is None
            assert sync.wants_snapshot == (second == 10), (
                "one other is asked for, in case it is the snapshot that errs"
            )
            if second == 10:
                assert sync.on_snapshot(snapshot(10**16), 10_000) is SnapshotOutcome.HELD
        sync.on_event(spot(70, 70), 60_000)
        sync.tick(60_000)
        assert (sync.wants_snapshot, sync.reason) == (True, "snapshot ahead")
        assert sync.on_snapshot(snapshot(70), 60_001) is SnapshotOutcome.ACCEPTED


class TestBuffer:
    def test_drops_the_oldest_and_goes_on(self):
        sync = machine(SPOT, *(spot(i, i) for i in range(1, 8)), buffer_limit=3)
        assert sync.reason == "buffer full"
        assert sync.on_snapshot(snapshot(3), 0) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(4), 0) is SnapshotOutcome.ACCEPTED
        assert sync.last_update_id == 7

    def test_of_futures_starts_after_the_dropped_event(self):
        sync = machine(FUTURES, futures(0, 5, 10), futures(10, 15, 20), futures(20, 25, 30), buffer_limit=2)
        assert sync.on_snapshot(snapshot(9), 0) is SnapshotOutcome.TOO_OLD
        assert sync.on_snapshot(snapshot(10), 0) is SnapshotOutcome.ACCEPTED


def test_zero_unknown_deletes_and_copies_of_two_lines():
    """Two merged lines deliver each event twice; the book counts it once."""
    sync = synced(FUTURES)
    event = futures(160, 165, 170, [("10", "0.000"), ("9.5", "2")], [("99", "0")])
    assert [sync.on_event(event, 1), sync.on_event(event, 1)] == [Outcome.APPLIED, Outcome.STALE]
    assert list(sync.book.levels("bid")) == [("9.5", "2")]
    assert sync.last_event_time == 170
