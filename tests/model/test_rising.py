"""Books of streams whose ids only order their events."""

from __future__ import annotations

from msgspec.structs import replace

from workers.model.books.in_band import BookRule
from workers.model.books.reference import Reference
from workers.model.books.sequence import SequenceRule
from workers.model.books.sync import BookSync, Outcome, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Kind, Snapshot


def change(at: int, kind: Kind = "update") -> DepthEvent:
    return DepthEvent("BTCUSD", at, at, 0, at, at, [("10", str(at))], [], kind)


def whole(at: int) -> Snapshot:
    return Snapshot("BTCUSD", at, [("10", "1")], [("12", "1")])


def fresh(*events: DepthEvent) -> BookSync:
    sync = BookRule(SequenceRule.RISING).sync("BTCUSD")
    for event in events:
        sync.on_event(event, event.event_time)
    return sync


def test_a_snapshot_is_continued_by_what_is_later():
    sync = fresh(change(100), change(110))
    assert sync.on_snapshot(whole(105), 120) is SnapshotOutcome.ACCEPTED
    assert (sync.last_update_id, sync.book.best_bid) == (110, ("10", "110"))
    assert sync.on_event(change(900), 900) is Outcome.APPLIED


def test_a_snapshot_from_before_the_first_event_will_not_do():
    sync = fresh(change(100), change(110))
    assert sync.on_snapshot(whole(99), 120) is SnapshotOutcome.TOO_OLD


def test_a_snapshot_that_is_ahead_waits_for_the_next_event():
    sync = fresh(change(100))
    assert sync.on_snapshot(whole(150), 120) is SnapshotOutcome.HELD
    assert sync.on_event(change(140), 140) is Outcome.STALE
    assert sync.on_event(change(160), 160) is Outcome.SYNCED
    assert sync.book.best_bid == ("10", "160")


def test_a_snapshot_that_waits_is_not_gone_on_from_by_the_first_event():
    sync = fresh()
    assert sync.on_snapshot(whole(99), 90) is SnapshotOutcome.HELD
    assert sync.on_event(change(100), 100) is Outcome.BUFFERED
    assert (sync.state, sync.reason) == (SyncState.WAITING, "snapshot too old")
    assert sync.on_snapshot(whole(99), 110) is SnapshotOutcome.TOO_OLD
    assert sync.on_snapshot(whole(105), 120) is SnapshotOutcome.HELD
    assert sync.on_event(change(110), 110) is Outcome.SYNCED


def test_a_snapshot_of_the_first_event_will_do():
    sync = fresh()
    sync.on_snapshot(whole(100), 90)
    assert sync.on_event(change(100), 100) is Outcome.SYNCED


def test_a_socket_that_ended_ends_the_book_until_a_snapshot_of_later():
    sync = fresh(change(100))
    sync.on_snapshot(whole(100), 120)
    assert sync.on_event(change(100, "break"), 130) is Outcome.LOST
    assert (sync.state, sync.reason) == (SyncState.BROKEN, "connection")
    assert sync.on_event(replace(change(100, "break"), why="lost"), 140) is Outcome.STALE
    assert sync.reason == "lost"
    sync.on_event(change(200), 200)
    assert sync.on_snapshot(whole(150), 210) is SnapshotOutcome.TOO_OLD
    assert sync.on_snapshot(whole(200), 210) is SnapshotOutcome.ACCEPTED


def test_the_log_reaches_back_to_a_snapshot_only_with_something_older():
    reference = Reference(whole(100), SequenceRule.RISING, 100)
    assert reference.advance(change(110)) == "stream does not reach back to the snapshot"
    reference = Reference(whole(100), SequenceRule.RISING, 100)
    assert [reference.advance(change(at)) for at in (90, 110, 120)] == ["", "", ""]
    assert reference.update_id == 120


def test_the_log_is_no_way_over_a_break():
    for reached in (100, 110):
        reference = Reference(whole(100), SequenceRule.RISING, 100)
        assert [reference.advance(change(at)) for at in range(100, reached + 1, 10)] == [""] * (
            reached // 10 - 9
        )
        problems = [reference.advance(change(reached, "break")), reference.advance(change(120))]
        assert any(problems)
