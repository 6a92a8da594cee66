"""Who may have placed an order that follows another one: kinds of behaviour, and how well a series of orders fits each.

A naive Bayes classifier: every order of a series weighs by its delay, its size, where it came from and how long it
rested, each by the likelihood under each kind; the posterior of the kinds that are icebergs is the confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct


class Origin(IntEnum):
    """What an order came after, within `RUN_US`, on its side and with its size: see `OrderRuns`."""

    FRESH = 0
    MOVED = 1
    SUCCESSOR = 2
    UNKNOWN = 3


class SizeMatch(IntEnum):
    """The size of a part beside those before it."""

    SAME = 0
    SIMILAR = 1
    OTHER = 2


class OrderKind(Struct, frozen=True):
    """How orders of a kind behave.

    iceberg: it is one. prior: how many of the orders that are filled are of the kind.
    delay_ms, delay_spread: from a fill to the next order: log-normal, its median and the deviation of its logarithm.
    goes_on: how often there is a next one at its price within `refill_ms`.
    sizes: how often it has the same size, a similar or another one.
    origins: how often the first order of a series is fresh, moved, or the successor of another one.
    withdrawn_s: mean time until it is withdrawn if nobody takes it.
    """

    iceberg: bool
    prior: float
    delay_ms: float
    delay_spread: float
    goes_on: float
    sizes: tuple[float, float, float]
    origins: tuple[float, float, float]
    withdrawn_s: float


FIXED, VARIED = (0.97, 0.02, 0.01), (0.02, 0.97, 0.01)
PLACED, QUOTED = (0.85, 0.10, 0.05), (0.117, 0.80, 0.083)
KINDS = (
    OrderKind(True, 0.0065, 0.22, 0.96, 0.938, FIXED, PLACED, 71.0),
    OrderKind(True, 0.0005, 0.22, 0.96, 0.938, VARIED, PLACED, 71.0),
    OrderKind(True, 0.0016, 10.0, 0.7, 0.938, FIXED, PLACED, 71.0),
    OrderKind(True, 0.000145, 10.0, 0.7, 0.938, VARIED, PLACED, 71.0),
    OrderKind(False, 0.15, 12.0, 1.2, 0.772, FIXED, QUOTED, 4.8),
    OrderKind(False, 0.157, 12.0, 0.925, 0.778, (0.02, 0.503, 0.477), (0.9, 0.08, 0.02), 4.8),
    OrderKind(False, 0.7, 9.4, 1.5, 0.35, (0.475, 0.2, 0.325), (0.9, 0.08, 0.02), 3.6),
)
"""Icebergs of the exchange and brokers', of fixed and of varied parts; makers of fixed and of varied sizes; and orders
that happen to come. Fitted to tapes of bench/analytics.py (seeds 11 to 16), whose icebergs never change their price."""

CLOCK_MS = 0.1
"""Added to delays: clocks tell no finer."""
MOST_EVIDENCE = 3.0
"""Of one order, for or against a kind beside the likeliest one, as a logarithm: none convinces alone."""
OWN_EVIDENCE = 4.0
"""The same of more under the id of the part before."""
MOST_RESTED_S = 20.0
"""Counted of the time that one order rests."""


class KindWeights:
    """The kinds with their logarithms taken. Weights of a series: one logarithm a kind, up to a common constant."""

    __slots__ = ("_densities", "_iceberg", "_origins", "_priors", "_sizes", "_withdrawn", "count")

    def __init__(self, kinds: Sequence[OrderKind]) -> None:
        self.count = len(kinds)
        self._iceberg = [kind.iceberg for kind in kinds]
        self._priors = [math.log(kind.prior) for kind in kinds]
        self._origins = [[*(math.log(kind.origins[origin]) for kind in kinds)] for origin in range(3)]
        self._origins.append([0.0] * self.count)
        self._sizes = [[math.log(kind.goes_on * kind.sizes[match]) for kind in kinds] for match in range(3)]
        self._densities = [
            (math.log(kind.delay_ms), kind.delay_spread, math.log(kind.delay_spread)) for kind in kinds
        ]
        self._withdrawn = [1 / kind.withdrawn_s for kind in kinds]

    def first(self, origin: Origin) -> list[float]:
        """Of a series that is its first order yet."""
        return [prior + own for prior, own in zip(self._priors, self._origins[origin], strict=True)]

    def rested(self, weights: list[float], seconds: float) -> list[float]:
        """After an order was not withdrawn for so long."""
        seconds = min(max(seconds, 0.0), MOST_RESTED_S)
        return [weight - seconds * rate for weight, rate in zip(weights, self._withdrawn, strict=True)]

    def followed(self, weights: list[float], delay_ms: float, match: SizeMatch) -> list[float]:
        """After an order came next."""
        added = self._evidence(delay_ms, match)
        return [weight + own for weight, own in zip(weights, added, strict=True)]

    def followed_by_own(self, weights: list[float]) -> list[float]:
        """After more came of the order itself, or under its id: nobody's but an iceberg's."""
        return [
            weight if iceberg else weight - OWN_EVIDENCE
            for weight, iceberg in zip(weights, self._iceberg, strict=True)
        ]

    def confidence(self, weights: list[float]) -> float:
        most = max(weights)
        shares = [math.exp(weight - most) for weight in weights]
        return sum(share for share, iceberg in zip(shares, self._iceberg, strict=True) if iceberg) / sum(
            shares
        )

    def fit(self, weights: list[float], delay_ms: float, match: SizeMatch) -> float:
        """How likely such a next order is, as a logarithm, by what the series is likely to be."""
        most, before = max(weights), 0.0
        after = 0.0
        for weight, own in zip(weights, self._evidence(delay_ms, match), strict=True):
            share = math.exp(weight - most)
            before += share
            after += share * math.exp(own)
        return math.log(after / before)

    def _evidence(self, delay_ms: float, match: SizeMatch) -> list[float]:
        at = math.log(max(delay_ms, 0.0) + CLOCK_MS)
        evidence = [
            size - (at - median) ** 2 / (2 * spread * spread) - log_spread
            for size, (median, spread, log_spread) in zip(self._sizes[match], self._densities, strict=True)
        ]
        least = max(evidence) - MOST_EVIDENCE
        return [max(own, least) for own in evidence]
