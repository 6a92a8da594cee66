"""Walls, icebergs and flicker: their rules one by one, what holds whatever comes, and how well they find."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from workers.model.analytics import icebergs as icebergs_module
from workers.model.analytics import order_runs as order_runs_module
from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.flicker import FlickerParameters, LevelFlicker, OrderFlicker
from workers.model.analytics.icebergs import IcebergDetector, IcebergParameters
from workers.model.analytics.level2_icebergs import Level2IcebergDetector, Level2IcebergParameters
from workers.model.analytics.order_flow import OrderEvent, order_events
from workers.model.analytics.order_kinds import KINDS, MOST_RESTED_S, KindWeights, Origin, SizeMatch
from workers.model.analytics.order_runs import RUN_US, OrderRuns
from workers.model.analytics.walls import WallDetector, WallParameters
from workers.model.level3.book import Level3Book
from workers.model.level3.events import OrderChange, OrderMessage
from workers.venues.coinbase.orders import order_message

MS = 1000
ASKS = [(101.0 + number, 1.0) for number in range(10)]


def load_detection(name: str) -> ModuleType:
    """A module of the bench's package of that name."""
    bench = str(Path(__file__).resolve().parents[3] / "bench")
    if bench not in sys.path:
        sys.path.append(bench)
    return importlib.import_module(f"detection.{name}")


def test_icebergs_and_walls_of_a_tape_are_found_as_published():
    scoring = load_detection("scoring")
    market = load_detection("participants").Participants(42)
    scores = scoring.scores(market, scoring.detect(market.run(120)))
    level3 = scores["icebergs, level 3, 1 or more refills"]
    assert level3.there >= 40
    assert level3.precision >= 0.8  # on the long tapes more than 0.9
    assert level3.recall >= 0.75  # of 43
    walls = scores["walls, level 2"]
    assert walls.there >= 10
    assert walls.precision >= 0.7
    assert walls.recall >= 0.7


def bids_with(quantity: float, price: float = 95.0) -> list[tuple[float, float]]:
    levels = [(100.0 - number, 1.0) for number in range(10)]
    return [(at, quantity if at == price else other) for at, other in levels if quantity or at != price]


def kinds(events) -> list[str]:
    return [event.kind for event in events]


@pytest.mark.parametrize(("traded", "kind"), [(0.0, "wall_vanished"), (9.0, "wall_eaten")])
def test_a_large_level_is_a_wall_once_it_lasts_and_ends_by_what_was_traded(traded, kind):
    detector = WallDetector(WallParameters(levels=10))
    assert kinds(detector.on_levels(bids_with(10), ASKS, 0)) == []
    assert kinds(detector.on_levels(bids_with(10), ASKS, 1999 * MS)) == []
    assert kinds(detector.on_levels(bids_with(10), ASKS, 2000 * MS)) == ["wall_appeared"]
    assert [(wall.side, wall.price) for wall in detector.walls()] == [("bid", 95.0)]
    detector.on_trade("bid", 95.0, traded)
    assert kinds(detector.on_levels(bids_with(5), ASKS, 2100 * MS)) == []
    ended = detector.on_levels(bids_with(0), ASKS, 2200 * MS)
    assert (kinds(ended), ended[0].figures["traded"]) == ([kind], traded)
    detector.check()


def test_a_wall_out_of_sight_neither_stands_nor_ends():
    detector = WallDetector(WallParameters(levels=10))
    for now in (0, 3000 * MS):
        detector.on_levels(bids_with(10, 91.0), ASKS, now)
    higher = [(110.0 - number, 1.0) for number in range(10)]
    assert detector.on_levels(higher, ASKS, 4000 * MS) == []
    assert detector.on_levels(higher, ASKS, 70_000 * MS) == []
    assert detector.walls() == []


levels = st.lists(st.tuples(st.integers(1, 30).map(float), st.integers(1, 40).map(float)), max_size=8)


@settings(max_examples=40)
@given(st.lists(st.tuples(levels, levels, st.integers(0, 3000), st.integers(1, 30).map(float)), max_size=15))
def test_what_the_detectors_hold_of_level_2_is_sound_whatever_comes(told):
    walls, now = WallDetector(WallParameters(levels=3, ratio=2)), 0
    icebergs, flicker = (
        Level2IcebergDetector(Level2IcebergParameters()),
        LevelFlicker(FlickerParameters(least=1)),
    )
    for bid_levels, ask_levels, pause, traded_at in told:
        now += pause * MS
        bids = sorted(dict(bid_levels).items(), reverse=True)
        asks = sorted(dict(ask_levels).items())
        for side in ("bid", "ask"):
            walls.on_trade(side, traded_at, 1.0)
            icebergs.on_trade(side, traded_at, 1.0, now)
            flicker.on_trade(side, traded_at)
        for detector in (walls, icebergs, flicker):
            detector.on_levels(bids, asks, now)
            detector.check()


def added(number: int, now_us: int, price: float = 100.0, quantity: float = 1.0) -> OrderEvent:
    return OrderEvent("added", str(number), "bid", price, quantity, quantity, now_us, 0, 100.0)


def filled(number: int, now_us: int, left: float = 0.0, quantity: float = 1.0) -> OrderEvent:
    return OrderEvent("filled", str(number), "bid", 100.0, quantity, left, now_us, -1, 100.0)


def parts(delay_us: int, refills: int, *, quantity: float = 1.0) -> list[OrderEvent]:
    """A part that is used up every second, and the next one after the delay."""
    events = [filled(0, 0)]
    for number in range(1, refills + 1):
        now = number * 1_000_000
        events += [added(number, now - 1_000_000 + delay_us, quantity=quantity), filled(number, now)]
    return events


def told(events: list[OrderEvent], detector: IcebergDetector | None = None) -> list[str]:
    detector = detector or IcebergDetector(IcebergParameters())
    found = []
    for event in events:
        found += detector.on_event(event)
        detector.check()
    return kinds(found)


def test_parts_that_follow_at_once_and_alike_are_an_iceberg_until_no_more_follow():
    detector = IcebergDetector(IcebergParameters())
    assert told(parts(100, 4), detector) == ["iceberg_found", "iceberg_confirmed"]
    (iceberg,) = detector.icebergs()
    assert (iceberg.refills, iceberg.traded, iceberg.part) == (4, 5.0, 1.0)
    assert iceberg.hidden > 0
    (ended,) = detector.on_time(60_000_000)
    assert (ended.kind, ended.figures["withdrawn"], detector.icebergs()) == ("iceberg_exhausted", 0, [])


def test_a_maker_that_quotes_again_late_is_none_and_neither_is_one_refill():
    assert told(parts(60_000, 20)) == []
    assert told(parts(100, 1)) == []
    assert told([filled(0, 0), *[added(number, 100, quantity=0.1 * number) for number in range(1, 9)]]) == []


def test_a_part_under_the_same_id_needs_no_same_size():
    events = [
        filled(0, 0),
        added(0, 50, quantity=0.3),
        filled(0, 900, quantity=0.3),
        added(0, 950, quantity=0.7),
    ]
    assert told(events) == ["iceberg_found"]
    grown = OrderEvent("grown", "7", "bid", 100.0, 0.5, 1.0, 5, -1, 100.0)
    assert told([filled(7, 0, 0.5, 0.5), grown, filled(7, 9, 0.5, 0.5), grown]) == ["iceberg_found"]


def test_an_order_that_comes_between_two_parts_does_not_end_the_chain():
    other = OrderEvent("added", "else", "bid", 100.0, 0.3, 0.3, 1_000, -1, 100.0)
    gone = OrderEvent("cancelled", "else", "bid", 100.0, 0.3, 0.0, 9_000, -1, 100.0)
    detector = IcebergDetector(IcebergParameters())
    events = [filled(0, 0), other, added(1, 1_100), gone, filled(1, 10_000), added(2, 10_100)]
    told([*events, filled(2, 20_000), added(3, 20_100)], detector)
    (iceberg,) = detector.icebergs()
    assert (iceberg.order_id, iceberg.refills, iceberg.traded) == ("3", 3, 3.0)


def test_a_part_goes_on_the_chain_that_is_likelier_an_iceberg_though_another_waits_with_its_size():
    detector, now = IcebergDetector(IcebergParameters()), 0
    events = [filled(0, 0)]
    for number, quantity in enumerate((0.93, 1.05, 0.97, 0.91), 1):
        now += 300_000
        events += [added(number, events[-1].time_us + 100, quantity=quantity)]
        events += [filled(number, now, quantity=quantity)]
    events += [
        OrderEvent("filled", "else", "bid", 100.0, 0.9, 0.0, now, -1, 100.0),
        OrderEvent("added", "next", "bid", 100.0, 0.9, 0.9, now + 50, -1, 100.0),
    ]
    told(events, detector)
    assert [iceberg.order_id for iceberg in detector.icebergs()] == ["next"]


def test_an_order_of_another_size_is_no_part_though_it_comes_first():
    other = OrderEvent("added", "else", "bid", 100.0, 0.3, 0.3, 1_000, -1, 100.0)
    detector = IcebergDetector(IcebergParameters())
    told(
        [filled(0, 0), other, OrderEvent("filled", "else", "bid", 100.0, 0.3, 0.0, 1_050, 50, 100.0)],
        detector,
    )
    told([added(1, 1_100), *parts(100, 3)[2:]], detector)
    assert [iceberg.refills for iceberg in detector.icebergs()] == [3]


@pytest.mark.parametrize(("ended_at", "ended_us", "origin"), [
    (99.0, 0, Origin.MOVED),
    (100.0, 0, Origin.SUCCESSOR),
    (99.0, -RUN_US - 1, Origin.FRESH),
])  # fmt: skip
def test_an_order_is_of_a_run_if_one_of_its_side_and_size_has_just_gone(ended_at, ended_us, origin):
    runs, start = OrderRuns(), 10 * RUN_US
    runs.on_time(0)
    gone = OrderEvent("filled", "gone", "bid", ended_at, 0.4, 0.0, start + ended_us, 5, 100.0)
    runs.on_ended(gone, 1.0)
    runs.on_ended(OrderEvent("cancelled", "else", "ask", 100.0, 1.0, 0.0, start, 5, 100.0), 1.0)
    runs.on_added(added(1, start))
    taken = OrderEvent("filled", "1", "bid", 100.0, 1.0, 0.0, start + 70, 70, 100.0)
    assert runs.origin(taken) is origin
    runs.on_ended(taken, 1.0)
    assert runs.origin(taken) is Origin.FRESH


def test_where_an_order_came_from_that_was_there_before_is_not_known():
    runs = OrderRuns()
    runs.on_time(1_000)
    assert runs.origin(OrderEvent("filled", "1", "bid", 100.0, 1.0, 0.0, 2_000, 1_001)) is Origin.UNKNOWN
    assert runs.origin(OrderEvent("filled", "1", "bid", 100.0, 1.0, 0.0, 2_000, -1)) is Origin.UNKNOWN
    assert runs.origin(OrderEvent("filled", "1", "bid", 100.0, 1.0, 0.0, 2_000, 1_000)) is Origin.FRESH
    runs.clear()
    assert runs.origin(OrderEvent("filled", "1", "bid", 100.0, 1.0, 0.0, 2_000, 1_000)) is Origin.UNKNOWN


def test_runs_are_bounded(monkeypatch):
    monkeypatch.setattr(order_runs_module, "MOST_LINKED", 3)
    monkeypatch.setattr(order_runs_module, "MOST_ENDED", 2)
    runs = OrderRuns()
    for number in range(9):
        event = added(number, number, quantity=number + 1.0)
        runs.on_ended(replace(event, what="filled", order_id="gone"), number + 1.0)
        runs.on_added(event)
    assert (len(runs._linked), len(runs._ended), len(runs._filled)) == (3, 2, 2)


def test_a_quote_that_moves_about_is_told_later_than_an_order_that_was_new():
    """Both are refilled after 8 ms; one began where another of its size had been withdrawn."""
    confidences = []
    for size in (1.0, 2.0):
        detector = IcebergDetector(IcebergParameters())
        detector.on_event(added(99, 0))
        detector.on_event(OrderEvent("cancelled", "98", "bid", 99.0, size, 0.0, 10_000, 9, 100.0))
        first = [added(0, 12_000), filled(0, 13_000)]
        events = [replace(event, time_us=event.time_us + 13_000) for event in parts(8_000, 5)[1:]]
        for event in first + events:
            detector.on_event(replace(event, age_us=1_000))
        confidences.append(max(chain.confidence for chain in detector._chains.values()))
    moved, new = confidences
    assert moved < 0.75 <= new


def test_an_order_that_is_not_withdrawn_for_long_is_likelier_part_of_an_iceberg():
    weights = KindWeights(KINDS)
    before = weights.first(Origin.UNKNOWN)
    after = weights.rested(before, 5)
    assert weights.confidence(before) < weights.confidence(after)
    assert weights.rested(before, 1e9) == weights.rested(before, MOST_RESTED_S)


def test_a_detection_counts_for_one_iceberg_and_an_iceberg_for_one_detection():
    bench, market = load_detection("scoring"), load_detection("market")
    plants = [market.Planted("iceberg, native", "bid", 100.0, 0, 50, refills=2) for _ in range(3)]
    plants[0].order_ids.add("a")
    once = bench.score([AnalyticsEvent("iceberg_found", "bid", 100.0, 9)], plants, plants)
    assert (once.right, once.found) == (1, 1)
    twice = bench.score([AnalyticsEvent("iceberg_found", "bid", 100.0, 9, {}, "a")] * 2, plants, plants)
    assert (twice.detections, twice.right, twice.found) == (2, 1, 1)
    elsewhere = bench.score([AnalyticsEvent("iceberg_found", "bid", 100.0, 9, {}, "b")], plants, plants)
    assert elsewhere.right == 0


def test_what_ended_icebergs_had_left_is_what_others_are_expected_to_have():
    detector = IcebergDetector(IcebergParameters())
    before = detector.expected_refills(3)
    for start in range(30):
        for event in parts(100, 9):
            shifted = OrderEvent(
                event.what, f"{start}-{event.order_id}", "bid", 100.0, 1.0, event.left,
                event.time_us + start * 60_000_000, -1, 100.0,
            )  # fmt: skip
            detector.on_event(shifted)
    detector.on_time(40 * 60_000_000)
    assert before == 3.0
    assert 5 < detector.expected_refills(3) <= 6


happenings = st.tuples(
    st.sampled_from(["added", "filled", "filled", "grown", "cancelled"]),
    st.integers(1, 6),
    st.integers(0, 120_000),
    st.integers(1, 3).map(float),
)


class Twin:
    """Every chain in one list, looked through each time; what a chain is worth, anew from its first order on."""

    def __init__(self, rules: IcebergParameters) -> None:
        self.kinds, self.refill_us = KindWeights(rules.kinds), rules.refill_ms * MS
        self.chains: list[dict] = []
        self.origins: dict[str, Origin] = {}
        self.ended: list[tuple[int, float, bool]] = []

    def on_event(self, event: OrderEvent) -> None:
        now = event.time_us
        self.chains = [
            chain for chain in self.chains if not (chain["waits"] and chain["at"][-1] < now - self.refill_us)
        ]
        mine = [chain for chain in self.chains if not chain["waits"] and chain["ids"][-1] == event.order_id]
        if event.what == "added":
            self.added(event)
            return
        size = mine[0]["sizes"][-1] if mine else event.quantity + event.left
        if event.what == "filled":
            self.filled(event, mine)
        elif event.what == "grown" and mine:
            self.refilled(mine[0], event, replaced=False)
        elif event.what == "cancelled" and mine:
            self.chains.remove(mine[0])
        if not event.left:
            self.ended.append((now, size, event.what == "filled"))

    def filled(self, event: OrderEvent, mine: list[dict]) -> None:
        if mine:
            mine[0]["steps"].append(("rested", (event.time_us - mine[0]["at"][-1]) / 1e6))
        else:
            origin = self.origins[event.order_id] if event.age_us >= 0 else Origin.UNKNOWN
            steps = [("first", origin), ("rested", event.age_us / 1e6)]
            mine = [
                {"ids": [event.order_id], "sizes": [event.quantity + event.left], "at": [], "traded": 0.0}
            ]
            mine[0].update(steps=steps, refills=0)
            self.chains += mine
        mine[0]["at"].append(event.time_us)
        mine[0].update(waits=not event.left, traded=mine[0]["traded"] + event.quantity, before=None)

    def added(self, event: OrderEvent) -> None:
        trail = [was_filled for at, size, was_filled in self.ended
                 if event.time_us - at <= RUN_US and size == event.quantity]  # fmt: skip
        self.origins[event.order_id] = (
            Origin.SUCCESSOR if any(trail) else Origin.MOVED if trail else Origin.FRESH
        )
        waiting = [
            (*self.fit(chain, event), chain["at"][-1], chain) for chain in self.chains if chain["waits"]
        ]
        waiting = [row for row in waiting if row[1] > -math.inf]
        if waiting:
            self.refilled(max(waiting, key=lambda row: row[:3])[-1], event, replaced=False)
            return
        gains = []
        for chain in self.chains:
            before = chain["before"]
            if before is not None and event.time_us - before["at"][-1] <= self.refill_us:
                gains.append((self.fit(before, event)[1] - chain["fit"], chain))
        gains = [row for row in gains if row[0] > 0]
        if gains:
            self.refilled(max(gains, key=lambda row: row[0])[1], event, replaced=True)

    def weights(self, chain: dict) -> list[float]:
        weights: list[float] = []
        for step, *values in chain["steps"]:
            if step == "first":
                weights = self.kinds.first(*values)
            elif step == "own":
                weights = self.kinds.followed_by_own(weights)
            else:
                weights = getattr(self.kinds, step)(weights, *values)
        return weights

    def step(self, chain: dict, event: OrderEvent) -> tuple:
        sizes = [*chain["sizes"], event.quantity]
        same = abs(sizes[-1] - sizes[-2]) < 1e-6
        match = (
            SizeMatch.SAME
            if same
            else SizeMatch.SIMILAR
            if max(sizes) <= 1.5 * min(sizes)
            else SizeMatch.OTHER
        )
        return (event.time_us - chain["at"][-1]) / 1000, match

    def fit(self, chain: dict, event: OrderEvent) -> tuple[bool, float]:
        if chain["ids"][-1] == event.order_id:
            return True, 3.0
        delay_ms, match = self.step(chain, event)
        never = match is SizeMatch.OTHER
        return False, -math.inf if never else self.kinds.fit(self.weights(chain), delay_ms, match)

    def refilled(self, chain: dict, event: OrderEvent, *, replaced: bool) -> None:
        base = chain["before"] if replaced else chain
        before = {key: base[key][:] for key in ("ids", "sizes", "at", "steps")}
        own = before["ids"][-1] == event.order_id
        step = ("own",) if own else ("followed", *self.step(before, event))
        fit = None if own else self.fit(before, event)[1]
        chain.update(
            ids=[*before["ids"], event.order_id], sizes=[*before["sizes"], event.left], fit=fit,
            at=[*before["at"], event.time_us], steps=[*before["steps"], step], waits=False,
            refills=chain["refills"] + (not replaced), before=None if own else before,
        )  # fmt: skip

    def state(self) -> list[tuple]:
        return sorted(
            (c["ids"][-1], c["waits"], c["refills"], c["traded"], max(c["sizes"]),
             round(self.kinds.confidence(self.weights(c)), 9))
            for c in self.chains
        )  # fmt: skip


@given(st.lists(happenings, max_size=40))
def test_chains_are_those_of_a_twin_that_looks_through_all(happened):
    detector, twin, now = IcebergDetector(IcebergParameters()), Twin(IcebergParameters()), 0
    resting: dict[str, float] = {}
    placed: dict[str, int] = {}
    for what, number, pause, size in happened:
        now += pause + 1
        order_id, quantity = str(number), size
        if (what == "added") == (order_id in resting):
            continue
        left = {"added": quantity, "cancelled": 0.0}.get(what, 0.0)
        if what == "filled":
            left = max(0.0, resting[order_id] - quantity)
            quantity = resting[order_id] - left
        elif what == "grown":
            left = resting[order_id] + quantity
        age = now - placed.setdefault(order_id, now)
        event = OrderEvent(what, order_id, "bid", 100.0, quantity, left, now, age, 100.0)
        if left:
            resting[order_id] = left
        else:
            del resting[order_id], placed[order_id]
        detector.on_event(event)
        twin.on_event(event)
        detector.check()
        chains = detector._chains.values()
        assert twin.state() == sorted(
            (
                chain.order_id,
                chain.waited,
                chain.refills,
                chain.traded,
                chain.part,
                round(chain.confidence, 9),
            )
            for chain in chains
        )


def test_chains_are_bounded(monkeypatch):
    monkeypatch.setattr(icebergs_module, "MOST_CANDIDATES", 5)
    detector = IcebergDetector(IcebergParameters())
    for number in range(50):
        detector.on_event(filled(number, number, left=1.0))
        detector.check()
    assert len(detector._chains) == 5


def test_a_level_that_loses_nothing_to_trades_holds_an_iceberg():
    detector, found = Level2IcebergDetector(Level2IcebergParameters()), []
    detector.on_levels(bids_with(2, 100.0), ASKS, 0)
    for number in range(1, 6):
        detector.on_trade("bid", 100.0, 1.5, number * 100 * MS)
        found += detector.on_levels(bids_with(2, 100.0), ASKS, number * 100 * MS)
    assert kinds(found) == ["iceberg_found", "iceberg_confirmed"]
    (iceberg,) = detector.icebergs()
    assert (iceberg.traded, iceberg.most, iceberg.hidden) == (7.5, 2.0, 5.5)
    assert kinds(detector.on_levels(bids_with(0, 100.0), ASKS, 700 * MS)) == ["iceberg_exhausted"]


def test_a_level_that_loses_what_is_traded_holds_none():
    detector = Level2IcebergDetector(Level2IcebergParameters())
    left = 10.0
    detector.on_levels(bids_with(left, 100.0), ASKS, 0)
    while left > 1:
        detector.on_trade("bid", 100.0, left / 2, 1)
        left /= 2
        assert detector.on_levels(bids_with(left, 100.0), ASKS, 1) == []


def test_orders_that_are_withdrawn_at_once_near_the_top_flicker_and_others_do_not():
    detector, found = OrderFlicker(FlickerParameters(least=5)), []

    def shown_and_withdrawn(number: int, price: float, age_us: int) -> None:
        now = number * 1_000_000
        events = [
            added(number, now, price),
            OrderEvent("cancelled", str(number), "bid", price, 1.0, 0.0, now + 1, age_us, 100.0),
        ]
        found.extend(event for happened in events if (event := detector.on_event(happened)))

    for number in range(10):
        shown_and_withdrawn(number, 99.0, 10 * MS)  # far away
        shown_and_withdrawn(number, 100.0, 900 * MS)  # not at once
        shown_and_withdrawn(number, 100.0, -1)  # nobody knows
    assert found == []
    for number in range(10, 40):
        shown_and_withdrawn(number, 100.0, 10 * MS)
    assert kinds(found) == ["flicker"]
    assert found[0].figures["times"] >= 5
    detector.check()


@pytest.mark.parametrize(("staying", "told"), [(10, ["flicker"]), (11, [])])
def test_what_flickers_is_told_only_if_it_is_much_of_what_is_shown(staying: int, told: list[str]):
    detector, found = OrderFlicker(FlickerParameters(least=10, share=0.5)), []
    for number in range(staying):
        detector.on_event(added(number, number, 100.0))
    for number in range(100, 110):
        detector.on_event(added(number, number, 100.0))
        gone = OrderEvent("cancelled", str(number), "bid", 100.0, 1.0, 0.0, number + 1, 10 * MS, 100.0)
        found.extend(event for event in [detector.on_event(gone)] if event)
    assert kinds(found) == told


@pytest.mark.parametrize(("traded", "times"), [(False, 1), (True, 0)])
def test_a_large_level_that_is_gone_at_once_flickers_unless_it_was_traded_with(traded, times):
    detector = LevelFlicker(FlickerParameters(near_bps=1000))
    for now, quantity in ((0, 1.0), (100, 9.0), (200, 1.0)):
        if traded and now == 200:
            detector.on_trade("bid", 95.0)
        detector.on_levels(bids_with(quantity), ASKS, now * MS)
    assert detector.counter.counts("bid", 200 * MS) == (1, times)


COINBASE_CHANGE = (
    b'{"type":"change","reason":"STP","sequence":80,"order_id":"1","side":"buy","old_size":"2","new_size":"0.5",'
    b'"price":"100","product_id":"BTC-USD","time":"2014-11-07T08:19:27.028459Z"}'
)


def test_what_happens_to_orders_is_told_before_the_book_has_it():
    book = Level3Book()
    book.add("1", "bid", "100.0", "2", placed_us=5)
    book.add("2", "ask", "101.0", "1", placed_us=5)

    def happened(change: OrderChange, *, moves: bool = False) -> list[tuple]:
        events = order_events(book, OrderMessage(9, [change]), moves=moves)
        return [(event.what, event.price, event.quantity, event.left, event.age_us) for event in events]

    assert happened(OrderChange("add", "3", "bid", "99", "4")) == [("added", 99.0, 4.0, 4.0, 0)]
    assert happened(OrderChange("add", "3", "bid", "101", "4")) == []  # takes
    assert happened(OrderChange("set", "1", "bid", "100.5", "0.5")) == [("filled", 100.0, 1.5, 0.5, 4)]
    assert happened(OrderChange("set", "1", "bid", "100", "3")) == [("grown", 100.0, 1.0, 3.0, 4)]
    assert happened(OrderChange("fill", "1", "bid", quantity="2")) == [("filled", 100.0, 2.0, 0.0, 4)]
    assert happened(OrderChange("remove", "1", "bid", ending="filled")) == [("filled", 100.0, 2.0, 0.0, 4)]
    assert happened(OrderChange("remove", "1", "bid", ending="cancelled")) == [
        ("cancelled", 100.0, 2.0, 0.0, 4)
    ]
    assert happened(OrderChange("remove", "1", "bid")) == []
    moved = happened(OrderChange("set", "1", "bid", "99.5", "2"), moves=True)
    assert [row[:2] for row in moved] == [("cancelled", 100.0), ("added", 99.5)]
    moved = happened(OrderChange("set", "1", "bid", "99.5"), moves=True)
    assert moved[1] == ("added", 99.5, 2.0, 2.0, 0), "without another quantity it has the same"
    less = order_message("c", COINBASE_CHANGE).changes[0]
    assert happened(less, moves=True) == [], "a match would have told of a fill"
    assert happened(OrderChange("set", "9", "bid", "99.5", "2")) == []
