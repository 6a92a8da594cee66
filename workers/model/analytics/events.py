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


class AnalyticsEvent(Struct, frozen=True, omit_defaults=True):
    """Something at a price.

    time_us: exchange µs since 1970, of what showed it.
    figures: by name; what each kind has is in docs/analytics.md.
    order_id: level 3, of an iceberg: the order that shows its part, or showed its last one. Level 2 knows none.
    """

    kind: EventKind
    side: Side
    price: float
    time_us: int
    figures: dict[str, float] = field(default_factory=dict)
    order_id: str = ""
