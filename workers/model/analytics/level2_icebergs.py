"""Icebergs in level 2: levels at which more is traded than they lose.

Level 2 names no orders. What it has: trades with what rests at a price, and how much of the level is left
afterwards. Where the level does not lose what was traded, somebody put it back; so does anybody's new order in the
same moment. So it takes several such steps, and more traded than was ever visible at once. Weaker than level 3 by
its nature; figures in docs/analytics.md.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from msgspec import Struct

from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.model.analytics.figures import FloatLevels
from workers.model.books.order_book import Side


class Level2IcebergParameters(Struct, frozen=True):
    """What the evidence weighs.

    found, confirmed: confidence from which on an iceberg is told, and told to be confirmed.
    found_traded, confirmed_traded: and what was traded by then, as a multiple of the most that was visible at once.
    least_taken: part of the visible quantity that trades must have taken for the step to say anything.
    refilled, not_refilled: part of what was taken that came back at once: from the first on evidence for, below the
        second against.
    evidence, counter_evidence: what such a step adds to the logarithm of the odds.
    prior: how many of the levels that are traded at hold an iceberg.
    idle_ms: after that long without a trade the level is forgotten.
    """

    found: float = 0.75
    confirmed: float = 0.95
    found_traded: float = 1.5
    confirmed_traded: float = 3.0
    least_taken: float = 0.3
    refilled: float = 0.7
    not_refilled: float = 0.2
    evidence: float = 1.6
    counter_evidence: float = -1.2
    prior: float = 0.02
    idle_ms: int = 30_000


MOST_LEVELS = 500
"""Levels with trades that are looked after; beyond it the one that nothing was traded at for longest is forgotten."""


class RefilledLevel(Struct):
    """A level with trades. pending: traded since the book was last told; most: ever visible at once."""

    side: Side
    price: float
    odds: float
    since_us: int
    last_us: int
    visible: float
    most: float
    pending: float = 0.0
    traded: float = 0.0
    refills: int = 0
    told: int = 0

    @property
    def confidence(self) -> float:
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.odds))))

    @property
    def hidden(self) -> float:
        """What may still come: as much as was hidden so far, as if half of an unknown total were over."""
        return max(0.0, self.traded - self.most)


class Level2IcebergDetector:
    """The levels of one book that are refilled.

    Memory: `MOST_LEVELS` levels, and the best ones as they were last told.
    """

    __slots__ = ("_levels", "_visible", "parameters")

    def __init__(self, parameters: Level2IcebergParameters) -> None:
        self.parameters = parameters
        self.clear()

    def clear(self) -> None:
        """There is no book any more."""
        self._levels: OrderedDict[tuple[Side, float], RefilledLevel] = OrderedDict()
        self._visible: dict[Side, dict[float, float]] = {"bid": {}, "ask": {}}

    def icebergs(self) -> list[RefilledLevel]:
        """Those that were told, most confident first."""
        return sorted((level for level in self._levels.values() if level.told), key=lambda level: -level.odds)

    def on_trade(self, resting: Side, price: float, quantity: float, now_us: int) -> None:
        """A trade with what rests on a side, told before the book that has it. O(1)."""
        key = resting, price
        level = self._levels.get(key)
        if level is None:
            visible = self._visible[resting].get(price, 0.0)
            if not visible:
                return
            prior = self.parameters.prior
            odds = math.log(prior / (1 - prior))
            level = self._levels[key] = RefilledLevel(resting, price, odds, now_us, now_us, visible, visible)
            if len(self._levels) > MOST_LEVELS:
                self._levels.popitem(last=False)
        level.pending += quantity
        level.traded += quantity
        level.last_us = now_us
        self._levels.move_to_end(key)

    def on_levels(self, bids: FloatLevels, asks: FloatLevels, now_us: int) -> list[AnalyticsEvent]:
        """The best levels as they are after the trades that were told. O(levels)."""
        self._visible = {"bid": dict(bids), "ask": dict(asks)}
        events: list[AnalyticsEvent] = []
        limit = now_us - self.parameters.idle_ms * 1000
        for level in list(self._levels.values()):
            visible = self._visible[level.side].get(level.price, 0.0)
            if level.pending:
                self._step(level, visible)
            level.visible, level.pending = visible, 0.0
            level.most = max(level.most, visible)
            self._tell(level, now_us, events)
            if not visible or level.last_us < limit:
                del self._levels[level.side, level.price]
                if level.told:
                    events.append(_event("iceberg_exhausted", level, now_us))
        return events

    def _step(self, level: RefilledLevel, visible: float) -> None:
        """Weigh what trades took against what the level lost."""
        rules = self.parameters
        if level.pending < rules.least_taken * level.visible:
            return
        came_back = (visible - level.visible + level.pending) / level.pending
        if came_back >= rules.refilled and visible <= 2 * level.most:
            level.odds += rules.evidence
            level.refills += 1
        elif came_back < rules.not_refilled:
            level.odds += rules.counter_evidence

    def _tell(self, level: RefilledLevel, now_us: int, events: list[AnalyticsEvent]) -> None:
        rules = self.parameters
        multiple = level.traded / level.most
        if level.told < 1 and level.confidence >= rules.found and multiple >= rules.found_traded:
            level.told = 1
            events.append(_event("iceberg_found", level, now_us))
        if level.told == 1 and level.confidence >= rules.confirmed and multiple >= rules.confirmed_traded:
            level.told = 2
            events.append(_event("iceberg_confirmed", level, now_us))

    def check(self) -> None:
        """Assert every invariant."""
        assert len(self._levels) <= MOST_LEVELS
        for key, level in self._levels.items():
            assert key == (level.side, level.price)
            assert 0 <= level.pending <= level.traded * (1 + 1e-9)
            assert level.visible <= level.most
            assert level.since_us <= level.last_us or level.traded


def _event(kind: EventKind, level: RefilledLevel, now_us: int) -> AnalyticsEvent:
    figures = {
        "confidence": level.confidence, "visible": level.visible, "most": level.most, "refills": float(level.refills),
        "traded": level.traded, "hidden": 0.0 if kind == "iceberg_exhausted" else level.hidden,
        "age_ms": (now_us - level.since_us) / 1000,
    }  # fmt: skip
    return AnalyticsEvent(kind, level.side, level.price, now_us, figures)
