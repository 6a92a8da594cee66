"""History blocks against a naive twin that keeps a full copy of the book each second."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from chained_rules import CHAINED
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.model.books.in_band import BookRule
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync, Outcome, SequenceRule
from workers.model.events import DepthEvent, Level, Snapshot
from workers.model.history.block import (
    NOT_REACHED,
    NOT_RECORDED,
    OUTSIDE,
    BookAt,
    HistoryBlock,
    NearestAt,
    QuantityAt,
    Unknown,
)
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryFold, HistoryRecorder

S = "BTCUSDT"
LENGTH = 8


class Twin:
    """The naive way: events in, and for each second a copy of the whole book, or None."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Level]] = {"bid": {}, "ask": {}}
        self.seconds: dict[int, tuple[int, list[Level], list[Level]] | None] = {}
        self.last_id = 0
        self.known_since: int | None = None
        self.next = 0

    def close(self, ms: int, sound: bool) -> None:
        while self.next * 1000 < ms:
            since = self.known_since
            if sound and since is not None and since <= (self.next - 1) * 1000:
                bids = sorted(self.sides["bid"].items(), reverse=True)
                asks = sorted(self.sides["ask"].items())
                copy = [level for _, level in bids], [level for _, level in asks]
                self.seconds[self.next] = (self.last_id, *copy)
            else:
                self.seconds[self.next] = None
            self.next += 1

    def apply(self, event: DepthEvent) -> None:
        self.last_id = event.last_id
        for side, changes in (("bid", event.bids), ("ask", event.asks)):
            for price, quantity in changes:
                if Decimal(quantity):
                    self.sides[side][Decimal(price)] = (price, quantity)
                else:
                    self.sides[side].pop(Decimal(price), None)


class World:
    """One random stream, its owner with a recorder, and the twin."""

    def __init__(self, seed: int, rule: SequenceRule, exotic: bool, levels: int = 1000) -> None:
        self.draw = random.Random(seed)
        self.rule, self.exotic = rule, exotic
        self.sync = BookSync(S, rule)
        self.recorder = HistoryRecorder(self.sync, BlockBuilder(S, levels=levels, length=LENGTH))
        self.twin = Twin()
        self.ms, self.last_id = 100_000, 100
        self.entries: list[tuple[int, DepthEvent]] = []
        self.blocks: dict[int, HistoryBlock] = {}

    def number(self, text: str) -> str:
        return self.draw.choice((text, f"{text}0", f"0{text}", text.rstrip("0"))) if self.exotic else text

    def event(self) -> DepthEvent:
        draw = self.draw
        u = self.last_id + draw.randint(1, 5)
        changes: list[list[Level]] = []
        for first in (-50, 1):
            side = []
            for _ in range(draw.randint(0, 6)):
                quantity = draw.choice(("0", "0.00", "0e0")) if draw.random() < 0.4 else None
                price = f"{100 + (first + draw.randint(0, 49)) / 10:.1f}"
                side.append((self.number(price), quantity or self.number(f"{draw.randint(1, 30) / 10:.1f}")))
            changes.append(side)
        spot = self.rule is SequenceRule.SPOT
        event = DepthEvent(S, self.last_id + 1, u, -1 if spot else self.last_id, self.ms, 0, *changes)
        self.last_id = u
        return event

    def step(self) -> None:
        draw = self.draw
        self.ms += draw.choice((0, 1, 40, 300, 900, 1000, 2700))
        event = self.event()
        if draw.random() < 0.03:
            return  # lost on the way
        self.entries.append((self.ms, event))
        was_synced = self.sync.state.value == "synced"
        self.recorder.before(event, self.ms)
        outcome = self.sync.on_event(event, self.ms)
        self.recorder.after(event, outcome)
        sound = was_synced and outcome is Outcome.APPLIED
        if not self.twin.next:
            self.twin.next = (self.ms - 1) // 1000 + 1
        self.twin.close(self.ms, sound)
        if sound:
            self.twin.apply(event)
        elif outcome is Outcome.GAP:
            self.twin.known_since = None
        if not sound and draw.random() < 0.4:
            bids, asks = [("95.5", "1.0"), ("95.4", "2.0")], [("104.5", "1.0")]
            self.sync.on_snapshot(Snapshot(S, event.last_id, bids, asks, limit=100), self.ms)
            self.twin.sides = {
                "bid": {Decimal(level[0]): level for level in bids},
                "ask": {Decimal(level[0]): level for level in asks},
            }
            self.twin.last_id, self.twin.known_since = event.last_id, self.ms
            if self.rule is SequenceRule.FUTURES:  # the event with u = L is applied again
                self.twin.apply(event)

    def run(self, events: int) -> World:
        for _ in range(events):
            self.step()
            if self.draw.random() < 0.1:
                self.take()
        self.take()
        return self

    def take(self) -> None:
        builder = self.recorder.builder
        for block in [*builder.blocks, builder.block()]:
            if block is not None:
                block.check()
                self.blocks[block.start] = HistoryBlock.decode(block.encode())
        builder.blocks.clear()

    def block_of(self, second: int) -> HistoryBlock:
        return self.blocks[second - second % LENGTH]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(CHAINED), st.booleans())
def test_every_second_equals_the_naive_copy(seed: int, rule: SequenceRule, exotic: bool) -> None:
    world = World(seed, rule, exotic).run(150)
    for second, copy in world.twin.seconds.items():
        block = world.block_of(second)
        block.check()
        found = block.book_at(second)
        if copy is None:
            assert isinstance(found, Unknown), second
            assert found.reason
            assert isinstance(block.quantity_at("99.0", second), Unknown)
        else:
            assert isinstance(found, BookAt), found
            assert (found.update_id, found.bids, found.asks) == copy, second
            assert block.book_at(second, 2) == found._replace(bids=found.bids[:2], asks=found.asks[:2])
    known = sum(copy is not None for copy in world.twin.seconds.values())
    assert sum(block.known_seconds for block in world.blocks.values()) == known


def known_books(world: World) -> list[tuple[HistoryBlock, BookAt]]:
    found = []
    for block in world.blocks.values():
        for second in range(block.first, block.last + 1):
            book = block.book_at(second)
            if isinstance(book, BookAt):
                found.append((block, book))
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9), st.booleans())
def test_prices_are_answered_as_a_scan_of_the_book_would(seed: int, exotic: bool) -> None:
    world = World(seed, SequenceRule.FUTURES, exotic, levels=12).run(120)
    draw = world.draw
    for block, book in known_books(world):
        levels = [("bid", *level) for level in book.bids] + [("ask", *level) for level in book.asks]
        for price in (f"{draw.randint(900, 1100) / 10:.1f}", f"{draw.randint(90, 110)}.05"):
            target = Decimal(price)
            answer = block.quantity_at(price, book.second)
            at = next(((side, quantity) for side, text, quantity in levels if Decimal(text) == target), None)
            if not Decimal(book.known_low) <= target <= Decimal(book.known_high):
                assert answer == Unknown(book.second, OUTSIDE)
            else:
                assert answer == QuantityAt(book.second, *(at or (None, "0")))
            nearest = block.nearest(price, book.second)
            scan = min(
                (abs(Decimal(text) - target), Decimal(text), side == "ask", text, quantity)
                for side, text, quantity in levels
            )
            assert isinstance(nearest, NearestAt)
            assert (nearest.price, nearest.quantity) == scan[3:]
        series = dict(block.series("99.9", block.first - 2, block.last + 2))
        assert list(series) == list(range(block.first - 2, block.last + 3))
        one = block.quantity_at("99.9", book.second)
        assert series[book.second] == (one.quantity if isinstance(one, QuantityAt) else None)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
def test_a_range_cut_by_its_levels_is_told_and_right_inside(seed: int) -> None:
    world = World(seed, SequenceRule.SPOT, False, levels=4).run(150)
    for _, book in known_books(world):
        copy = world.twin.seconds[book.second]
        assert copy is not None
        low, high = Decimal(book.known_low), Decimal(book.known_high)
        assert book.bids == [level for level in copy[1] if Decimal(level[0]) >= low]
        assert book.asks == [level for level in copy[2] if Decimal(level[0]) <= high]
        assert len(book.bids) >= min(2, len(copy[1]))
        assert len(book.asks) >= min(2, len(copy[2]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(CHAINED))
def test_a_block_carried_on_by_anybody_says_what_its_owner_says(seed: int, rule: SequenceRule) -> None:
    world = World(seed, rule, False).run(60)
    world.recorder.builder.blocks.clear()
    partial = world.recorder.builder.block()
    assert partial is not None
    taken = len(world.entries)
    world.run(60)
    fold = HistoryFold(HistoryBlock.decode(partial.encode()), BookRule(rule))
    for ms, event in world.entries:
        if ms > partial.last * 1000:
            fold.take(event, ms)
    assert taken < len(world.entries)
    current = fold.builder.block()
    assert current is not None
    agreed = 0
    for block in [*fold.builder.blocks, current]:
        block.check()
        for second in range(block.first, block.last + 1):
            mine, theirs = block.book_at(second), world.block_of(second).book_at(second)
            if isinstance(mine, BookAt):
                assert isinstance(theirs, BookAt)
                assert (mine.update_id, mine.bids, mine.asks) == (theirs.update_id, theirs.bids, theirs.asks)
                agreed += 1
            elif fold.sound:  # without a gap it knows as much as the owner
                assert isinstance(theirs, Unknown)
    assert agreed or not fold.sound or all(copy is None for copy in world.twin.seconds.values())


def test_what_keeps_a_second_from_being_known() -> None:
    sync = BookSync(S, SequenceRule.SPOT)
    builder = BlockBuilder(S, length=60)
    recorder = HistoryRecorder(sync, builder)

    def event(number: int, ms: int, bids: list[Level], *, follows: bool = True) -> None:
        first = number if follows else number - 1
        one = DepthEvent(S, first, number, -1, ms, 0, bids, [])
        recorder.before(one, ms)
        recorder.after(one, sync.on_event(one, ms))

    event(1, 60_100, [])
    sync.on_snapshot(Snapshot(S, 1, [("10", "1"), ("9", "1")], [("11", "1"), ("12", "1")], limit=2), 0)
    event(2, 61_100, [("10", "2")])  # second 61: synced within it
    event(3, 62_500, [])  # 62: known
    event(4, 63_500, [("11", "1")])  # 63: known; crossed from here
    event(5, 64_500, [("11", "0")])  # 64: crossed; not any more, but in a part of second 65
    event(6, 66_500, [])  # 65: crossed in a part; 66: known
    event(7, 67_500, [("10", "0"), ("9", "0")])  # 67: known; no bid is known any more
    event(8, 68_500, [("10", "1")])  # 68: beyond the known range
    event(9, 70_500, [])  # 69: was beyond it in a part
    event(9, 75_000, [], follows=False)  # a copy proves nothing
    event(20, 75_100, [])  # gap: nothing is known after 70
    block = builder.block()
    assert block is not None
    block.check()
    reasons = {
        second: reason for first, last, reason in block.unknown_runs() for second in range(first, last + 1)
    }
    assert reasons == {
        61: "waiting",
        64: "crossed",
        65: "crossed",
        68: "beyond range",
        69: "beyond range",
        **dict.fromkeys(range(71, 76), "gap"),
    }
    assert block.quantity_at("10", 62) == QuantityAt(62, "bid", "2")
    assert block.quantity_at("8.99", 62) == Unknown(62, OUTSIDE)
    assert block.book_at(76) == Unknown(76, NOT_REACHED)
    assert block.book_at(60) == Unknown(60, NOT_RECORDED)
    with pytest.raises(ValueError, match="not the next one"):
        builder.unknown(78, "later")


def test_hours_without_anything_known_are_not_written_down() -> None:
    sync = BookSync(S, SequenceRule.SPOT)
    builder = BlockBuilder(S, length=60)
    recorder = HistoryRecorder(sync, builder)
    for number, ms in enumerate((60_100, 61_100, 61_100 + 7_200_000, 61_100 + 7_201_000), start=1):
        one = DepthEvent(S, number, number, -1, ms, 0, [], [])
        recorder.before(one, ms)
        recorder.after(one, sync.on_event(one, ms))
    current = builder.block()
    assert current is not None
    assert [(block.first, block.last) for block in [*builder.blocks, current]] == [(61, 61), (7262, 7262)]


def test_a_block_of_another_length_is_left_alone() -> None:
    world = World(3, SequenceRule.SPOT, False).run(40)
    block = world.recorder.builder.block()
    assert block is not None
    builder = BlockBuilder(S, length=60)
    builder.resume(block)
    assert builder.next_second == block.last + 1
    builder.unknown(block.last + 1, "waiting")
    current = builder.block()
    assert current is not None
    assert (current.first, current.last, current.length) == (block.last + 1, block.last + 1, 60)


def test_the_known_range_of_each_second_is_the_books() -> None:
    book = OrderBook(max_levels=4)
    narrow = [("10", "1"), ("9", "1")], [("11", "1"), ("12", "1")]
    book.load(Snapshot(S, 1, *narrow, limit=2))
    builder = BlockBuilder(S, length=60)
    builder.known(60, book, 1)
    newer = OrderBook(max_levels=4)
    newer.load(Snapshot(S, 2, [*narrow[0], ("8", "3")], [*narrow[1], ("13", "3")], limit=3))
    assert book.succeed(newer) == []
    builder.known(61, book, 2)
    more = [("9.8", "1"), ("9.6", "1"), ("9.4", "1")]
    book.apply(more, [])
    builder.touch(more, [])
    builder.known(62, book, 3)  # four levels are held of six: the book knows less again
    block = builder.block()
    assert block is not None
    block.check()
    ranges = [block.book_at(second) for second in (60, 61, 62)]
    assert [one[2:4] for one in ranges] == [("9", "12"), ("8", "13"), ("9.4", "13")]
    assert block.quantity_at("8", 60) == Unknown(60, OUTSIDE)
    assert block.quantity_at("8", 61) == QuantityAt(61, "bid", "3")
    assert block.quantity_at("9", 62) == Unknown(62, OUTSIDE)


def test_a_book_that_moves_away_within_a_block_stays_known() -> None:
    book = OrderBook()
    book.load(Snapshot(S, 1, [(f"{100 - n}", "1") for n in range(50)], [("101", "1")], limit=100))
    builder = BlockBuilder(S, levels=10, length=60)
    builder.known(60, book, 1)
    for second in range(61, 75):
        gone = [(f"{100 - n}", "0") for n in range((second - 61) * 3, (second - 60) * 3)]
        book.apply(gone, [])
        builder.touch(gone, [])
        builder.known(second, book, second)
        block = builder.block()
        assert block is not None
        block.check()
        found = block.book_at(second)
        assert isinstance(found, BookAt)
        assert len(found.bids) >= 5
        assert found.bids == book.top(len(found.bids))[0]
        assert isinstance(block.book_at(60), BookAt)
