"""A book begun with one snapshot is borne out by a second one, and one older than the buffer comes over the log."""

from __future__ import annotations

import pytest
from chained_rules import CHAINED

from workers.model.books.checkpoint import decode_checkpoint, encode_checkpoint
from workers.model.books.reference import Reference
from workers.model.books.sync import (
    CONFIRM_AFTER_MS,
    SAME_ID_MS,
    BookSync,
    Outcome,
    SequenceRule,
    SnapshotOutcome,
    SyncState,
)
from workers.model.events import DepthEvent, Level, Snapshot

S = "BNBBTC"
BIDS = [("9.9", "1"), ("9.8", "2"), ("9.7", "3")]
ASKS = [("10.1", "4"), ("10.2", "5"), ("10.3", "6")]
RULES = CHAINED


def event(u: int, bids: list[Level] | None = None, rule: SequenceRule = SequenceRule.SPOT) -> DepthEvent:
    previous = -1 if rule is SequenceRule.SPOT else u - 1
    return DepthEvent(S, u, u, previous, 1_000 * u, 0, [("9.5", f"{u}")] if bids is None else bids, [])


def snapshot(u: int, bids: list[Level] | None = None, *, levels: int = 3, partial: bool = False) -> Snapshot:
    return Snapshot(S, u, (BIDS if bids is None else bids)[:levels], ASKS[:levels], 0, levels, partial)


def begun(rule: SequenceRule = SequenceRule.SPOT, **options: int) -> BookSync:
    sync = BookSync(S, rule, two_snapshots=True, **options)
    for u in (1, 2, 3):
        sync.on_event(event(u, rule=rule), u)
    assert sync.on_snapshot(snapshot(2), 10) is SnapshotOutcome.ACCEPTED
    return sync


@pytest.mark.parametrize("rule", RULES)
def test_a_second_snapshot_that_agrees_bears_the_first_one_out(rule: SequenceRule) -> None:
    sync = begun(rule)
    assert (sync.state, sync.single_source, sync.wants_comparison) == (SyncState.SYNCED, True, True)
    sync.on_event(event(4, [("9.9", "7")], rule), 20)
    sync.on_event(event(5, rule=rule), 30)
    known = sync.book.known_low, sync.book.known_high
    right = [("9.9", "7"), *BIDS[1:]]
    assert sync.on_snapshot(snapshot(4, right, levels=2, partial=True), 40) is SnapshotOutcome.AGREED
    assert (sync.state, sync.single_source) == (SyncState.SYNCED, False)
    assert (sync.book.known_low, sync.book.known_high) == known  # a small one takes over nothing
    assert sync.book.quantity_at("bid", "9.7") == "3"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("partial", [True, False])
def test_one_that_contradicts_loses_the_book(rule: SequenceRule, partial: bool) -> None:
    sync = begun(rule)
    sync.on_event(event(4, rule=rule), 20)
    wrong = [("9.9", "1"), ("9.8", "2.5")]
    outcome = sync.on_snapshot(snapshot(4, wrong, levels=2, partial=partial), 40)
    assert (outcome, sync.state, sync.reason) == (
        SnapshotOutcome.MISMATCH,
        SyncState.BROKEN,
        "snapshot mismatch",
    )
    assert not sync.single_source
    assert [found.price for found in sync.differences] == ["9.8"]


def test_the_same_copy_once_more_is_no_second_opinion() -> None:
    sync = BookSync(S, SequenceRule.SPOT, two_snapshots=True)
    sync.on_event(event(2), 1)
    assert sync.on_snapshot(snapshot(2), 9_000) is SnapshotOutcome.ACCEPTED
    assert sync.on_snapshot(snapshot(2, partial=True), 8_999 + SAME_ID_MS) is SnapshotOutcome.SAME
    assert sync.single_source
    assert sync.on_snapshot(snapshot(2, partial=True), 9_000 + SAME_ID_MS) is SnapshotOutcome.AGREED
    assert sync.oldest_usable_id is None


def test_one_ahead_of_the_stream_is_compared_when_the_events_reach_it() -> None:
    sync = begun()
    assert (
        sync.on_snapshot(snapshot(5, [("9.9", "1"), ("9.8", "9")], levels=2, partial=True), 20)
        is SnapshotOutcome.HELD
    )
    assert not sync.wants_comparison  # another one is not asked for meanwhile
    assert sync.on_event(event(4), 30) is Outcome.APPLIED
    assert sync.single_source
    assert sync.on_event(event(5, [("9.8", "9")]), 40) is Outcome.APPLIED
    assert not sync.single_source


def test_one_that_the_events_do_not_reach_is_given_up() -> None:
    sync = begun()
    assert sync.on_snapshot(snapshot(9, levels=2, partial=True), 20) is SnapshotOutcome.HELD
    sync.tick(5_000)
    assert not sync.wants_comparison
    sync.tick(20 + CONFIRM_AFTER_MS)
    assert sync.wants_comparison


def test_a_small_one_that_comes_when_the_book_was_lost_begins_no_book() -> None:
    sync = begun()
    sync.lose("crossed", 20)
    sync.on_event(event(4), 30)
    assert sync.on_snapshot(snapshot(4, levels=2, partial=True), 40) is SnapshotOutcome.UNWANTED
    assert sync.state is SyncState.BROKEN


def test_the_next_owner_goes_on_waiting_for_it() -> None:
    sync = begun()
    stored = decode_checkpoint(encode_checkpoint(sync.checkpoint("1-3")))
    assert stored.single_source
    heir = BookSync(S, SequenceRule.SPOT, two_snapshots=True)
    heir.restore(stored)
    assert heir.wants_comparison
    heir.on_event(event(4), 50)
    assert heir.on_snapshot(snapshot(4, levels=2, partial=True), 60) is SnapshotOutcome.AGREED
    assert not decode_checkpoint(encode_checkpoint(heir.checkpoint("1-4"))).single_source


def test_without_it_one_snapshot_is_enough() -> None:
    sync = BookSync(S, SequenceRule.SPOT)
    sync.on_event(event(1), 1)
    assert sync.on_snapshot(snapshot(1), 2) is SnapshotOutcome.ACCEPTED
    assert not sync.single_source
    assert sync.on_snapshot(snapshot(1, partial=True), 3) is SnapshotOutcome.UNWANTED


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("synced", [False, True])
def test_a_snapshot_older_than_the_buffer_comes_over_the_log(rule: SequenceRule, synced: bool) -> None:
    log = [event(u, [(f"9.{u % 5}", f"{u}")], rule) for u in range(1, 60)]
    sync = BookSync(S, rule, two_snapshots=True, buffer_limit=10)
    for entry in log[:30]:
        sync.on_event(entry, 1)
    if synced:
        truth = Reference(snapshot(3), rule, 100)
        assert [truth.advance(entry) for entry in log[:29]] == [""] * 29
        first = Snapshot(S, 29, *truth.book.top(100), 0, 8)
        assert sync.on_snapshot(first, 2) is SnapshotOutcome.ACCEPTED
    for entry in log[30:]:
        sync.on_event(entry, 3)
    old = snapshot(3)
    assert sync.on_snapshot(old, 4) is SnapshotOutcome.TOO_OLD
    usable = sync.oldest_usable_id
    assert usable is not None
    assert usable > 3
    reference = Reference(old, rule, sync.book.max_levels)
    for entry in log:
        assert reference.advance(entry) == ""
        if reference.update_id >= usable:
            break
    else:
        raise AssertionError("the log does not reach the buffer")
    outcome = sync.on_reference(reference, 5)
    assert outcome is (SnapshotOutcome.REFRESHED if synced else SnapshotOutcome.ACCEPTED)
    assert sync.last_update_id == 59
    assert sync.book.quantity_at("bid", "9.9") == "1"
    truth = Reference(snapshot(3), rule, 100)
    for entry in log:
        truth.advance(entry)
    assert sync.book.top(3) == truth.book.top(3)
    assert sync.single_source is not synced


def test_one_that_has_not_come_so_far_or_went_too_far_is_not_used() -> None:
    sync = BookSync(S, SequenceRule.SPOT, buffer_limit=5)
    for u in range(1, 31):
        sync.on_event(event(u), 1)
    reference = Reference(snapshot(3), SequenceRule.SPOT, 100)
    for u in range(1, 10):
        reference.advance(event(u))
    assert sync.on_reference(reference, 2) is SnapshotOutcome.TOO_OLD
    for u in range(10, 40):
        reference.advance(event(u))
    assert sync.on_reference(reference, 2) is SnapshotOutcome.TOO_OLD
    assert sync.state is SyncState.WAITING
