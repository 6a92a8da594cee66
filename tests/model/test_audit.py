"""The audit's comparison: a right book never differs, any one wrong level is found, one odd snapshot is not enough."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard
from chained_rules import CHAINED
from hypothesis import assume, given
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.books.audit import (
    SAME_ID_MS,
    AuditOutcome,
    BestLevelCheck,
    Comparison,
    Confirmation,
    Reference,
    Shown,
    compare,
    compare_checkpoint,
    compare_shown,
    describe,
)
from workers.model.books.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from workers.model.books.order_book import Difference, OrderBook
from workers.model.books.sync import BookSync, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot

WIDE = 10_000


def price(ticks: int) -> str:
    return f"{ticks // 10}.{ticks % 10}"


class Market:
    """Every state of a small random book by update id, and the events that report it."""

    def __init__(self, seed: int, rule: SequenceRule, events: int) -> None:
        self.random, self.rule = random.Random(seed), rule
        self.ids, self.states = [100], [(self._side(-1), self._side(1))]
        self.events = [self._event() for _ in range(events)]

    def _side(self, sign: int) -> dict[int, int]:
        return {
            1000 + sign * away: self.random.randint(1, 9) for away in range(1, 40, self.random.randint(1, 3))
        }

    def _text(self, ticks: int) -> str:
        return price(ticks) + self.random.choice(("", "", "0", "000"))

    def _event(self) -> DepthEvent:
        spot = self.rule is SequenceRule.SPOT
        previous, first = self.ids[-1], 0
        changed: tuple[list[Level], list[Level]] = ([], [])
        for _ in range(self.random.randint(1, 6)):
            bids, asks = (dict(side) for side in self.states[-1])
            number = self.random.randint(0, 1)
            ticks = 1000 + self.random.randint(1, 60) * (1 if number else -1)
            quantity = self.random.choice((0, 0, 1, 2, 3, 40))
            side = (bids, asks)[number]
            side.pop(ticks, None)
            if quantity:
                side[ticks] = quantity
            changed[number].append((self._text(ticks), self._text(quantity)))
            self.ids.append(self.ids[-1] + (1 if spot else self.random.randint(1, 5)))
            self.states.append((bids, asks))
            first = first or self.ids[-1]
        first_id, previous_id = (previous + 1, -1) if spot else (first, previous)
        return DepthEvent("X", first_id, self.ids[-1], previous_id, 1, 0, *changed)

    def snapshot(self, update_id: int, limit: int) -> Snapshot:
        bids, asks = self.states[bisect_right(self.ids, update_id) - 1]
        return Snapshot(
            "X",
            update_id,
            [(self._text(ticks), self._text(bids[ticks])) for ticks in sorted(bids, reverse=True)[:limit]],
            [(self._text(ticks), self._text(asks[ticks])) for ticks in sorted(asks)[:limit]],
            limit=limit,
        )


class Case:
    """A book synced somewhere, committed somewhere later, audited with a snapshot from in between."""

    def __init__(self, seed: int, rule: SequenceRule) -> None:
        self.market = market = Market(seed, rule, 24)
        draw = market.random
        begins, commits = sorted(draw.sample(range(len(market.events)), 2))
        self.sync = BookSync("X", rule, max_levels=draw.choice((12, 30, WIDE)))
        self.tops: list[Shown] = []
        synced_at = draw.randint(market.events[0].last_id, market.events[begins].last_id)
        for event in market.events[: commits + 1]:
            self.sync.on_event(event, 5)
            if self.sync.wants_snapshot and event.last_id >= synced_at:
                taken = market.snapshot(synced_at, draw.choice((5, 20, 1000)))
                assert self.sync.on_snapshot(taken, 5) is SnapshotOutcome.ACCEPTED
            if self.sync.state is SyncState.SYNCED:
                self.tops.append(Shown(event.last_id, *self.sync.book.top(10)))
        self.checkpoint = decode_checkpoint(encode_checkpoint(self.sync.checkpoint("1-1")))
        taken_at = draw.randint(market.events[0].last_id, self.checkpoint.last_update_id)
        self.snapshot = market.snapshot(taken_at, draw.choice((5, 10, 50, 1000)))
        self.events = [event for event in market.events if event.last_id >= taken_at]
        self.max_levels = draw.choice((20, WIDE))

    def compare(self, checkpoint: Checkpoint | None = None, shown: Shown | None = None) -> Comparison:
        found = compare_checkpoint(
            checkpoint or self.checkpoint, self.snapshot, self.events, shown, self.max_levels
        )
        assert isinstance(found, Comparison), found
        return found


rules = st.sampled_from(CHAINED)
seeds = st.integers(0, 10**9)


class TestComparison:
    @given(seeds, rules)
    def test_a_right_book_never_differs_whatever_the_timing_the_range_and_the_depth(self, seed, rule):
        case = Case(seed, rule)
        for shown in (None, *case.tops[-3:]):
            found = case.compare(shown=shown)
            assert found.differences == []
            assert found.update_id == case.checkpoint.last_update_id

    @given(
        seeds, rules, st.sampled_from(("bid", "ask")), st.integers(1, 99), st.sampled_from((0, 1, 2, 3, 77))
    )
    def test_any_single_wrong_level_inside_the_common_range_is_found(self, seed, rule, side, away, quantity):
        case = Case(seed, rule)
        case.max_levels = WIDE
        right = case.compare()
        text = price(1000 + away * (1 if side == "ask" else -1))
        low, high = (0.0 if right.low == "0" else float(right.low)), float(right.high)
        assume(low <= float(text) <= high)
        levels = case.checkpoint.bids if side == "bid" else case.checkpoint.asks
        true = next((held for at, held in levels if float(at) == float(text)), "0")
        assume(float(true) != quantity)
        wrong = [level for level in levels if float(level[0]) != float(text)]
        if quantity:
            wrong.append((text, str(quantity)))
        changes = {"bids": wrong} if side == "bid" else {"asks": wrong}
        found = case.compare(msgspec.structs.replace(case.checkpoint, **changes))
        [one] = found.differences
        assert (one.side, float(one.price), float(one.held_quantity), float(one.snapshot_quantity)) == (
            side,
            float(text),
            quantity,
            float(true),
        )

    @given(seeds, rules)
    def test_what_is_wrong_outside_the_common_range_is_nobodys_business(self, seed, rule):
        case = Case(seed, rule)
        low, high = case.checkpoint.known
        assume("0" not in (low, high) and "inf" not in (low, high))
        bids = [*case.checkpoint.bids, (price(int(float(low) * 10) - 1), "7")]
        asks = [*case.checkpoint.asks, (price(int(float(high) * 10) + 2), "7")]
        case.max_levels = WIDE
        assert case.compare(msgspec.structs.replace(case.checkpoint, bids=bids, asks=asks)).differences == []

    @given(seeds, rules, st.integers(0, 9), st.sampled_from(("change", "remove", "add")))
    def test_a_wrong_published_level_is_found(self, seed, rule, place, how):
        case = Case(seed, rule)
        shown = next((top for top in case.tops if top.update_id >= case.snapshot.last_update_id), None)
        right = case.compare(shown=shown)
        assume(shown is not None and place < len(shown.bids) - 1)
        at, held = shown.bids[place]
        assume(float(at) >= (0.0 if right.low == "0" else float(right.low)))
        assume(float(at) >= (0.0 if case.checkpoint.known[0] == "0" else float(case.checkpoint.known[0])))
        bids = [level for level in shown.bids if level[0] != at]
        if how == "add":
            bids.append(("99.95", "3"))
            at = "99.95"
        elif how == "change":
            bids.insert(place, (at, held + "1" if "." in held else held + ".5"))
        if how == "change":
            assume(float(bids[place][1]) != float(held))
        found = case.compare(shown=shown._replace(bids=bids))
        if how == "add" and shown.bids and float(at) < float(shown.bids[-1][0]):
            return  # below everything published: that level stretches what is compared
        assert float(at) in {float(one.price) for one in found.differences}

    def test_what_cannot_be_compared_says_why(self):
        case = Case(3, SequenceRule.FUTURES)
        replace = msgspec.structs.replace

        def why(checkpoint: Checkpoint, events: list[DepthEvent] | None = None) -> Comparison | str:
            chosen = case.events if events is None else events
            return compare_checkpoint(checkpoint, case.snapshot, chosen, None, WIDE)

        at, taken = case.checkpoint.last_update_id, case.snapshot.last_update_id
        assert taken < at, "the case must need events"
        assert why(replace(case.checkpoint, synced=False)) == "book not in sync"
        assert why(replace(case.checkpoint, unconfirmed=True)) == "book ahead of its stream"
        assert why(replace(case.checkpoint, last_update_id=taken - 1)) == "checkpoint behind"
        assert why(case.checkpoint, []) == "no event ends at the checkpoint's id"
        assert why(replace(case.checkpoint, last_update_id=at - 1)) == "no event ends at the checkpoint's id"
        later = [event for event in case.events if event.first_id > taken][1:]
        assert why(case.checkpoint, later) == "stream does not reach back to the snapshot"
        holed = [event for event in case.events if event.last_id > taken]
        assert why(case.checkpoint, holed[:1] + holed[2:]) == "stream has a hole after the snapshot"
        broken = DepthEvent("X", 0, 10**6, taken, 1, 0, [("x", "1")], [])
        assert why(case.checkpoint, [broken]) == "stream has a bad number"
        with pytest.raises(BadNumber):
            compare_checkpoint(case.checkpoint, Snapshot("X", 1, [("x", "1")], []), [], None, WIDE)

    def test_repeats_and_what_the_snapshot_contains_do_no_harm(self):
        case = Case(3, SequenceRule.FUTURES)
        doubled = [event for event in case.market.events for _ in range(2)]
        found = compare_checkpoint(case.checkpoint, case.snapshot, doubled, None, WIDE)
        assert isinstance(found, Comparison)
        assert found.differences == []

    def test_counts_and_range_are_of_the_intersection(self):
        held, sent = OrderBook(), OrderBook()
        held.load(Snapshot("X", 1, [("9", "1"), ("8", "1"), ("7", "1")], [("11", "1"), ("12", "1")], limit=2))
        sent.load(Snapshot("X", 1, [("9.0", "1.0"), ("8", "2")], [("11", "1")], limit=2))
        differences = [Difference("bid", "8", "1", "2"), Difference("ask", "12", "1", "0")]
        assert compare(held, sent, 5) == (5, 4, differences, "8", "12")  # the exchange's asks end before 12
        assert describe(Difference("bid", "61800.20", "2.9", "3.1")) == "bid 61800.20 held 2.9 exchange 3.1"

    def test_a_side_published_empty_or_unknown_says_nothing(self):
        sent = Reference(Snapshot("X", 1, [("9", "1")], [("11", "1")]), SequenceRule.SPOT, WIDE).book
        assert compare_shown(Shown(1, [], []), sent, ("0", "inf")) == []
        wrong = Shown(1, [("9", "4")], [("11", "4")])
        assert len(compare_shown(wrong, sent, ("0", "inf"))) == 2
        assert len(compare_shown(wrong, sent, ("9", "11"))) == 2
        assert compare_shown(wrong, sent, ("10", "10")) == []


def differing(*levels: str) -> Comparison:
    return Comparison(1, 10, [Difference("bid", level, "1", "2") for level in levels], "0", "inf")


class TestConfirmation:
    def test_agreement_is_a_match_and_nothing_common_is_unknown(self):
        confirmation = Confirmation()
        assert confirmation.judge(differing(), 1, 7, 0) == (AuditOutcome.MATCH, "")
        assert confirmation.judge(Comparison(1, 0, [], "inf", "0"), 1, 7, 0).outcome is AuditOutcome.UNKNOWN

    def test_the_same_level_in_a_later_snapshot_confirms(self):
        confirmation = Confirmation()
        assert confirmation.judge(differing("9", "8"), 1, 7, 0).outcome is AuditOutcome.UNCONFIRMED
        assert confirmation.suspicious
        assert confirmation.judge(differing("7", "8.0"), 2, 7, 0).outcome is AuditOutcome.MISMATCH

    def test_it_is_said_again_while_nobody_acts_and_not_after_a_resync(self):
        confirmation = Confirmation()
        found = [confirmation.judge(differing("9"), at, 7, 0).outcome for at in (1, 2, 3)]
        assert found == [AuditOutcome.UNCONFIRMED, AuditOutcome.MISMATCH, AuditOutcome.MISMATCH]
        assert confirmation.judge(differing("9"), 4, 8, 0).outcome is AuditOutcome.UNCONFIRMED

    def test_an_odd_snapshot_is_forgotten_by_the_next_agreement(self):
        confirmation = Confirmation()
        confirmation.judge(differing("9"), 1, 7, 0)
        assert confirmation.judge(differing(), 2, 7, 0).outcome is AuditOutcome.MATCH
        assert not confirmation.suspicious
        assert confirmation.judge(differing("9"), 3, 7, 0).outcome is AuditOutcome.UNCONFIRMED

    def test_snapshots_that_are_each_wrong_elsewhere_confirm_nothing(self):
        confirmation = Confirmation()
        outcomes = {confirmation.judge(differing(f"{at}"), at, 7, 0).outcome for at in range(1, 9)}
        assert outcomes == {AuditOutcome.UNCONFIRMED}

    def test_the_same_update_id_needs_time_and_an_older_one_never_confirms(self):
        confirmation = Confirmation()
        confirmation.judge(differing("9"), 5, 7, 1000)
        assert (
            confirmation.judge(differing("9"), 5, 7, 1000 + SAME_ID_MS - 1).outcome
            is AuditOutcome.UNCONFIRMED
        )
        assert confirmation.judge(differing("9"), 4, 7, 10**9).outcome is AuditOutcome.UNCONFIRMED
        assert confirmation.judge(differing("9"), 5, 7, 1000 + SAME_ID_MS).outcome is AuditOutcome.MISMATCH


FAULTY = "BTCUSD_210924"


class Recorded:
    """The recorded COIN-M market of 17 April 2021: everything that was received, in its order."""

    def __init__(self, folder: Path) -> None:
        self.syncs: dict[str, BookSync] = {}
        self.checks: dict[str, BestLevelCheck] = {}
        self.tickers: dict[tuple[str, int], tuple[Level, Level]] = {}
        self.verdicts: dict[str, set[str]] = {}
        self.checkpoints: dict[int, Checkpoint] = {}
        self.events: list[DepthEvent] = []
        for at, kind, symbol, data in sorted(self._read(folder), key=lambda entry: entry[0]):
            self._take(int(at * 1000), kind, symbol, data)

    def _read(self, folder: Path) -> Iterator[tuple[float, str, str, dict]]:
        for part in ("http", "ws"):
            packed = (folder / f"cryptofeed_binance_coinm_20210417_{part}.zst").open("rb")
            with packed, zstandard.ZstdDecompressor().stream_reader(packed) as reader:
                lines = reader.read().decode().splitlines()
            for line in lines:
                head, _, body = line.partition(": ")
                if "depth?symbol=" in head and " -> " in head:
                    symbol = head.split("symbol=")[1].split("&")[0]
                    yield float(head.split(" -> ")[1]), "snapshot", symbol, msgspec.json.decode(body)
                elif head.replace(".", "").isdigit() and '"stream"' in body:
                    frame = msgspec.json.decode(body)
                    yield (
                        float(head),
                        frame["stream"].split("@")[1],
                        frame["data"].get("s", ""),
                        frame["data"],
                    )

    def _take(self, now_ms: int, kind: str, symbol: str, data: dict) -> None:
        if kind not in ("depth", "bookTicker", "snapshot"):
            return
        sync = self.syncs.setdefault(symbol, BookSync(symbol, SequenceRule.FUTURES))
        check = self.checks.setdefault(symbol, BestLevelCheck())
        if kind == "snapshot":
            sides = ([tuple(level) for level in data[side]] for side in ("bids", "asks"))
            sync.on_snapshot(Snapshot(symbol, data["lastUpdateId"], *sides, limit=1000), now_ms)
        elif kind == "bookTicker":
            self.tickers[symbol, data["u"]] = (data["b"], data["B"]), (data["a"], data["A"])
            check.observe_ticker(data["u"], data["b"], data["B"], data["a"], data["A"])
        else:
            sides = ([tuple(level) for level in data[side]] for side in ("b", "a"))
            event = DepthEvent(symbol, data["U"], data["u"], data["pu"], data["E"], data["T"], *sides)
            sync.on_event(event, now_ms)
            if symbol == FAULTY and len(self.checkpoints) < 120:
                self.events.append(event)
                self.checkpoints[event.last_id] = decode_checkpoint(encode_checkpoint(sync.checkpoint("1-1")))
        if sync.state is SyncState.SYNCED and kind != "bookTicker":
            check.observe_book(sync.last_update_id, sync.book.best_bid, sync.book.best_ask)
        if reason := check.verdict(now_ms):
            self.verdicts.setdefault(symbol, set()).add(reason)


@pytest.fixture(scope="module")
def recorded(recorded_folder: Path) -> Recorded:
    return Recorded(recorded_folder)


@pytest.mark.recorded
class TestRecordedFault:
    def test_the_sequence_rule_notices_nothing_and_the_ticker_does(self, recorded):
        assert {sync.state for sync in recorded.syncs.values()} == {SyncState.SYNCED}
        assert sum(sync.gap_count for sync in recorded.syncs.values()) == 0
        assert recorded.verdicts == {FAULTY: {"best level mismatch"}}
        disagreed = {name: check.disagreed for name, check in recorded.checks.items() if check.disagreed}
        assert disagreed == {FAULTY: 4, "BTCUSD_PERP": 1}
        assert sum(check.compared for check in recorded.checks.values()) > 300

    def test_an_audit_against_a_true_later_state_finds_and_confirms_it(self, recorded):
        confirmation, outcomes = Confirmation(), []
        right = sorted(u for name, u in recorded.tickers if name == FAULTY and u in recorded.checkpoints)
        for u in right:
            checkpoint = recorded.checkpoints[u]
            if not checkpoint.synced:
                continue
            (bid, ask) = recorded.tickers[FAULTY, u]
            truth = Snapshot(FAULTY, u, [bid], [ask], limit=1)
            events = [event for event in recorded.events if event.last_id >= u]
            found = compare_checkpoint(checkpoint, truth, events, None, WIDE)
            assert isinstance(found, Comparison)
            outcomes.append(confirmation.judge(found, u, checkpoint.synced_at, 0).outcome)
            if len(outcomes) == 1:
                assert found.differences == [Difference("bid", "68632.0", "711", "841")]
        wrong, confirmed = [AuditOutcome.UNCONFIRMED], [AuditOutcome.MISMATCH] * 3
        assert outcomes[:4] == wrong + confirmed
        assert set(outcomes[4:]) == {AuditOutcome.MATCH}  # the stream set the level right after 1.6 s

    def test_the_later_state_may_be_brought_forward_by_the_stream(self, recorded):
        committed = 86143413637
        bid, ask = recorded.tickers[FAULTY, 86143408975]
        truth = Snapshot(FAULTY, 86143408975, [bid], [ask], limit=1)
        found = compare_checkpoint(recorded.checkpoints[committed], truth, recorded.events, None, WIDE)
        assert isinstance(found, Comparison)
        assert found.update_id == committed
        assert found.differences == [Difference("bid", "68632.0", "711", "841")]
