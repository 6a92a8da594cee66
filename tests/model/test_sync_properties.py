"""Whatever happens between exchange and book: a synced book equals the truth inside its known range.

A small random exchange keeps the full book at every update id. Its events go through a line that loses,
doubles, swaps and delays them; its snapshots come late, early, from inside an event, or not at all.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque

import pytest
from chained_rules import CHAINED
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from workers.model.books.checkpoint import decode_checkpoint, encode_checkpoint
from workers.model.books.sync import BookSync, Outcome, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot

Sides = tuple[dict[int, int], dict[int, int]]
REMEMBERED = 2_000
"""Update ids of which the exchange keeps the whole book."""
ZEROS = ("0", "0.0", "0.000", "0.00000000")


def text(ticks: int, rng: random.Random) -> str:
    """A number of hundredths, in one of its spellings."""
    plain = f"{ticks // 100}.{ticks % 100:02d}"
    return rng.choice((plain, plain + "0", plain + "000000")) if rng.random() < 0.3 else plain


class Exchange:
    """The truth: a book of ticks, changed one update id at a time, and the events that report it."""

    def __init__(self, rng: random.Random, rule: SequenceRule, *, mid: int = 10_000, reach: int = 12) -> None:
        self.rng, self.rule, self.mid, self.reach = rng, rule, mid, reach
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.id = rng.randint(1, 1000)
        self.ids = [self.id]
        self.states: list[Sides] = [({}, {})]
        self.event_id = self.id
        self.started = False

    def _set(self, changed: tuple[set[int], set[int]], side: int, price: int, quantity: int) -> None:
        book = (self.bids, self.asks)[side]
        if quantity:
            book[price] = quantity
        else:
            book.pop(price, None)
        changed[side].add(price)
        self.id += 1 if self.rule is SequenceRule.SPOT else self.rng.randint(1, 4)
        self.ids.append(self.id)
        self.states.append((dict(self.bids), dict(self.asks)))

    def event(self, changes: int, drift: int = 0) -> DepthEvent:
        """Change the book a little and report it: final quantities, and sometimes more than changed."""
        rng, changed, first = self.rng, (set[int](), set[int]()), len(self.ids)
        self.mid += drift
        for side, book in enumerate((self.bids, self.asks)):
            for price in [p for p in book if (p >= self.mid if side == 0 else p <= self.mid)]:
                self._set(changed, side, price, 0)
        while len(self.ids) - first < changes:
            side = rng.randint(0, 1)
            away = 1 + min(int(rng.expovariate(2 / self.reach)), 20 * self.reach)
            quantity = 0 if rng.random() < 0.35 else rng.randint(1, 500)
            self._set(changed, side, self.mid + (away if side else -away), quantity)
        for side in (0, 1):
            if rng.random() < 0.2:
                changed[side].add(self.mid + rng.randint(1, 3 * self.reach) * (1 if side else -1))
        sides = []
        for side, book in enumerate((self.bids, self.asks)):
            levels: list[Level] = []
            for price in changed[side]:
                quantity = book.get(price, 0)
                levels.append((text(price, rng), text(quantity, rng) if quantity else rng.choice(ZEROS)))
            rng.shuffle(levels)
            sides.append(levels)
        previous, self.event_id, self.started = self.event_id, self.id, True
        spot = self.rule is SequenceRule.SPOT
        first_id = previous + 1 if spot else self.ids[first]
        del self.ids[:-REMEMBERED], self.states[:-REMEMBERED]
        return DepthEvent("X", first_id, self.id, -1 if spot else previous, self.id, 0, sides[0], sides[1])

    def at(self, update_id: int) -> Sides:
        return self.states[bisect_right(self.ids, update_id) - 1]

    def snapshot(self, update_id: int, limit: int) -> Snapshot:
        bids, asks = self.at(update_id)
        return Snapshot(
            "X",
            update_id,
            [(text(p, self.rng), text(bids[p], self.rng)) for p in sorted(bids, reverse=True)[:limit]],
            [(text(p, self.rng), text(asks[p], self.rng)) for p in sorted(asks)[:limit]],
            limit=limit,
        )


def ticks(number: str) -> float:
    return float(number) if number in ("0", "inf") else round(float(number) * 100)


def assert_right(sync: BookSync, exchange: Exchange) -> None:
    """Synced implies: known means true, held means true, nothing known is missing; and no true snapshot is odd."""
    sync.book.check()
    assert sync.reason != "snapshot mismatch"
    if sync.state is not SyncState.SYNCED:
        assert sync.book.counts == (0, 0)
        assert not sync.publishable
        return
    truth = exchange.at(sync.last_update_id)
    low, high = ticks(sync.book.known_low), ticks(sync.book.known_high)
    inside = (
        {price: quantity for price, quantity in truth[0].items() if price >= low},
        {price: quantity for price, quantity in truth[1].items() if price <= high},
    )
    for side, known, everything in (("bid", inside[0], truth[0]), ("ask", inside[1], truth[1])):
        claimed = {ticks(price): ticks(quantity) for price, quantity in sync.book.known_levels(side)}
        assert claimed == known, side
        for price, quantity in sync.book.levels(side):
            assert everything.get(ticks(price)) == ticks(quantity), (side, price)
    assert sync.publishable


class Line:
    """The way from the exchange to the book, with everything that goes wrong on it."""

    def __init__(self, rng: random.Random, rule: SequenceRule) -> None:
        self.rng = rng
        self.exchange = Exchange(rng, rule)
        self.sync = self.fresh()
        self.flight: deque[DepthEvent] = deque()
        self.past: list[DepthEvent] = []
        self.now = 0
        self.never_traded = False  # a snapshot of id -1 was given
        self.first: DepthEvent | None = None
        self.first_came = False  # the exchange's first event was the first one the book got

    def fresh(self) -> BookSync:
        rule = self.exchange.rule
        return BookSync(
            "X", rule, max_levels=self.rng.choice((6, 5000)), buffer_limit=self.rng.choice((2, 500))
        )

    def change(self) -> None:
        event = self.exchange.event(self.rng.randint(1, 6), self.rng.choice((0, 0, 0, -2, 2, 9, -9)))
        self.first = self.first or event
        self.flight.append(event)

    def deliver(self) -> None:
        if not self.flight:
            self.change()
        event = self.flight.popleft()
        self.first_came = self.first_came or (event is self.first and not self.past)
        self.past.append(event)
        self.sync.on_event(event, self.now)

    def first_matters(self) -> bool:
        """After an id of -1 nothing tells a symbol's second event from its first: that one must arrive."""
        return self.never_traded and not self.past

    def lose(self) -> None:
        if self.first_matters():
            self.deliver()
            return
        if not self.flight:
            self.change()
        self.past.append(self.flight.popleft())

    def double(self) -> None:
        for event in self.past[-self.rng.randint(1, 5) :]:
            self.sync.on_event(event, self.now)

    def swap(self) -> None:
        while len(self.flight) < 2:
            self.change()
        if self.first_matters():
            self.deliver()
            return
        self.flight[0], self.flight[1] = self.flight[1], self.flight[0]

    def answer(self) -> None:
        """A snapshot of now (ahead of the line), of what was delivered, or of some time before: even of before the
        first trade, from a cache."""
        exchange, rng = self.exchange, self.rng
        cached = rng.random() < (
            0.05 if self.first_came else 0.5 if self.never_traded and not self.past else 0
        )
        if not exchange.started or cached:
            self.never_traded = True
            self.sync.on_snapshot(Snapshot("X", -1, [], [], limit=5), self.now)
            return
        back = rng.choice((0, 0, rng.randint(0, 10), rng.randint(0, 200)))
        update_id = max(exchange.ids[max(0, len(exchange.ids) - 1 - back)], 1)
        if exchange.rule is SequenceRule.FUTURES and update_id < exchange.id:
            update_id += rng.randint(0, 1)  # an id of another symbol: the book at it is that of the id before
        self.sync.on_snapshot(exchange.snapshot(update_id, rng.choice((3, 10, 1000))), self.now)

    def wait(self) -> None:
        self.now += self.rng.choice((100, 4_000, 11_000, 70_000))
        self.sync.tick(self.now)

    def fall_silent(self) -> None:
        """A snapshot ahead of a line that then says nothing, and may lose something when it speaks again."""
        self.change()
        self.sync.on_snapshot(self.exchange.snapshot(self.exchange.id, 10), self.now)
        self.now += 11_000
        self.sync.tick(self.now)
        assert_right(self.sync, self.exchange)
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            self.lose()
        self.deliver()

    def refresh(self) -> None:
        self.sync.begin_refresh()

    def drop(self) -> None:
        self.sync.lose("audit mismatch", self.now)

    def restart(self) -> None:
        """Another worker goes on from the checkpoint; it sees the last entries again."""
        data = encode_checkpoint(self.sync.checkpoint("1-1"))
        self.sync = self.fresh()
        self.sync.restore(decode_checkpoint(data))
        self.double()


ACTIONS = [
    *("change", "deliver", "deliver", "deliver", "deliver", "answer", "answer", "refresh"),
    *("lose", "double", "swap", "wait", "drop", "restart", "fall_silent"),
]


@pytest.mark.parametrize("rule", CHAINED)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), actions=st.lists(st.sampled_from(ACTIONS), min_size=30, max_size=60))
def test_synced_implies_true(rule, seed, actions):
    line = Line(random.Random(seed), rule)
    for action in actions:
        getattr(line, action)()
        assert_right(line.sync, line.exchange)
    for _ in range(8):  # and it comes back by itself once the line is well
        while line.flight:
            line.deliver()
        if line.sync.wants_snapshot:
            line.sync.on_snapshot(line.exchange.snapshot(line.exchange.id, 10), line.now)
        line.deliver()
        assert_right(line.sync, line.exchange)
    assert line.sync.state is SyncState.SYNCED


class UndetectableError(Exception):
    """The book did not know the levels that the wrong one crosses."""


class CrossedLine(Line):
    """Where an event now and then has a wrong level that crosses the book, and no later one takes it back."""

    def cross(self) -> None:
        if not self.flight:
            self.change()
        event = self.flight.popleft()
        bids, asks = self.exchange.at(event.last_id)
        side = self.rng.randint(0, 1)
        told = {ticks(price) for price, _ in (event.bids, event.asks)[side]}
        price = 0
        if bids and asks:
            price = min(asks) + self.rng.randint(0, 6) if side == 0 else max(bids) - self.rng.randint(0, 6)
        if price <= 0 or price in told or self.sync.state is not SyncState.SYNCED or self.first_matters():
            self.flight.appendleft(event)
            self.deliver()
            return
        self.past.append(event)
        wrong = [(text(price, self.rng), "7.77")]
        spoiled = (
            replace(event, bids=wrong + event.bids) if side == 0 else replace(event, asks=wrong + event.asks)
        )
        self.sync.on_event(spoiled, self.now)
        if self.sync.state is SyncState.SYNCED and not self.sync.book.crossed:
            raise UndetectableError


@pytest.mark.parametrize("rule", CHAINED)
def test_what_crossed_a_book_is_never_shown(rule):
    shown = 0
    actions = ["cross", "cross", *(action for action in ACTIONS if action != "fall_silent")]
    for seed in range(400):
        rng = random.Random(f"{rule}{seed}")
        line = CrossedLine(rng, rule)
        for action in rng.choices(actions, k=60):
            try:
                getattr(line, action)()
            except UndetectableError:
                break
            if line.sync.publishable:
                line.sync.reason = ""  # a snapshot may well have contradicted the book before
                assert_right(line.sync, line.exchange)
                shown += 1
    assert shown > 3_000


@pytest.mark.parametrize("rule", CHAINED)
@pytest.mark.parametrize("trend", [1, -1])
def test_drift_of_thousands_of_ticks(rule, trend):
    """Refreshed near the edge, a book stays in sync and right, always knows its best, and does not grow."""
    rng = random.Random(f"{rule}{trend}")
    exchange = Exchange(rng, rule, mid=50_000, reach=30)
    for _ in range(40):
        exchange.event(30)
    sync = BookSync("X", rule, max_levels=150)
    sync.on_event(exchange.event(5), 0)
    assert sync.on_snapshot(exchange.snapshot(exchange.id, 40), 0) is SnapshotOutcome.ACCEPTED
    start, refreshed, pending = exchange.mid, 0, None
    for step in range(800):
        event = exchange.event(rng.randint(3, 15), trend * rng.choice((0, 3, 6, 12)))
        assert sync.on_event(event, step) is Outcome.APPLIED
        if pending is not None and step >= pending[0]:
            refreshed += sync.on_snapshot(pending[1], step) is SnapshotOutcome.REFRESHED
            pending = None
        elif not sync.refreshing and sync.book.edge_distance() < 0.6:
            sync.begin_refresh()
            pending = (step + rng.randint(1, 3), exchange.snapshot(exchange.id, 40))
        elif sync.refreshing and pending is None:
            pending = (step + 1, exchange.snapshot(exchange.id, 40))
        assert_right(sync, exchange)
        assert max(sync.book.counts) <= 150
        if exchange.bids and exchange.asks:
            assert min(sync.book.known_counts) > 0
    assert abs(exchange.mid - start) > 3_000
    assert refreshed >= 5
    assert sync.sync_count == 1


def test_drift_without_refresh_claims_less_and_less():
    """The guard of the test above: without refresh the known range runs out, and the book says so."""
    rng = random.Random(5)
    exchange = Exchange(rng, SequenceRule.SPOT, mid=50_000, reach=30)
    for _ in range(40):
        exchange.event(30)
    sync = BookSync("X", SequenceRule.SPOT)
    sync.on_event(exchange.event(5), 0)
    sync.on_snapshot(exchange.snapshot(exchange.id, 40), 0)
    for step in range(150):
        sync.on_event(exchange.event(8, 6), step)
        assert_right(sync, exchange)
    assert sync.book.known_counts[1] == 0
    assert sync.book.edge_distance() == 0.0
