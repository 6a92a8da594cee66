"""What the detectors tell."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from workers.model.books.order_book import Side

EventKind = Literal[
    "wall_appeared",
    "wall_vanished",
    "wall_eaten",
    "iceberg_found",
    "iceberg_confirmed",
    "iceberg_exhausted",
    "flicker",
]


class AnalyticsEvent(Struct, frozen=True):
    """Something at a price.

    time_us: exchange µs since 1970, of what showed it.
    figures: by name; what each kind has is in docs/analytics.md.
    """

    kind: EventKind
    side: Side
    price: float
    time_us: int
    figures: dict[str, float] = field(default_factory=dict)
