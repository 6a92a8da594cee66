"""Walls: levels that are much larger than their neighbours, and stay.

A large level is a candidate; when it has been one for `persist_ms` it is a wall, and told. It ends when its
quantity has fallen below `end_share` of the most it had: *eaten* if at least half of what it lost was traded at its
price, else *vanished*. A wall that leaves the levels which are looked at is neither: it is forgotten after
`unseen_ms`, without an event.
"""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct

from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.model.analytics.figures import FloatLevels
from workers.model.books.order_book import Side


class WallParameters(Struct, frozen=True):
    """When a level is a wall.

    ratio: its quantity over the median of the other levels of its side that are looked at.
    levels: best levels of a side that are looked at.
    persist_ms: how long it has to be large.
    end_share: part of its largest quantity below which it is over.
    eaten_share: part of what it lost that must have been traded, to be called eaten.
    unseen_ms: how long it is remembered out of sight.
    """

    ratio: float = 6.0
    levels: int = 20
    persist_ms: int = 2000
    end_share: float = 0.4
    eaten_share: float = 0.5
    unseen_ms: int = 60_000


class Wall(Struct):
    """A level that is large; `told` once it has persisted."""

    side: Side
    price: float
    since_us: int
    quantity: float
    most: float
    ratio: float
    traded: float = 0.0
    seen_us: int = 0
    told: bool = False


LEAST_NEIGHBOURS = 4
"""With fewer other levels on a side nothing is called large."""


class WallDetector:
    """The walls of one book.

    Memory: candidates are levels that are or were among the best `levels`, at most `2 * levels` a side: with more
    the one that was not seen for longest is forgotten.
    """

    __slots__ = ("_walls", "parameters")

    def __init__(self, parameters: WallParameters) -> None:
        self.parameters = parameters
        self._walls: dict[Side, dict[float, Wall]] = {"bid": {}, "ask": {}}

    def clear(self) -> None:
        """There is no book any more."""
        for walls in self._walls.values():
            walls.clear()

    def walls(self) -> list[Wall]:
        """Those that were told and stand, largest ratio first."""
        told = [wall for walls in self._walls.values() for wall in walls.values() if wall.told]
        return sorted(told, key=lambda wall: -wall.ratio)

    def on_trade(self, resting: Side, price: float, quantity: float) -> None:
        """A trade with what rests on a side."""
        wall = self._walls[resting].get(price)
        if wall is not None:
            wall.traded += quantity

    def on_levels(self, bids: FloatLevels, asks: FloatLevels, now_us: int) -> list[AnalyticsEvent]:
        """The best levels as they are now. O(levels log levels)."""
        events: list[AnalyticsEvent] = []
        sides: tuple[tuple[Side, FloatLevels], ...] = (("bid", bids), ("ask", asks))
        for side, levels in sides:
            self._look_at(side, levels[: self.parameters.levels], now_us, events)
        return events

    def _look_at(self, side: Side, levels: FloatLevels, now_us: int, events: list[AnalyticsEvent]) -> None:
        walls = self._walls[side]
        quantities = dict(levels)
        ordered = sorted(quantities.values())
        for price, quantity in quantities.items():
            ratio = ratio_to_others(ordered, quantity)
            wall = walls.get(price)
            if wall is None and ratio >= self.parameters.ratio:
                walls[price] = Wall(side, price, now_us, quantity, quantity, ratio, seen_us=now_us)
            elif wall is not None:
                wall.quantity, wall.ratio, wall.seen_us = quantity, ratio, now_us
                wall.most = max(wall.most, quantity)
        for wall in list(walls.values()):
            self._judge(wall, levels, quantities, now_us, events)
        while len(walls) > 2 * self.parameters.levels:
            del walls[min(walls, key=lambda price: walls[price].seen_us)]

    def _judge(
        self,
        wall: Wall,
        levels: FloatLevels,
        quantities: dict[float, float],
        now_us: int,
        events: list[AnalyticsEvent],
    ) -> None:
        """What is to be told of a wall, and whether it is over."""
        walls, rules = self._walls[wall.side], self.parameters
        if wall.price not in quantities:
            if not self._in_sight(wall, levels):
                if now_us - wall.seen_us > rules.unseen_ms * 1000:
                    del walls[wall.price]
                return
            wall.quantity = 0.0
        if wall.quantity < wall.most * rules.end_share:
            del walls[wall.price]
            if wall.told:
                eaten = wall.traded >= (wall.most - wall.quantity) * rules.eaten_share
                events.append(_event("wall_eaten" if eaten else "wall_vanished", wall, now_us))
        elif not wall.told and wall.ratio < rules.ratio:
            del walls[wall.price]
        elif not wall.told and now_us - wall.since_us >= rules.persist_ms * 1000:
            wall.told = True
            events.append(_event("wall_appeared", wall, now_us))

    def _in_sight(self, wall: Wall, levels: FloatLevels) -> bool:
        """Whether the levels reach its price, so that its absence says it is gone."""
        if len(levels) < self.parameters.levels:
            return True
        last = levels[-1][0]
        return wall.price > last if wall.side == "bid" else wall.price < last

    def check(self) -> None:
        """Assert every invariant."""
        for side, walls in self._walls.items():
            assert len(walls) <= 2 * self.parameters.levels
            for price, wall in walls.items():
                assert (wall.side, wall.price) == (side, price)
                assert wall.quantity <= wall.most
                assert wall.since_us <= wall.seen_us or wall.told
                assert wall.traded >= 0


def ratio_to_others(ordered: list[float], quantity: float) -> float:
    """A quantity over the median of the others, of all in ascending order; 0 with too few. O(log n)."""
    others = len(ordered) - 1
    if others < LEAST_NEIGHBOURS:
        return 0.0
    place = bisect_left(ordered, quantity)

    def other(index: int) -> float:
        return ordered[index if index < place else index + 1]

    middle = (other((others - 1) // 2) + other(others // 2)) / 2
    return quantity / middle if middle > 0 else 0.0


def _event(kind: EventKind, wall: Wall, now_us: int) -> AnalyticsEvent:
    figures = {
        "quantity": wall.quantity, "most": wall.most, "ratio": wall.ratio, "traded": wall.traded,
        "age_ms": (now_us - wall.since_us) / 1000,
    }  # fmt: skip
    return AnalyticsEvent(kind, wall.side, wall.price, now_us, figures)
