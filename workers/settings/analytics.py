"""What can be set of the role `analytics` (docs/analytics.md)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from workers.settings.numbers import LARGEST, Count, Milliseconds


class AnalyticsSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Figures and detections of the best levels and the trades of every symbol."""

    enabled: bool = False
    """Run the role."""
    publish_ms: Annotated[int, Meta(ge=100, le=LARGEST)] = 100
    """Least pause between two writes of one symbol."""
    window_s: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """Window of order-flow imbalance, VWAP, volatility and flicker."""
    events: Count = 1_000
    """Entries kept, about, in `analytics:{S}:events`."""
    read_count: Count = 500
    """Entries read from one stream at once."""
    gather_ms: Milliseconds = 20
    """Longest pause between two rounds of reading while there is something to read."""
    band_bps: Annotated[float, Meta(gt=0)] = 10.0
    """How far from the mid what rests counts for the liquidity score, basis points; of the best 10 levels."""
    half_spread_bps: Annotated[float, Meta(gt=0)] = 5.0
    """The spread at which the tightness in that score is a half."""
    half_depth: Annotated[float, Meta(gt=0)] = 100_000.0
    """What rests within the band, in the quote currency, at which the depth in it is a half."""
    wall_ratio: Annotated[float, Meta(gt=1)] = 6.0
    """A wall has so many times the median quantity of the other levels of its side."""
    wall_ms: Milliseconds = 2_000
    """And lasts so long."""
    iceberg_confidence: Annotated[float, Meta(gt=0, lt=1)] = 0.75
    """Confidence from which on an iceberg is told."""
    flicker_ms: Annotated[float, Meta(gt=0)] = 500.0
    """Orders, or on level 2 large additions, that are withdrawn sooner flicker."""
    risk_aversion: Annotated[float, Meta(ge=0)] = 0.1
    """γ of the suggested quote, by unit of the quote currency."""
    fill_decay: Annotated[float, Meta(gt=0)] = 1.5
    """κ of the suggested quote, by unit of the quote currency."""
    horizon_s: Annotated[float, Meta(gt=0)] = 60.0
    """τ of the suggested quote."""
    inventory: float = 0.0
    """q of the suggested quote, base currency; negative: short."""
