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

from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.model.analytics.order_flow import OrderEvent
from workers.model.books.order_book import Side


class IcebergParameters(Struct, frozen=True):
    """What the evidence weighs.

    found, confirmed: confidence from which on an iceberg is told, and told to be confirmed.
    least_refills, confirmed_refills: and the refills that it takes.
    refill_ms: after that long no next part is waited for.
    part_ms, delayed_ms, delayed_share: delays of an iceberg's next part: exponential with the first mean, or, for
        that share, with the second (a broker's, over the network).
    ordinary_ms, requoted_ms, requoted_share: the same of orders that have nothing to do with the one before, and of
        makers that quote again at once.
    goes_on, ordinary_goes_on: how often anything comes at all after a part: of icebergs, of what is none.
    same_size, similar_size: how often the next part of an iceberg is as large as the one before, or within `SIMILAR`.
    ordinary_same_size, ordinary_similar_size: the same of what is none.
    prior: how many of the orders that are filled are parts of icebergs.
    """

    found: float = 0.75
    confirmed: float = 0.98
    least_refills: int = 2
    confirmed_refills: int = 3
    refill_ms: float = 100.0
    part_ms: float = 0.5
    delayed_ms: float = 12.0
    delayed_share: float = 0.25
    ordinary_ms: float = 100.0
    requoted_ms: float = 6.0
    requoted_share: float = 0.7
    goes_on: float = 0.9
    ordinary_goes_on: float = 0.6
    same_size: float = 0.85
    similar_size: float = 0.1
    ordinary_same_size: float = 0.3
    ordinary_similar_size: float = 0.15
    prior: float = 0.01


MOST_EVIDENCE = 3.0
"""Of one refill, as a logarithm of odds: none convinces alone."""
SAME_SIZE = 1e-6
SIMILAR = 0.25
"""Relative differences up to which two parts are of the same, or of a similar size."""
MOST_CANDIDATES = 2000
"""Chains held; beyond it the one that nothing happened to for longest is forgotten."""
MOST_FINISHED = 256
"""Icebergs that ended, remembered for what they had left."""
EXPECTED_REFILLS = 3.0
"""Refills that are still expected where no iceberg has ended yet, and what they weigh against those that did."""
EXPECTED_WEIGHT = 4.0


class Refill(Struct, frozen=True):
    """The newest refill of a chain while a likelier one may still come: of what the chain was before it."""

    evidence: float
    filled_us: int
    order_id: str
    odds: float
    part: float


class Iceberg(Struct, eq=False):
    """A chain of parts.

    part: size of a whole part. order_id: of the part that rests, or of the last one while the next is `waited` for.
    odds: logarithm. traded: all that was taken. told: 1 once found, 2 once confirmed. hidden: what may still come.
    newest: the refill that rests, unless it has its order's own id, or was filled since.
    """

    side: Side
    price: float
    order_id: str
    part: float
    odds: float
    since_us: int
    last_us: int
    refills: int = 0
    traded: float = 0.0
    told: int = 0
    hidden: float = 0.0
    waited: bool = False
    newest: Refill | None = None

    @property
    def confidence(self) -> float:
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.odds))))


class IcebergDetector:
    """The icebergs of one level-3 book, from its `OrderEvent`s in order.

    Memory: an order takes part from its first fill on, in at most `MOST_CANDIDATES` chains.
    """

    __slots__ = ("_by_order", "_chains", "_finished", "_refilled_at", "_waiting", "parameters")

    def __init__(self, parameters: IcebergParameters) -> None:
        self.parameters = parameters
        self._finished: deque[int] = deque(maxlen=MOST_FINISHED)
        self.clear()

    def clear(self) -> None:
        """There is no book any more: what rests is not known. What was learned of those that ended stays."""
        self._chains: OrderedDict[int, Iceberg] = OrderedDict()
        self._by_order: dict[str, Iceberg] = {}
        self._waiting: dict[tuple[Side, float], list[Iceberg]] = {}
        self._refilled_at: dict[tuple[Side, float], list[Iceberg]] = {}
        """Chains with a `newest` refill."""

    def icebergs(self) -> list[Iceberg]:
        """Those that were told and have not ended, most confident first."""
        return sorted((chain for chain in self._chains.values() if chain.told), key=lambda chain: -chain.odds)

    def on_event(self, event: OrderEvent) -> list[AnalyticsEvent]:
        """O(1), but for the chains whose next part did not come."""
        events = self.on_time(event.time_us)
        if event.what == "filled":
            self._on_filled(event)
        elif event.what == "added":
            self._on_added(event, events)
        elif event.what == "grown":
            self._on_grown(event, events)
        else:
            self._on_cancelled(event, events)
        return events

    def on_time(self, now_us: int) -> list[AnalyticsEvent]:
        """End the chains whose next part did not come in time."""
        events: list[AnalyticsEvent] = []
        limit = now_us - int(self.parameters.refill_ms * 1000)
        for key in [key for key, chains in self._waiting.items() if chains[0].last_us < limit]:
            for chain in [chain for chain in self._waiting[key] if chain.last_us < limit]:
                self._end(chain, now_us, events)
        return events

    def _on_filled(self, event: OrderEvent) -> None:
        chain = self._by_order.get(event.order_id)
        if chain is None:
            prior = self.parameters.prior
            chain = Iceberg(
                event.side, event.price, event.order_id, event.quantity + event.left,
                math.log(prior / (1 - prior)), event.time_us, event.time_us,
            )  # fmt: skip
            self._chains[id(chain)] = self._by_order[event.order_id] = chain
            self._bound()
        self._settle(chain)
        chain.traded += event.quantity
        self._touch(chain, event.time_us)
        if not event.left:
            del self._by_order[event.order_id]
            chain.waited = True
            self._waiting.setdefault((chain.side, chain.price), []).append(chain)

    def _on_added(self, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        waiting = self._waiting.get((event.side, event.price))
        if not waiting:
            self._on_likelier(event, events)
            return
        chain = max(
            waiting,
            key=lambda chain: (
                chain.order_id == event.order_id,
                self._likelihood(chain, event),
                chain.last_us,
            ),
        )
        self._stop_waiting(chain)
        self._continue(chain, event, events)

    def _continue(self, chain: Iceberg, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        before = chain.last_us, chain.order_id, chain.odds, chain.part
        same = chain.order_id == event.order_id
        chain.order_id, chain.waited = event.order_id, False
        self._by_order[event.order_id] = chain
        self._refilled(chain, event.quantity, event.time_us, events, same=same)
        if not same:
            chain.newest = Refill(chain.odds - before[2], *before)
            self._refilled_at.setdefault((chain.side, chain.price), []).append(chain)

    def _on_likelier(self, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        """Another came first and was taken for the next part; this one fits better, and takes its place."""
        best: tuple[float, Iceberg, Refill] | None = None
        for chain in self._refilled_at.get((event.side, event.price), ()):
            newest = chain.newest
            assert newest is not None
            delay_ms = (event.time_us - newest.filled_us) / 1000
            if delay_ms > self.parameters.refill_ms:
                continue
            own = MOST_EVIDENCE if event.order_id == newest.order_id else 0.0
            size = self._size_evidence(chain, event.quantity)
            gain = own + self._delay_evidence(delay_ms) + size - newest.evidence
            if gain > 0 and (best is None or gain > best[0]):
                best = gain, chain, newest
        if best is not None:
            _, chain, newest = best
            self._settle(chain)
            del self._by_order[chain.order_id]
            chain.last_us, chain.order_id = newest.filled_us, newest.order_id
            chain.odds, chain.part, chain.refills = newest.odds, newest.part, chain.refills - 1
            self._continue(chain, event, events)

    def _likelihood(self, chain: Iceberg, event: OrderEvent) -> float:
        """How much likelier the order is where the chain may be an iceberg, and this its next part, than by itself."""
        delay = self._delay_evidence((event.time_us - chain.last_us) / 1000)
        ratio = math.exp(delay + self._size_evidence(chain, event.quantity))
        return chain.confidence * ratio + 1 - chain.confidence

    def _settle(self, chain: Iceberg) -> None:
        """No other refill may take the place of the newest one any more."""
        if chain.newest is not None:
            chain.newest = None
            chains = self._refilled_at[chain.side, chain.price]
            chains.remove(chain)
            if not chains:
                del self._refilled_at[chain.side, chain.price]

    def _on_grown(self, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        """More of an order that was filled before: a part of a native iceberg, at its end of the queue."""
        chain = self._by_order.get(event.order_id)
        if chain is not None:
            self._refilled(chain, event.left, event.time_us, events, same=True)

    def _on_cancelled(self, event: OrderEvent, events: list[AnalyticsEvent]) -> None:
        chain = self._by_order.get(event.order_id)
        if chain is not None:
            self._end(chain, event.time_us, events, withdrawn=True)

    def _refilled(
        self, chain: Iceberg, quantity: float, now_us: int, events: list[AnalyticsEvent], *, same: bool
    ) -> None:
        """same: under the id of the part before: nobody else's order has that."""
        delay = self._delay_evidence((now_us - chain.last_us) / 1000)
        evidence = MOST_EVIDENCE if same and delay > 0 else delay + self._size_evidence(chain, quantity)
        chain.odds += max(-MOST_EVIDENCE, min(MOST_EVIDENCE, evidence))
        chain.refills += 1
        if quantity <= chain.part * (1 + SIMILAR):
            chain.part = max(chain.part, quantity)
        self._touch(chain, now_us)
        self._tell(chain, now_us, events)

    def _delay_evidence(self, delay_ms: float) -> float:
        """The logarithm of how much likelier it is with an iceberg that something comes, and after such a delay."""
        rules = self.parameters
        parts = _mixed(delay_ms, rules.part_ms, rules.delayed_ms, rules.delayed_share)
        ordinary = _mixed(delay_ms, rules.ordinary_ms, rules.requoted_ms, rules.requoted_share)
        return math.log(rules.goes_on / rules.ordinary_goes_on * max(parts, 1e-12) / ordinary)

    def _size_evidence(self, chain: Iceberg, quantity: float) -> float:
        """The same of its size."""
        rules, difference = self.parameters, abs(quantity - chain.part) / chain.part
        if difference <= SAME_SIZE:
            return math.log(rules.same_size / rules.ordinary_same_size)
        if difference <= SIMILAR:
            return math.log(rules.similar_size / rules.ordinary_similar_size)
        other = 1 - rules.same_size - rules.similar_size
        return math.log(other / (1 - rules.ordinary_same_size - rules.ordinary_similar_size))

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

    def _touch(self, chain: Iceberg, now_us: int) -> None:
        chain.last_us = now_us
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
            key for key, chain in self._chains.items() if chain.newest
        }
        for order_id, chain in self._by_order.items():
            assert chain.order_id == order_id
            assert not chain.waited
        for (side, price), chains in self._waiting.items():
            assert all((chain.side, chain.price, chain.waited) == (side, price, True) for chain in chains)


def _mixed(delay: float, mean: float, other_mean: float, share: float) -> float:
    """The density of a mixture of two exponential distributions."""
    return (1 - share) / mean * math.exp(-delay / mean) + share / other_mean * math.exp(-delay / other_mean)


def _event(kind: EventKind, chain: Iceberg, now_us: int) -> AnalyticsEvent:
    figures = {
        "confidence": chain.confidence, "part": chain.part, "refills": float(chain.refills),
        "traded": chain.traded, "hidden": chain.hidden, "age_ms": (now_us - chain.since_us) / 1000,
    }  # fmt: skip
    return AnalyticsEvent(kind, chain.side, chain.price, now_us, figures, chain.order_id)
