"""What the detectors say of a tape, and how much of it is right."""

from __future__ import annotations

from dataclasses import dataclass, field

from detection.market import TOP_US, Market, Planted, Record, Trade
from detection.participants import Participants
from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.flicker import FlickerParameters, OrderFlicker
from workers.model.analytics.icebergs import IcebergDetector, IcebergParameters
from workers.model.analytics.level2_icebergs import Level2IcebergDetector, Level2IcebergParameters
from workers.model.analytics.order_flow import order_events
from workers.model.analytics.walls import WallDetector, WallParameters
from workers.model.level3.events import OrderMessage
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.model.level3.sync import OrderSync

RULES = OrderRules(Continuity.ELSEWHERE, Beginning.EMPTY, keeps_place=False, unknown=Unknown.LOSS)


@dataclass
class Detected:
    """What the detectors said of a tape, by their names."""

    level3: list[AnalyticsEvent] = field(default_factory=list)
    level2: list[AnalyticsEvent] = field(default_factory=list)
    walls: list[AnalyticsEvent] = field(default_factory=list)
    flicker: list[AnalyticsEvent] = field(default_factory=list)


def detect(tape: list[Record]) -> Detected:
    """Level 3 reads the orders alone; level 2 reads trades and the best levels of every 100 ms."""
    found, sync = Detected(), OrderSync("TAPE", RULES)
    icebergs, flicker = IcebergDetector(IcebergParameters()), OrderFlicker(FlickerParameters())
    level2, walls = Level2IcebergDetector(Level2IcebergParameters()), WallDetector(WallParameters())
    for now, record in tape:
        if isinstance(record, OrderMessage):
            for event in order_events(sync.book, record, moves=sync.rules.moves):
                found.level3 += icebergs.on_event(event)
                found.flicker += [told] if (told := flicker.on_event(event)) else []
            sync.on_message(record)
            assert sync.synced, sync.reason
        elif isinstance(record, Trade):
            level2.on_trade(record.resting, record.price, record.quantity, now)
            walls.on_trade(record.resting, record.price, record.quantity)
        else:
            found.level2 += level2.on_levels(record.bids, record.asks, now)
            found.walls += walls.on_levels(record.bids, record.asks, now)
    for detector in (icebergs, flicker, level2, walls):
        detector.check()
    return found


@dataclass
class Score:
    """Detections, how many of them were right; of what was there, how much could be seen, and was found."""

    detections: int = 0
    right: int = 0
    there: int = 0
    found: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.detections + other.detections,
            self.right + other.right,
            self.there + other.there,
            self.found + other.found,
        )

    @property
    def precision(self) -> float:
        return self.right / self.detections if self.detections else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.there if self.there else 1.0


LATE_US = 300_000
"""What is told so shortly after the end of what it was of is right: level 2 is told every 100 ms."""


def fits(plant: Planted, event: AnalyticsEvent) -> bool:
    """Where the event names an order that has to be one of the plant's; else side, price and time have to agree."""
    if event.order_id:
        return event.order_id in plant.order_ids
    at_price = (event.side, event.price) == (plant.side, plant.price)
    return at_price and plant.since_us <= event.time_us <= plant.until_us + LATE_US


def matches(events: list[AnalyticsEvent], plants: list[Planted]) -> list[tuple[AnalyticsEvent, Planted]]:
    """Each detection with one plant that it fits, and each plant with one detection at most.

    Of several plants a detection, in the order of time, takes the one that ends first: so most are matched.
    """
    free, matched = sorted(plants, key=lambda plant: plant.until_us), []
    for event in sorted(events, key=lambda event: event.time_us):
        plant = next((plant for plant in free if fits(plant, event)), None)
        if plant is not None:
            free.remove(plant)
            matched.append((event, plant))
    return matched


def score(events: list[AnalyticsEvent], plants: list[Planted], there: list[Planted]) -> Score:
    """Detections are matched with all that was planted; of those that were `there` to be seen each should be."""
    matched = matches(events, plants)
    return Score(len(events), len(matched), len(there), sum(plant in there for _, plant in matched))


def of_kind(events: list[AnalyticsEvent], kind: str) -> list[AnalyticsEvent]:
    return [event for event in events if event.kind == kind]


def scores(market: Market, found: Detected) -> dict[str, Score]:
    """An iceberg can be seen once a part was refilled, a wall once it was in sight as long as a wall has to last."""
    icebergs = [plant for plant in market.planted if plant.kind.startswith("iceberg")]
    walls = [plant for plant in market.planted if plant.kind == "wall"]
    results = {}
    for name, events in (("level 3", found.level3), ("level 2", found.level2)):
        for least in (1, 2, 3):
            there = [plant for plant in icebergs if plant.refills >= least]
            key = f"icebergs, {name}, {least} or more refills"
            results[key] = score(of_kind(events, "iceberg_found"), icebergs, there)
        confirmed = of_kind(events, "iceberg_confirmed")
        there = [plant for plant in icebergs if plant.refills >= 3]
        results[f"icebergs, {name}, confirmed"] = score(confirmed, icebergs, there)
    lasting = WallParameters().persist_ms * 1000 + 2 * TOP_US
    there = [plant for plant in walls if plant.in_sight_us >= lasting]
    results["walls, level 2"] = score(of_kind(found.walls, "wall_appeared"), walls, there)
    return results


def hidden_errors(market: Market, events: list[AnalyticsEvent]) -> list[float]:
    """Estimated by true hidden size, of every iceberg that was found rightly and had something left."""
    ratios = []
    icebergs = [plant for plant in market.planted if plant.hidden_at]
    for event, plant in matches(of_kind(events, "iceberg_found"), icebergs):
        left = [hidden for time_us, hidden in plant.hidden_at if time_us <= event.time_us][-1:]
        ratios += [event.figures["hidden"] / hidden for hidden in left if hidden > 1e-6]
    return sorted(ratios)


def measure(seeds: range, seconds: float) -> tuple[dict[str, Score], list[float], list[float]]:
    totals: dict[str, Score] = {}
    level3, level2 = [], []
    for seed in seeds:
        market = Participants(seed)
        found = detect(market.run(seconds))
        for name, result in scores(market, found).items():
            totals[name] = totals.get(name, Score()) + result
        level3 += hidden_errors(market, found.level3)
        level2 += hidden_errors(market, found.level2)
    return totals, sorted(level3), sorted(level2)
