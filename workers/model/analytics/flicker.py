"""Flicker: what is shown near the top and withdrawn at once, again and again.

Spoofing is an intention, and no feed tells intentions. What can be seen is liquidity that nobody could trade with:
told as `flicker`, with how often and how much, and never as more than that.
"""

from __future__ import annotations

from collections import OrderedDict
from statistics import median

from msgspec import Struct

from workers.model.analytics.events import AnalyticsEvent
from workers.model.analytics.figures import FloatLevels
from workers.model.analytics.order_flow import OrderEvent
from workers.model.analytics.rolling import RollingSums
from workers.model.books.order_book import Side


class FlickerParameters(Struct, frozen=True):
    """When showing and withdrawing is flicker.

    lived_ms: what is withdrawn sooner, and was not traded with, flickered.
    near_bps: near the top is within so many basis points of the best price of its side.
    window_ms, least: so many of them in such a window are told, then nothing of that side for as long.
    share: and they are at least such a part of all that was shown near the top of that side meanwhile.
    large: of level 2: quantity over the median of the side's levels from which on a change is looked at.
    """

    lived_ms: float = 500.0
    near_bps: float = 5.0
    window_ms: int = 60_000
    least: int = 20
    share: float = 0.5
    large: float = 2.0


class FlickerCounter:
    """How much was shown near the top of each side, and how much of it flickered."""

    __slots__ = ("_quiet_until", "_sums", "parameters")

    def __init__(self, parameters: FlickerParameters) -> None:
        self.parameters = parameters
        self._sums: dict[Side, RollingSums] = {
            "bid": RollingSums(parameters.window_ms, 3),
            "ask": RollingSums(parameters.window_ms, 3),
        }
        self._quiet_until: dict[Side, int] = {"bid": 0, "ask": 0}

    def shown(self, side: Side, now_us: int) -> None:
        self._sums[side].add(now_us, 1.0, 0.0, 0.0)

    def flickered(self, side: Side, price: float, quantity: float, now_us: int) -> AnalyticsEvent | None:
        """Count one; the event, if there were enough."""
        rules, sums = self.parameters, self._sums[side]
        sums.add(now_us, 0.0, 1.0, quantity)
        if now_us < self._quiet_until[side]:
            return None
        shown, times, total = sums.sums(now_us)
        if times < rules.least or times < rules.share * shown:
            return None
        self._quiet_until[side] = now_us + rules.window_ms * 1000
        figures = {"times": times, "shown": shown, "quantity": total}
        return AnalyticsEvent("flicker", side, price, now_us, figures)

    def counts(self, side: Side, now_us: int) -> tuple[int, int]:
        """Of the window: how often something was shown near the top, and how often it flickered."""
        shown, times, _ = self._sums[side].sums(now_us)
        return int(shown), int(times)

    def check(self) -> None:
        for sums in self._sums.values():
            sums.check()


class OrderFlicker:
    """Flicker of single orders: each tells its own age. Nothing is remembered of them but the counts."""

    __slots__ = ("counter",)

    def __init__(self, parameters: FlickerParameters) -> None:
        self.counter = FlickerCounter(parameters)

    def on_event(self, event: OrderEvent) -> AnalyticsEvent | None:
        """O(1). An order is near the top by the best price when it came, or when it goes."""
        rules = self.counter.parameters
        away = event.best - event.price if event.side == "bid" else event.price - event.best
        if not event.best or away > event.best * rules.near_bps / 10_000:
            return None
        if event.what == "added":
            self.counter.shown(event.side, event.time_us)
        elif event.what == "cancelled" and 0 <= event.age_us < rules.lived_ms * 1000:
            return self.counter.flickered(event.side, event.price, event.quantity, event.time_us)
        return None

    def check(self) -> None:
        self.counter.check()


class LevelFlicker:
    """Flicker of levels: large additions that are gone soon and were not traded with.

    Memory: the best levels as last told, and additions of the last `lived_ms`, one a price.
    """

    __slots__ = ("_additions", "_before", "counter")

    def __init__(self, parameters: FlickerParameters) -> None:
        self.counter = FlickerCounter(parameters)
        self.clear()

    def clear(self) -> None:
        """There is no book any more."""
        self._before: dict[Side, dict[float, float]] = {}
        self._additions: OrderedDict[tuple[Side, float], tuple[int, float]] = OrderedDict()

    def on_trade(self, resting: Side, price: float) -> None:
        """What was traded with was real."""
        self._additions.pop((resting, price), None)

    def on_levels(self, bids: FloatLevels, asks: FloatLevels, now_us: int) -> list[AnalyticsEvent]:
        """The best levels as they are now. O(levels log levels)."""
        limit = now_us - int(self.counter.parameters.lived_ms * 1000)
        while self._additions and next(iter(self._additions.values()))[0] <= limit:
            self._additions.popitem(last=False)
        events = []
        sides: tuple[tuple[Side, FloatLevels], ...] = (("bid", bids), ("ask", asks))
        for side, levels in sides:
            now = dict(levels)
            before = self._before.get(side)
            if before and levels:
                events += self._compare(side, before, levels, now, now_us)
            self._before[side] = now
        return events

    def _compare(
        self,
        side: Side,
        before: dict[float, float],
        levels: FloatLevels,
        now: dict[float, float],
        now_us: int,
    ) -> list[AnalyticsEvent]:
        best, last = levels[0][0], levels[-1][0]
        reach = best * self.counter.parameters.near_bps / 10_000
        least = self.counter.parameters.large * median(before.values())
        events = []
        for price in before.keys() | now.keys():
            change = now.get(price, 0.0) - before.get(price, 0.0)
            if abs(price - best) > reach or (price not in now and abs(price - best) > abs(last - best)):
                continue  # far away, or beyond what is shown: it is not known to be gone
            if change >= least:
                self._additions[side, price] = now_us, change
                self._additions.move_to_end((side, price))
                self.counter.shown(side, now_us)
            elif change < 0 and (side, price) in self._additions:
                added = self._additions[side, price][1]
                if -change >= 0.8 * added:
                    del self._additions[side, price]
                    event = self.counter.flickered(side, price, added, now_us)
                    events += [event] if event else []
        return events

    def check(self) -> None:
        """Assert that additions are in the order of their times."""
        times = [time for time, _ in self._additions.values()]
        assert times == sorted(times)
        self.counter.check()
