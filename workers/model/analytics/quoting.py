"""Where a maker would quote: Avellaneda and Stoikov, "High-frequency trading in a limit order book" (2008)."""

from __future__ import annotations

import math

from msgspec import Struct

TICK_ERROR = 1e-6
"""Part of a tick by which doubles may be off: 0.3 is less than three times 0.1."""


class QuoteParameters(Struct, frozen=True):
    """What a maker decides for himself.

    risk_aversion: γ, by unit of the quote currency; the greater, the farther quotes move away from an inventory.
    fill_decay: κ, by unit of the quote currency: how fast fills grow rarer with the distance from the mid.
    horizon_s: T - t, seconds until the inventory shall be gone.
    inventory: q, in the base currency; negative: short.
    tick: quotes are multiples of it, the bid rounded down, the ask up; 0: not rounded.
    """

    risk_aversion: float = 0.1
    fill_decay: float = 1.5
    horizon_s: float = 60.0
    inventory: float = 0.0
    tick: float = 0.0


class Quote(Struct, frozen=True):
    """The suggestion; reservation: the price at which the maker is indifferent to his inventory."""

    bid: float
    ask: float
    reservation: float


def suggest_quote(price: float, volatility: float, parameters: QuoteParameters) -> Quote:
    """Bid and ask around the reservation price, eqs. 29 and 30 of the paper, with the microprice for its mid.

        r = s - q γ σ² (T - t),  half spread = γ σ² (T - t) / 2 + ln(1 + γ/κ) / γ

    As γ tends to 0 the second term tends to 1/κ.

    Args:
        price: s, the microprice.
        volatility: σ, quote currency by root second.
    """
    risk = parameters.risk_aversion
    variance = volatility * volatility * parameters.horizon_s
    reservation = price - parameters.inventory * risk * variance
    fills = math.log1p(risk / parameters.fill_decay) / risk if risk > 0 else 1 / parameters.fill_decay
    half = risk * variance / 2 + fills
    bid, ask = reservation - half, reservation + half
    if parameters.tick > 0:
        bid = math.floor(bid / parameters.tick + TICK_ERROR) * parameters.tick
        ask = math.ceil(ask / parameters.tick - TICK_ERROR) * parameters.tick
    return Quote(bid, ask, reservation)
