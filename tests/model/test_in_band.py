"""Books of streams that bring their snapshots themselves, against a naive twin: losses, checksums, merged lines."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.model.books.checksum import ChecksumRule
from workers.model.books.in_band import AHEAD_MS, InBandSync, StreamRule
from workers.model.books.sync import Outcome, SequenceRule, SyncState
from workers.model.events import DepthEvent, Kind, Level

S = "BTC-USD"
LEVELS = 4


def crc(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    return zlib.crc32(":".join(f"{p}:{q}" for p, q in [*bids, *asks]).encode())


CHECKED = ChecksumRule(3, crc)


class Market:
    """A window of the best levels of a book, and what its venue would send."""

    def __init__(self, *, deletes: bool = True) -> None:
        self.bids: dict[str, str] = {str(100 - n): "1" for n in range(6)}
        self.asks: dict[str, str] = {str(101 + n): "1" for n in range(6)}
        self.deletes = deletes
        self.number = 10

    def window(self) -> tuple[list[Level], list[Level]]:
        bids = sorted(self.bids.items(), key=lambda level: -Decimal(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: Decimal(level[0]))
        return bids[:LEVELS], asks[:LEVELS]

    def checksum(self) -> int:
        bids, asks = self.window()
        return crc(bids[:3], asks[:3])

    def change(self, side: str, price: int, quantity: str) -> DepthEvent:
        before = self.window()
        held = self.bids if side == "bid" else self.asks
        if quantity == "0":
            held.pop(str(price), None)
        else:
            held[str(price)] = quantity
        after = self.window()
        changes: list[list[Level]] = []
        for old, new in zip(before, after, strict=True):
            was, now = dict(old), dict(new)
            sent = [(p, q) for p, q in new if was.get(p) != q]
            gone = [p for p, _ in old if p not in now]
            if not self.deletes:  # what only left the window is not told
                gone = [p for p in gone if p not in (self.bids if old is before[0] else self.asks)]
            changes.append([*sent, *((p, "0") for p in gone)])
        self.number += 1
        return self.event("update", changes[0], changes[1])

    def event(self, kind: Kind, bids: list[Level], asks: list[Level]) -> DepthEvent:
        return DepthEvent(S, self.number, self.number, -1, self.number, 0, bids, asks, kind, self.checksum())

    def snapshot(self, kind: Kind = "snapshot") -> DepthEvent:
        bids, asks = self.window()
        return self.event(kind, bids, asks)


def synced(rule: StreamRule) -> InBandSync:
    return InBandSync(S, SequenceRule.SPOT, rule)


changes = st.lists(
    st.tuples(
        st.sampled_from(["bid", "ask"]), st.integers(0, 9), st.sampled_from(["0", "0", "1", "2", "3.5"])
    ),
    max_size=30,
)


@given(changes, st.booleans(), st.sampled_from([LEVELS, 5_000]))
def test_a_window_is_kept_as_the_venue_keeps_it(
    steps: list[tuple[str, int, str]], cut: bool, max_levels: int
) -> None:
    market = Market(deletes=not cut)
    sync = InBandSync(S, SequenceRule.SPOT, StreamRule(False, LEVELS, cut, CHECKED), max_levels=max_levels)
    assert sync.on_event(market.snapshot(), 0) is Outcome.SYNCED
    for side, step, quantity in steps:
        event = market.change(side, 100 - step if side == "bid" else 101 + step, quantity)
        assert sync.on_event(event, 1) is Outcome.APPLIED
        assert (list(sync.book.levels("bid")), list(sync.book.levels("ask"))) == market.window()
        for wing, shown in zip(("bid", "ask"), market.window(), strict=True):
            known = list(sync.book.known_levels(wing))  # type: ignore[arg-type]
            assert known == shown
        bids, asks = market.window()
        low, high = (
            (bids[-1][0] if bids[LEVELS - 1 :] else "0"),
            (asks[-1][0] if asks[LEVELS - 1 :] else "inf"),
        )
        assert (sync.book.known_low, sync.book.known_high) == (
            low,
            high,
        )  # beyond a full window nothing is known
        sync.book.check()
    assert sync.checksums_ok == sync.checksums_of == len(steps) + 1


@given(changes, st.data())
def test_a_lost_message_shows_by_the_checksum_or_changes_nothing_that_it_covers(
    steps: list[tuple[str, int, str]], data: st.DataObject
) -> None:
    market = Market()
    sync = InBandSync(S, SequenceRule.SPOT, StreamRule(False, LEVELS, False, CHECKED))
    sync.on_event(market.snapshot(), 0)
    number = market.number
    for side, step, quantity in steps:
        event = market.change(side, 100 - step if side == "bid" else 101 + step, quantity)
        if data.draw(st.booleans()):
            continue  # lost on the wire: the log numbers what came
        number += 1
        event.first_id = event.last_id = number
        sync.on_event(event, 1)
        if sync.state is SyncState.SYNCED:
            assert sync.book.top(3) == tuple(side[:3] for side in market.window())
        else:
            assert sync.reason == "checksum"
            return


@given(changes, st.data())
def test_two_lines_merged_by_id_give_the_book_whatever_each_lost(
    steps: list[tuple[str, int, str]], data: st.DataObject
) -> None:
    market = Market()
    rule = StreamRule(True, LEVELS)
    sync, log_id = synced(rule), market.number
    truth = {market.number: market.window()}
    first = market.snapshot()
    sent = [first]
    for side, step, quantity in steps:
        sent.append(market.change(side, 100 - step if side == "bid" else 101 + step, quantity))
        truth[market.number] = market.window()
        if data.draw(st.integers(0, 5)) == 0:  # one line subscribed anew
            sent.append(market.snapshot())
    for event in sent:
        event.checksum = None
        if event.kind == "update":
            if data.draw(st.integers(0, 4)) == 0:
                continue  # lost on both lines
            if event.last_id <= log_id:
                continue
            log_id = event.last_id
        sync.on_event(event, 1)
        if sync.state is SyncState.SYNCED:
            book = list(sync.book.levels("bid")), list(sync.book.levels("ask"))
            assert book == truth[sync.last_update_id]


def test_a_snapshot_between_older_and_newer_events_takes_its_place_by_id() -> None:
    market = Market()
    sync = synced(StreamRule(True, LEVELS))
    events = [market.change("bid", 100, str(n + 2)) for n in range(3)]
    late = market.snapshot()
    newer = market.change("ask", 101, "9")
    for event in (*events, newer):
        event.checksum = None
        assert sync.on_event(event, 0) is Outcome.BUFFERED
    assert sync.on_event(late, 0) is Outcome.SYNCED
    assert sync.last_update_id == newer.last_id
    assert sync.book.best_ask == ("101", "9")


def test_a_hole_is_bridged_by_the_snapshot_that_came_before_it() -> None:
    market = Market()
    sync = synced(StreamRule(True, LEVELS))
    sync.on_event(market.snapshot(), 0)
    market.change("bid", 100, "5")  # lost
    sync.on_event(market.snapshot(), 0)
    assert sync.last_update_id == 10
    after = market.change("bid", 100, "6")
    after.checksum = None
    assert sync.on_event(after, 0) is Outcome.GAP
    assert sync.state is SyncState.SYNCED
    assert sync.book.best_bid == ("100", "6")


def test_a_whole_book_that_is_ahead_takes_over_when_nothing_more_comes() -> None:
    """Both lines were away while the market moved, and now it is quiet."""
    market = Market()
    sync = synced(StreamRule(True, LEVELS))
    sync.on_event(market.snapshot(), 0)
    late = market.change("bid", 100, "5")
    late.checksum = None
    assert sync.on_event(market.snapshot(), 1_000) is Outcome.STALE
    assert sync.tick(1_000 + AHEAD_MS - 1) is None
    assert sync.book.best_bid == ("100", "1")
    assert sync.tick(1_000 + AHEAD_MS) is Outcome.SYNCED
    assert (sync.book.best_bid, sync.last_update_id, sync.sync_count) == (("100", "5"), late.last_id, 2)
    assert sync.tick(1_000 + 9 * AHEAD_MS) is None
    sync.on_event(late, 1_000 + 9 * AHEAD_MS)
    after = market.change("bid", 100, "6")
    after.checksum = None
    assert sync.on_event(after, 1_000 + 9 * AHEAD_MS) is Outcome.APPLIED
    assert sync.book.best_bid == ("100", "6")


def test_a_whole_book_that_the_events_have_come_to_takes_over_nothing() -> None:
    market = Market()
    sync = synced(StreamRule(True, LEVELS))
    sync.on_event(market.snapshot(), 0)
    late = market.change("bid", 100, "5")
    late.checksum = None
    sync.on_event(market.snapshot(), 0)
    assert sync.on_event(late, AHEAD_MS - 1) is Outcome.APPLIED
    assert sync.tick(9 * AHEAD_MS) is None
    assert (sync.book.best_bid, sync.sync_count) == (("100", "5"), 1)


def test_a_whole_book_of_the_same_id_is_an_audit() -> None:
    market = Market()
    sync = synced(StreamRule(True, LEVELS))
    sync.on_event(market.snapshot(), 0)
    assert sync.on_event(market.snapshot(), 1) is Outcome.STALE
    assert sync.sync_count == 1
    market.bids["100"] = "77"  # and the exchange never said so
    assert sync.on_event(market.snapshot(), 2) is Outcome.SYNCED
    assert [(one.side, one.price) for one in sync.differences] == [("bid", "100")]
    assert sync.book.best_bid == ("100", "77")
    assert (sync.sync_count, sync.reason) == (2, "snapshot mismatch")


@pytest.mark.parametrize("by_id", [True, False])
def test_a_break_ends_the_book_until_the_next_snapshot(by_id: bool) -> None:
    market = Market()
    sync = synced(StreamRule(by_id, LEVELS))
    sync.on_event(market.snapshot(), 0)
    market.number += 1
    assert sync.on_event(market.event("break", [], []), 1) is Outcome.LOST
    assert sync.wants_snapshot
    assert sync.reason == "connection"
    assert sync.on_event(market.change("bid", 100, "7"), 2) is Outcome.BUFFERED
    assert sync.on_event(market.snapshot(), 3) is Outcome.SYNCED
    assert sync.book.best_bid == ("100", "7")


def test_a_whole_book_of_the_log_replaces_what_was_there() -> None:
    market = Market()
    sync = synced(StreamRule(False, LEVELS, False, CHECKED))
    sync.on_event(market.snapshot(), 0)
    market.bids.pop("100")
    market.number += 1
    assert sync.on_event(market.snapshot(), 1) is Outcome.SYNCED
    assert sync.book.best_bid == ("99", "1")
    assert sync.sync_count == 2


def test_a_checksum_that_comes_apart_ends_a_wrong_book() -> None:
    market = Market()
    sync = synced(StreamRule(False, LEVELS, False, CHECKED))
    sync.on_event(market.snapshot(), 0)
    market.number += 1
    good = market.event("checksum", [], [])
    assert sync.on_event(good, 1) is Outcome.APPLIED
    change = market.change("bid", 99, "5")
    change.checksum = None  # it says nothing of the book
    assert sync.on_event(change, 2) is Outcome.APPLIED  # its number follows the checksum's
    assert sync.on_event(good, 3) is Outcome.STALE  # what it says is no longer so, and need not be
    market.number += 1
    market.bids["100"] = "77"
    assert sync.on_event(market.event("checksum", [], []), 4) is Outcome.LOST
    assert sync.reason == "checksum"


def test_ids_that_begin_anew_with_a_whole_book() -> None:
    market = Market()
    sync = synced(StreamRule(True, LEVELS))
    sync.on_event(market.snapshot(), 0)
    market.number = 1
    assert sync.on_event(market.snapshot("restart"), 1) is Outcome.SYNCED
    assert sync.last_update_id == 1
    after = market.change("ask", 101, "4")
    assert sync.on_event(after, 2) is Outcome.APPLIED


def test_a_stream_without_a_window_knows_both_sides_to_their_ends() -> None:
    market = Market()
    sync = synced(StreamRule(False))
    sync.on_event(market.snapshot(), 0)
    assert (sync.book.known_low, sync.book.known_high) == ("0", "inf")
    market.number += 1
    far: list[Level] = [("7", "1")]
    assert sync.on_event(market.event("update", far, []), 1) is Outcome.APPLIED
    assert list(sync.book.known_levels("bid"))[-1] == ("7", "1")
