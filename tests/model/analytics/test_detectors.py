"""Walls, icebergs and flicker: their rules one by one, what holds whatever comes, and how well they find."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from workers.model.analytics import order_runs as order_runs_module
from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.flicker import FlickerParameters, LevelFlicker, OrderFlicker
from workers.model.analytics.icebergs import IcebergDetector, IcebergParameters
from workers.model.analytics.level2_icebergs import Level2IcebergDetector, Level2IcebergParameters
from workers.model.analytics.order_flow import OrderEvent, order_events
from workers.model.analytics.order_kinds import KINDS, MOST_RESTED_S, KindWeights, Origin
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
