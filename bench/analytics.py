"""How well walls and icebergs are found: seeded tapes of a market in which they are known, and recordings.

The market is a matching engine with price-time queues. Its participants know nothing of the detectors: ordinary
orders, takers, makers that quote again at the same price, others that join a price that was just traded, large
orders that are gone at once, and icebergs of several kinds whose parts are refilled with delays of other shapes
than the detector assumes.

    python bench/analytics.py [--seeds 5] [--seconds 300] [--recording FILE]
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.flicker import FlickerParameters, OrderFlicker
from workers.model.analytics.icebergs import IcebergDetector, IcebergParameters
from workers.model.analytics.level2_icebergs import Level2IcebergDetector, Level2IcebergParameters
from workers.model.analytics.order_flow import order_events
from workers.model.analytics.walls import WallDetector, WallParameters
from workers.model.books.order_book import Side
from workers.model.level3.events import OrderChange, OrderMessage
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.model.level3.sync import OrderSync
from workers.venues.bitstamp.orders import LIVE, order_message

RULES = OrderRules(Continuity.ELSEWHERE, Beginning.EMPTY, keeps_place=False, unknown=Unknown.LOSS)
START = 10_000
"""Ticks of a hundredth."""
TOP_US = 100_000
"""Level 2 is told so often, as Binance does."""
LEVELS = 20
SIDES: tuple[Side, Side] = ("bid", "ask")
ROUND_SIZES = (0.05, 0.1, 0.1, 0.2, 0.25, 0.5, 0.5, 1.0)


def text(ticks: int) -> str:
    return f"{ticks / 100:.2f}"


@dataclass(eq=False)
class Resting:
    order_id: str
    side: Side
    ticks: int
    quantity: float
    after_fill: Callable[[Resting], None] | None = None


@dataclass(eq=False)
class Planted:
    """What is known to be there."""

    kind: str
    side: Side
    price: float
    since_us: int
    until_us: int = 1 << 62
    refills: int = 0
    hidden: float = 0.0
    hidden_at: list[tuple[int, float]] = field(default_factory=list)
    in_sight_us: int = 0
    order_ids: set[str] = field(default_factory=set)
    """Of an iceberg: the orders that showed its parts."""


@dataclass
class Trade:
    resting: Side
    price: float
    quantity: float


@dataclass
class Top:
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


Record = tuple[int, OrderMessage | Trade | Top]


class Market:
    """The matching engine, and the tape that it writes."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1_700_000_000_000_000
        self.end = self.now
        self.fair = float(START)
        self.queues: dict[Side, dict[int, list[Resting]]] = {"bid": {}, "ask": {}}
        self.planted: list[Planted] = []
        self.tape: list[Record] = []
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self._last_ids = count(1)

    def after(self, delay_us: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + max(0, int(delay_us)), next(self._numbers), what))

    def every(self, mean_us: float, what: Callable[[], None]) -> None:
        """With exponential pauses."""

        def again() -> None:
            what()
            self.after(self.rng.expovariate(1 / mean_us), again)

        self.after(self.rng.expovariate(1 / mean_us), again)

    def run(self, seconds: float) -> list[Record]:
        self.end = self.now + int(seconds * 1e6)
        self.after(TOP_US, self._tell_top)
        while self._agenda and self._agenda[0][0] <= self.end:
            self.now, _, what = heapq.heappop(self._agenda)
            what()
        return self.tape

    def best(self, side: Side) -> int | None:
        prices = self.queues[side]
        return (max(prices) if side == "bid" else min(prices)) if prices else None

    def add(self, side: Side, ticks: int, quantity: float, order_id: str = "") -> Resting:
        """At the price, or at the next one that does not take."""
        other = self.best("ask" if side == "bid" else "bid")
        if other is not None:
            ticks = min(ticks, other - 1) if side == "bid" else max(ticks, other + 1)
        order = Resting(order_id or f"{next(self._last_ids)}", side, ticks, max(round(quantity, 6), 1e-6))
        self.queues[side].setdefault(ticks, []).append(order)
        price, shown = text(ticks), f"{order.quantity:.6f}"
        self._tell(OrderChange("add", order.order_id, side, price, shown, time_us=self.now))
        return order

    def rests(self, order: Resting) -> bool:
        return order in self.queues[order.side].get(order.ticks, [])

    def cancel(self, order: Resting) -> None:
        if self.rests(order):
            self._leave(order)
            self._tell(OrderChange("remove", order.order_id, order.side, ending="cancelled"))

    def top_up(self, order: Resting, quantity: float) -> None:
        """An order gets more under its id, at the end of its queue."""
        self._leave(order)
        self.queues[order.side].setdefault(order.ticks, []).append(order)
        order.quantity = round(quantity, 6)
        price, shown = text(order.ticks), f"{order.quantity:.6f}"
        self._tell(OrderChange("set", order.order_id, order.side, price, shown))

    def take(self, side: Side, quantity: float) -> None:
        """Take what rests on a side, from its best price on."""
        while quantity > 1e-6 and (ticks := self.best(side)) is not None:
            order = self.queues[side][ticks][0]
            taken = round(min(quantity, order.quantity), 6)
            quantity -= taken
            order.quantity = round(order.quantity - taken, 6)
            self.tape.append((self.now, Trade(side, ticks / 100, taken)))
            if order.quantity > 0:
                shown = f"{order.quantity:.6f}"
                self._tell(OrderChange("set", order.order_id, side, text(ticks), shown))
            else:
                self._leave(order)
                self._tell(OrderChange("remove", order.order_id, side, ending="filled"))
            if order.after_fill is not None:
                order.after_fill(order)
            self.on_trade(side, ticks)

    def on_trade(self, side: Side, ticks: int) -> None:
        """Others see the trade."""

    def _leave(self, order: Resting) -> None:
        queue = self.queues[order.side][order.ticks]
        queue.remove(order)
        if not queue:
            del self.queues[order.side][order.ticks]

    def _tell(self, change: OrderChange) -> None:
        self.tape.append((self.now, OrderMessage(self.now, [change])))

    def _tell_top(self) -> None:
        tops = []
        for side in SIDES:
            prices = sorted(self.queues[side], reverse=side == "bid")[:LEVELS]
            tops.append(
                [(ticks / 100, sum(order.quantity for order in self.queues[side][ticks])) for ticks in prices]
            )
        self.tape.append((self.now, Top(*tops)))
        for plant in self.planted:
            if plant.until_us > self.now and any(price == plant.price for top in tops for price, _ in top):
                plant.in_sight_us += TOP_US
        self.after(TOP_US, self._tell_top)


class Participants(Market):
    """A market and who is in it. Rates are of what a busy minute of a large market looks like, near its top."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for side in SIDES:
            for distance in range(1, 40):
                self.add(side, self.ticks_at(side, distance), self.size())
        self.every(20_000, self.ordinary_order)
        self.every(120_000, self.taker)
        self.every(500_000, self.drift)
        self.every(2_500_000, self.start_iceberg)
        self.every(4_000_000, self.start_large)
        for _ in range(6):
            self.start_maker()

    def ticks_at(self, side: Side, distance: float) -> int:
        return round(self.fair - distance if side == "bid" else self.fair + distance)

    def size(self) -> float:
        rng = self.rng
        return rng.choice(ROUND_SIZES) if rng.random() < 0.4 else rng.lognormvariate(-1.5, 1.0)

    def drift(self) -> None:
        self.fair += self.rng.gauss(0, 0.7)

    def ordinary_order(self) -> None:
        rng, side = self.rng, self.rng.choice(SIDES)
        order = self.add(side, self.ticks_at(side, 0.5 + rng.expovariate(1 / 7)), self.size())
        life_us = rng.choice((80_000, 800_000, 6_000_000, 25_000_000))
        self.after(rng.expovariate(1 / life_us), lambda: self.cancel(order))

    def taker(self) -> None:
        """One trade, or a slicer's series of equal ones."""
        rng, side = self.rng, self.rng.choice(SIDES)
        quantity = self.size() * (8 if rng.random() < 0.05 else 1)
        for number in range(rng.randint(5, 15) if rng.random() < 0.15 else 1):
            self.after(number * rng.uniform(20_000, 300_000), lambda: self.take(side, quantity))

    def on_trade(self, side: Side, ticks: int) -> None:
        """Fast others join a price that was traded at: some within a millisecond, some of a common size."""
        if self.rng.random() < 0.15:
            delay = self.rng.choice((self.rng.uniform(200, 3_000), self.rng.uniform(5_000, 60_000)))
            self.after(delay, lambda: self.join(side, ticks))

    def join(self, side: Side, ticks: int) -> None:
        order = self.add(side, ticks, self.size())
        self.after(self.rng.expovariate(1 / 1_500_000), lambda: self.cancel(order))

    def start_maker(self) -> None:
        """Quotes both sides; when filled it quotes again at the same price, mostly as much as before, after a latency
        of its own; when the market has moved it withdraws and quotes elsewhere."""
        size, same_size = self.rng.choice(ROUND_SIZES), self.rng.random() < 0.6
        median_us = self.rng.choice((4_000, 12_000, 40_000, 120_000))
        for side in SIDES:
            self.maker_quotes(side, size, median_us, same_size=same_size)

    def maker_quotes(
        self, side: Side, size: float, median_us: float, *, same_size: bool, ticks: int | None = None
    ) -> None:
        rng = self.rng
        at = self.ticks_at(side, rng.uniform(0.6, 3)) if ticks is None else ticks
        order = self.add(side, at, size if same_size else size * rng.uniform(0.5, 1.5))

        def quote_again(after_us: float, ticks: int | None) -> None:
            self.after(
                after_us,
                lambda: self.maker_quotes(side, size, median_us, same_size=same_size, ticks=ticks),
            )

        def filled(order: Resting) -> None:
            if order.quantity <= 0:
                same_price = rng.random() < 0.7
                quote_again(median_us * rng.lognormvariate(0, 0.5), order.ticks if same_price else None)

        def withdraw() -> None:
            if self.rests(order):
                self.cancel(order)
                quote_again(rng.uniform(1_000, 20_000), None)

        order.after_fill = filled
        self.after(rng.expovariate(1 / 4_000_000), withdraw)

    def start_large(self) -> None:
        """A wall that stays, or a large order that is gone before it is one."""
        rng, side = self.rng, self.rng.choice(SIDES)
        stays = rng.random() < 0.6
        order = self.add(side, self.ticks_at(side, rng.uniform(2, 14)), rng.uniform(8, 30))
        plant = Planted("wall" if stays else "decoy", side, order.ticks / 100, self.now)
        self.planted.append(plant)

        def end() -> None:
            self.cancel(order)
            plant.until_us = min(plant.until_us, self.now)

        def filled(order: Resting) -> None:
            if order.quantity <= 0:
                plant.until_us = self.now

        order.after_fill = filled
        self.after(rng.uniform(6e6, 40e6) if stays else rng.uniform(1e5, 1.5e6), end)

    def start_iceberg(self) -> None:
        rng, side = self.rng, self.rng.choice(SIDES)
        kind = rng.choice(("native", "topped up", "new id", "new id", "broker"))
        at = self.ticks_at(side, rng.uniform(0.5, 2.5))
        IcebergOwner(self, kind, side, at, rng.choice(ROUND_SIZES), rng.randint(3, 25))


class IcebergOwner:
    """An iceberg: `parts` of a size, one after the other. One in five varies its size."""

    def __init__(
        self, market: Participants, kind: str, side: Side, ticks: int, size: float, parts: int
    ) -> None:
        rng = market.rng
        self.market, self.kind, self.size, self.left = market, kind, size, size * parts
        self.varies = 0.2 if kind != "topped up" and rng.random() < 0.2 else 0.0
        self.order = market.add(side, ticks, self.next_part())
        self.order.after_fill = self.after_fill
        self.plant = Planted(f"iceberg, {kind}", side, self.order.ticks / 100, market.now)
        market.planted.append(self.plant)
        self.plant.order_ids.add(self.order.order_id)
        self.tell_hidden()
        market.after(rng.uniform(10e6, 60e6), self.withdraw)

    def next_part(self) -> float:
        part = min(self.left, self.size * self.market.rng.uniform(1 - self.varies, 1 + self.varies))
        self.left = max(0.0, self.left - part)
        return part

    def tell_hidden(self) -> None:
        self.plant.hidden_at.append((self.market.now, self.left))

    def after_fill(self, order: Resting) -> None:
        rng = self.market.rng
        if order.quantity > 0:
            if self.kind == "topped up" and self.left > 1e-6:
                more = min(self.left, self.size - order.quantity)
                self.left -= more
                self.plant.refills += 1
                self.market.top_up(order, order.quantity + more)
                self.tell_hidden()
            return
        if self.left <= 1e-6:
            self.plant.until_us = min(self.plant.until_us, self.market.now)
        elif self.kind in ("native", "topped up"):
            self.refill()
        elif self.kind == "new id":
            self.market.after(rng.choice((0, 0, rng.uniform(0, 1500))), self.refill)
        else:
            self.market.after(rng.uniform(2_000, 25_000), self.refill)

    def refill(self) -> None:
        if self.market.now >= self.plant.until_us:
            return
        native = self.kind in ("native", "topped up")
        order_id = self.order.order_id if native else ""
        self.order = self.market.add(self.order.side, self.order.ticks, self.next_part(), order_id)
        self.order.after_fill = self.after_fill
        self.plant.order_ids.add(self.order.order_id)
        self.plant.refills += self.order.ticks / 100 == self.plant.price
        self.tell_hidden()

    def withdraw(self) -> None:
        self.plant.until_us = min(self.plant.until_us, self.market.now)
        self.market.cancel(self.order)


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


def quartiles(ratios: list[float]) -> str:
    return ", ".join(f"{ratios[len(ratios) * part // 4]:.2f}" for part in (1, 2, 3)) if ratios else "none"


def read_recording(path: Path) -> Iterator[OrderMessage]:
    """Bitstamp's `live_orders`, a frame a line."""
    for line in path.read_bytes().splitlines():
        if b'"order_' in line[:2000] and b"subscription" not in line[:60]:
            yield order_message("bitstamp", line)


def report_recording(path: Path) -> None:
    sync, happened, told = OrderSync("recording", LIVE), Counter[str](), []
    icebergs, flicker = IcebergDetector(IcebergParameters()), OrderFlicker(FlickerParameters())
    first = last = 0
    for message in read_recording(path):
        first, last = first or message.time_us, message.time_us
        for event in order_events(sync.book, message, moves=LIVE.moves):
            happened[event.what] += 1
            told += icebergs.on_event(event)
            flicker.on_event(event)
        sync.on_message(message)
    print(f"{path.name}: {(last - first) / 1e6:.1f} s, {dict(happened)}")
    candidates = sorted(icebergs._chains.values(), key=lambda chain: -chain.refills)[:3]
    for chain in candidates:
        print(
            f"  most refilled: {chain.side} {chain.price} refills {chain.refills} confidence {chain.confidence:.3f}"
        )
    for side in SIDES:
        shown, times = flicker.counter.counts(side, last)
        print(
            f"  {side}: {shown} orders near the top, {times} withdrawn within {FlickerParameters().lived_ms:.0f} ms"
        )
    print(
        "  told:", json.dumps([f"{event.kind} {event.side} {event.price} {event.figures}" for event in told])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="How well walls and icebergs are found.")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--recording", type=Path)
    settings = parser.parse_args()
    if settings.recording:
        report_recording(settings.recording)
        return
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    totals, level3, level2 = measure(seeds, settings.seconds)
    print(f"{settings.seeds} tapes of {settings.seconds:.0f} s")
    for name, result in totals.items():
        print(
            f"{name:40s} precision {result.precision:.3f} ({result.right} of {result.detections})  "
            f"recall {result.recall:.3f} ({result.found} of {result.there})"
        )
    for name, ratios in (("level 3", level3), ("level 2", level2)):
        print(f"hidden size when found, {name}: estimated / true, quartiles {quartiles(ratios)}")
    tape = Participants(settings.first_seed).run(60)
    start = time.process_time()
    detect(tape)
    print(f"{(time.process_time() - start) / len(tape) * 1e6:.1f} µs CPU a record, {len(tape)} records")


if __name__ == "__main__":
    main()
