"""History blocks against a naive twin that keeps a full copy of the book each second."""

from __future__ import annotations

import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.model.events import DepthEvent, Level, Snapshot
from workers.model.history import (
    BookAt,
    HistoryBlock,
    Unknown,
)
from workers.model.history_builder import BlockBuilder
from workers.model.history_recorder import HistoryRecorder
from workers.model.sync import BookSync, Outcome, SequenceRule

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
@given(st.integers(0, 10**9), st.sampled_from(SequenceRule), st.booleans())
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
