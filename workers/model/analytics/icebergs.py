"""Icebergs in level 3: an order that shows a part of itself, and the next part when that one is used up.

Two kinds (Zotikov and Antonov, "CME Iceberg Order Detection and Prediction", 2019): *native*, whose order gets more
again under its id, and *synthetic*, of which each part is an order of its own at the same price. Either way a part
that was used up is followed by the next at once, and of the same size. So does now and then what is none: a maker
who quotes again, or anybody's order that happens to come. Each refill, each part that is withdrawn, is weighed as
evidence for either, and the odds make the confidence: this is an inference, never a fact.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from msgspec import Struct
from msgspec.structs import replace

from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.model.analytics.order_flow import OrderEvent
from workers.model.analytics.order_kinds import KINDS, MOST_EVIDENCE, KindWeights, OrderKind, SizeMatch
from workers.model.analytics.order_runs import OrderRuns
from workers.model.books.order_book import Side


class IcebergParameters(Struct, frozen=True):
    """When an iceberg is told, and what the evidence weighs.

    found, confirmed: confidence from which on an iceberg is told, and told to be confirmed.
    least_refills, confirmed_refills: and the refills that it takes.
    refill_ms: after that long no next part is waited for.
    kinds: what the orders may be.
    """

    found: float = 0.75
    confirmed: float = 0.98
    least_refills: int = 2
    confirmed_refills: int = 3
    refill_ms: float = 100.0
    kinds: tuple[OrderKind, ...] = KINDS


NEVER = -math.inf
SAME_SIZE = 1e-6
"""Relative difference up to which two parts are of the same size."""
SIMILAR = 1.5
"""And the ratio of the largest part to the smallest up to which parts are of similar sizes."""
MOST_CANDIDATES = 2000
"""Chains held; beyond it the one that nothing happened to for longest is forgotten."""
MOST_FINISHED = 256
"""Icebergs that ended, remembered for what they had left."""
EXPECTED_REFILLS = 3.0
"""Refills that are still expected where no iceberg has ended yet, and what they weigh against those that did."""
EXPECTED_WEIGHT = 4.0


class Series(Struct, frozen=True):
    """What is known of the parts of a chain. weights: of `KindWeights`. part: size of the last; least, most: of all."""

    order_id: str
    weights: list[float]
    part: float
    least: float
    most: float
    last_us: int
    refills: int = 0

    def match(self, quantity: float) -> SizeMatch:
        if abs(quantity - self.part) <= SAME_SIZE * self.part:
            return SizeMatch.SAME
        least, most = min(self.least, quantity), max(self.most, quantity)
        return SizeMatch.SIMILAR if most <= SIMILAR * least else SizeMatch.OTHER


class Iceberg(Struct, eq=False):
    """A chain of parts.

    series: with the part that rests, or with the last one while the next is `waited` for. Its `order_id` is that of
    the part.
    traded: all that was taken. told: 1 once found, 2 once confirmed. hidden: what may still come.
    before: the series without its newest part, while a likelier one may take its place: unless that has its order's
    own id, or was filled since. fit: of the newest part.
    """

    side: Side
    price: float
    series: Series
    confidence: float
    since_us: int
    traded: float = 0.0
    told: int = 0
    hidden: float = 0.0
    waited: bool = False
    before: Series | None = None
    fit: float = 0.0

    @property
    def order_id(self) -> str:
        return self.series.order_id

    @property
    def part(self) -> float:
        """Size of a whole part."""
        return self.series.most

    @property
    def refills(self) -> int:
        return self.series.refills


class IcebergDetector:
    """The icebergs of one level-3 book, from its `OrderEvent`s in order.

    Memory: an order takes part from its first fill on, in at most `MOST_CANDIDATES` chains.
    """

    __slots__ = (
        "_by_order", "_chains", "_finished", "_kinds", "_refilled_at", "_runs", "_waiting", "parameters",
    )  # fmt: skip

    def __init__(self, parameters: IcebergParameters) -> None:
        self.parameters = parameters
        self._kinds = KindWeights(parameters.kinds)
        self._runs = OrderRuns()
        self._finished: deque[int] = deque(maxlen=MOST_FINISHED)
        self.clear()

    def clear(self) -> None:
        """There is no book any more: what rests is not known. What was learned of those that ended stays."""
        self._runs.clear()
        self._chains: OrderedDict[int, Iceberg] = OrderedDict()
        self._by_order: dict[str, Iceberg] = {}
        self._waiting: dict[tuple[Side, float], list[Iceberg]] = {}
        self._refilled_at: dict[tuple[Side, float], list[Iceberg]] = {}
        """Chains with a series `before` their newest part."""

    def icebergs(self) -> list[Iceberg]:
        """Those that were told and have not ended, most confident first."""
        return sorted(
            (chain for chain in self._chains.values() if chain.told), key=lambda chain: -chain.confidence
        )

    def on_event(self, event: OrderEvent) -> list[AnalyticsEvent]:
        """O(1), but for the chains whose next part did not come."""
        events = self.on_time(event.time_us)
        self._runs.on_time(event.time_us)
        if event.what == "added":
            self._runs.on_added(event)
            self._on_added(event, events)
            return events
        chain = self._by_order.get(event.order_id)
        if event.what == "filled":
            chain = self._on_filled(chain, event)
        elif chain is not None and event.what == "grown":
            self._on_grown(chain, event, events)
        elif chain is not None:
            self._end(chain, event.time_us, events, withdrawn=True)
        if not event.left:
            self._runs.on_ended(event, event.quantity if chain is None else chain.series.part)
        return events

    def lose_sight(self, order_id: str) -> None:
        """An order rests no more, and nobody told why: its iceberg is forgotten, and has not ended. O(1)."""
        if (chain := self._by_order.get(order_id)) is not None:
            self._forget(chain)

    def on_time(self, now_us: int) -> list[AnalyticsEvent]:
        """End the chains whose next part did not come in time."""
        events: list[AnalyticsEvent] = []
        limit = now_us - int(self.parameters.refill_ms * 1000)
        for key in [key for key, chains in self._waiting.items() if chains[0].series.last_us < limit]:
            for chain in [chain for chain in self._waiting[key] if chain.series.last_us < limit]:
                self._end(chain, now_us, events)
        return events

    def _on_filled(self, chain: Iceberg | None, event: OrderEvent) -> Iceberg:
        kinds, now_us = self._kinds, event.time_us
        if chain is None:
            size = event.quantity + event.left
            weights = kinds.rested(kinds.first(self._runs.origin(event)), event.age_us / 1e6)
            series = Series(event.order_id, weights, size, size, size, now_us)
            chain = Iceberg(event.side, event.price, series, kinds.confidence(weights), now_us)
            self._chains[id(chain)] = self._by_order[event.order_id] = chain
            self._bound()
        else:
            self._settle(chain)
            series = chain.series
            weights = kinds.rested(series.weights, (now_us - series.last_us) / 1e6)
            self._advance(chain, replace(series, weights=weights, last_us=now_us))
        chain.traded += event.quantity
        if not event.left:
            del self._by_order[event.order_id]
            chain.waited = True
            self._waiting.setdefault((chain.side, chain.price), []).append(chain)
        return chain

    def _on_added(self, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        """The order is the next part of the chain that it fits best; of several alike, of the one last filled."""
        best: tuple[tuple[bool, float, int], Iceberg] | None = None
        for chain in self._waiting.get((event.side, event.price), ()):
            own, fit = self._fit(chain.series, event)
            if fit > NEVER and (best is None or (own, fit, chain.series.last_us) > best[0]):
                best = (own, fit, chain.series.last_us), chain
        if best is None:
            self._on_likelier(event, events)
        else:
            (own, fit, _), chain = best
            self._stop_waiting(chain)
            self._refill(chain, event, events, before=None if own else chain.series, fit=fit)

    def _on_likelier(self, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        """Another came first and was taken for the next part; this one fits better, and takes its place."""
        best: tuple[float, Iceberg, Series, float, bool] | None = None
        for chain in self._refilled_at.get((event.side, event.price), ()):
            assert chain.before is not None
            if event.time_us - chain.before.last_us <= self.parameters.refill_ms * 1000:
                own, fit = self._fit(chain.before, event)
                if (gain := fit - chain.fit) > 0 and (best is None or gain > best[0]):
                    best = gain, chain, chain.before, fit, own
        if best is not None:
            _, chain, before, fit, own = best
            self._settle(chain)
            del self._by_order[chain.order_id]
            chain.series = before
            self._refill(chain, event, events, before=None if own else before, fit=fit)

    def _fit(self, series: Series, event: OrderEvent) -> tuple[bool, float]:
        """Whether a part comes under the id of the one before; how well it fits, `NEVER` if it is of another size."""
        if series.order_id == event.order_id:
            return True, MOST_EVIDENCE
        match = series.match(event.quantity)
        if match is SizeMatch.OTHER:
            return False, NEVER
        return False, self._kinds.fit(series.weights, (event.time_us - series.last_us) / 1000, match)

    def _refill(
        self,
        chain: Iceberg,
        event: OrderEvent,
        events: list[AnalyticsEvent],
        *,
        before: Series | None,
        fit: float,
    ) -> None:
        """before: None under the id of the part before, which nobody else's order has."""
        series = chain.series
        if before is None:
            weights = self._kinds.followed_by_own(series.weights)
        else:
            delay_ms = (event.time_us - series.last_us) / 1000
            weights = self._kinds.followed(series.weights, delay_ms, series.match(event.quantity))
            chain.before, chain.fit = before, fit
            self._refilled_at.setdefault((chain.side, chain.price), []).append(chain)
        chain.waited = False
        self._by_order[event.order_id] = chain
        size = event.left
        self._advance(
            chain,
            Series(
                event.order_id, weights, size, min(series.least, size), max(series.most, size), event.time_us,
                series.refills + 1,
            ),
        )  # fmt: skip
        self._tell(chain, event.time_us, events)

    def _settle(self, chain: Iceberg) -> None:
        """No other order may take the place of the newest part any more."""
        if chain.before is not None:
            chain.before = None
            chains = self._refilled_at[chain.side, chain.price]
            chains.remove(chain)
            if not chains:
                del self._refilled_at[chain.side, chain.price]

    def _on_grown(self, chain: Iceberg, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        """More of an order that was filled before: a part of a native iceberg, at its end of the queue."""
        self._settle(chain)
        self._refill(chain, event, events, before=None, fit=MOST_EVIDENCE)

    def _tell(self, chain: Iceberg, now_us: int, events: list[AnalyticsEvent]) -> None:
        rules = self.parameters
        chain.hidden = chain.part * self.expected_refills(chain.refills)
        if chain.told < 1 and chain.refills >= rules.least_refills and chain.confidence >= rules.found:
            chain.told = 1
            events.append(_event("iceberg_found", chain, now_us))
        if (
            chain.told == 1
            and chain.refills >= rules.confirmed_refills
            and chain.confidence >= rules.confirmed
        ):
            chain.told = 2
            events.append(_event("iceberg_confirmed", chain, now_us))

    def expected_refills(self, refills: int) -> float:
        """How many more, by what those had left that ended after as many or more. O(icebergs that ended)."""
        left = [total - refills for total in self._finished if total >= refills]
        return (sum(left) + EXPECTED_REFILLS * EXPECTED_WEIGHT) / (len(left) + EXPECTED_WEIGHT)

    def _end(
        self, chain: Iceberg, now_us: int, events: list[AnalyticsEvent], *, withdrawn: bool = False
    ) -> None:
        self._forget(chain)
        if chain.told:
            self._finished.append(chain.refills)
            chain.hidden = 0.0
            event = _event("iceberg_exhausted", chain, now_us)
            event.figures["withdrawn"] = float(withdrawn)
            events.append(event)

    def _advance(self, chain: Iceberg, series: Series) -> None:
        chain.series = series
        chain.confidence = self._kinds.confidence(series.weights)
        self._chains.move_to_end(id(chain))

    def _stop_waiting(self, chain: Iceberg) -> None:
        waiting = self._waiting[chain.side, chain.price]
        waiting.remove(chain)
        if not waiting:
            del self._waiting[chain.side, chain.price]

    def _forget(self, chain: Iceberg) -> None:
        del self._chains[id(chain)]
        self._settle(chain)
        if chain.waited:
            self._stop_waiting(chain)
        else:
            del self._by_order[chain.order_id]

    def _bound(self) -> None:
        while len(self._chains) > MOST_CANDIDATES:
            self._forget(next(iter(self._chains.values())))

    def check(self) -> None:
        """Assert that every chain either has a part that rests or waits for one, and that the bounds hold. O(n)."""
        assert len(self._chains) <= MOST_CANDIDATES
        waiting = [chain for chains in self._waiting.values() for chain in chains]
        assert all(self._waiting.values()), "nobody waits where there is a list"
        assert {id(chain) for chain in (*waiting, *self._by_order.values())} == set(self._chains)
        assert len(waiting) + len(self._by_order) == len(self._chains), "no chain stands twice"
        replaceable = [chain for chains in self._refilled_at.values() for chain in chains]
        assert all(self._refilled_at.values())
        assert {id(chain) for chain in replaceable} == {
            key for key, chain in self._chains.items() if chain.before
        }
        for order_id, chain in self._by_order.items():
            assert chain.order_id == order_id
            assert not chain.waited
        for (side, price), chains in self._waiting.items():
            assert all((chain.side, chain.price, chain.waited) == (side, price, True) for chain in chains)


def _event(kind: EventKind, chain: Iceberg, now_us: int) -> AnalyticsEvent:
    figures = {
        "confidence": chain.confidence, "part": chain.part, "refills": float(chain.refills),
        "traded": chain.traded, "hidden": chain.hidden, "age_ms": (now_us - chain.since_us) / 1000,
    }  # fmt: skip
    return AnalyticsEvent(kind, chain.side, chain.price, now_us, figures, chain.order_id)
