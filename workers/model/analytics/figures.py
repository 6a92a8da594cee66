"""What the best levels of a book say by themselves. Figures, not books: doubles in, doubles out, nothing remembered.

Levels are `(price, quantity)`, best first: prices in the quote currency, quantities in the base currency. An empty side
gives None: what is not known is not told. Definitions and sources: docs/analytics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from workers.model.books.order_book import Side

FloatLevel = tuple[float, float]
FloatLevels = Sequence[FloatLevel]


class LiquidityScale(Struct, frozen=True):
    """What counts as liquid.

    band_bps: how far from the mid what rests is counted, basis points.
    half_spread_bps: the spread, in basis points, at which tightness is a half.
    half_depth: what rests within the band on the thinner side, in the quote currency, at which depth is a half.
    """

    band_bps: float = 10.0
    half_spread_bps: float = 5.0
    half_depth: float = 100_000.0


def mid(bids: FloatLevels, asks: FloatLevels) -> float | None:
    """Half way between the best prices."""
    return (bids[0][0] + asks[0][0]) / 2 if bids and asks else None


def spread(bids: FloatLevels, asks: FloatLevels) -> float | None:
    """Best ask minus best bid, in the quote currency; negative where the book is crossed."""
    return asks[0][0] - bids[0][0] if bids and asks else None


def spread_bps(bids: FloatLevels, asks: FloatLevels) -> float | None:
    """The spread in basis points of the mid."""
    middle, width = mid(bids, asks), spread(bids, asks)
    return None if middle is None or width is None or middle <= 0 else width / middle * 10_000


def microprice(bids: FloatLevels, asks: FloatLevels) -> float | None:
    """The best prices weighted by what rests on the other side: the price leans to where less stands in its way."""
    if not bids or not asks:
        return None
    (bid, bid_quantity), (ask, ask_quantity) = bids[0], asks[0]
    both = bid_quantity + ask_quantity
    return (bid * ask_quantity + ask * bid_quantity) / both if both > 0 else None


def depth_imbalance(bids: FloatLevels, asks: FloatLevels, levels: int = 5) -> float | None:
    """(B - A) / (B + A) of the sums of the best levels, -1: all is asked, 1: all is bid."""
    if not bids or not asks:
        return None
    bid = sum(quantity for _, quantity in bids[:levels])
    ask = sum(quantity for _, quantity in asks[:levels])
    return (bid - ask) / (bid + ask) if bid + ask > 0 else None


def band_depth(side: Side, levels: FloatLevels, middle: float, band_bps: float) -> float:
    """What rests within a band around the mid, in the quote currency. Where fewer levels are known: of those."""
    reach = middle * band_bps / 10_000
    inside = [
        level for level in levels if (middle - level[0] if side == "bid" else level[0] - middle) <= reach
    ]
    return sum(price * quantity for price, quantity in inside)


def liquidity_score(bids: FloatLevels, asks: FloatLevels, scale: LiquidityScale) -> float | None:
    """0: nothing to trade with, 1: as much as one likes at no cost: the geometric mean of tightness and depth.

    tightness = h / (h + spread in bps), depth = D / (D + d), with D of the thinner side, and h, d of the scale.
    A crossed book has no score.
    """
    middle, width = mid(bids, asks), spread_bps(bids, asks)
    if middle is None or width is None or width < 0:
        return None
    depth = min(
        band_depth("bid", bids, middle, scale.band_bps), band_depth("ask", asks, middle, scale.band_bps)
    )
    tightness = scale.half_spread_bps / (scale.half_spread_bps + width)
    return float((tightness * depth / (depth + scale.half_depth)) ** 0.5)
