"""Icebergs by the single orders: which parts make a chain, and a twin that looks through all of them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from test_detectors import MS, added, filled, kinds, parts

from workers.model.analytics import icebergs as icebergs_module
from workers.model.analytics.icebergs import IcebergDetector, IcebergParameters
from workers.model.analytics.order_flow import OrderEvent
from workers.model.analytics.order_kinds import KindWeights, Origin, SizeMatch
from workers.model.analytics.order_runs import RUN_US


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
