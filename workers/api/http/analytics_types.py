"""What the API answers of analytics."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.model.books.order_book import Side
from workers.store.analytics.reading import Figures, IcebergNow


class WallRecord(Struct):
    """A wall that stands."""

    side: Side
    price: float
    quantity: float
    ratio: Annotated[float, Meta(description="Its quantity by the median of the other levels.")]
    orders: Annotated[int | None, Meta(description="How many it is made of; null where that is not known.")]


class IcebergRecord(Struct):
    """A level that seems to hold an iceberg."""

    side: Side
    price: float
    hidden: Annotated[float, Meta(description="An estimate.")]
    confidence: Annotated[float, Meta(description="0 to 1.")]
    order_id: Annotated[
        str | None, Meta(description="Of level 3: the order that shows its part, or showed the last one.")
    ]


class AnalyticsFigures(Struct, kw_only=True):
    """Doubles; null where there is no such figure now. Their definitions are in docs/analytics.md."""

    state: Annotated[
        str, Meta(description="`shown`, or `withheld` with the book: then all but `vwap` is null.")
    ]
    event_time: Annotated[int, Meta(description="Of the newest top or trade, exchange ms.")]
    told_ms: Annotated[int, Meta(description="When this was written, ms by the server's clock.")]
    window_ms: int
    level: Annotated[
        int,
        Meta(
            description="What icebergs and flicker are inferred from: 3, single orders; 2, levels and trades."
        ),
    ]
    spread: float | None
    spread_bps: float | None
    mid: float | None
    microprice: float | None
    depth_imbalance: float | None
    order_flow_imbalance: float | None
    liquidity: float | None
    volatility: float | None
    vwap: float | None
    quote_bid: float | None
    quote_ask: float | None
    reservation: float | None
    walls: list[WallRecord] | None
    icebergs: list[IcebergRecord] | None


class AnalyticsEventRecord(Struct):
    """A wall, iceberg or flicker, when it was told."""

    kind: EventKind
    side: Side
    price: float
    time_us: Annotated[int, Meta(description="Exchange µs of what showed it.")]
    figures: dict[str, float]
    order_id: Annotated[str | None, Meta(description="Of an iceberg of level 3: the order that it names.")]


class AnalyticsAnswer(Struct):
    """What is computed of a symbol now, and the newest events, newest first."""

    venue: str
    symbol: str
    owner: Annotated[
        str | None, Meta(description="The worker that computes; null: nobody does, and the figures are old.")
    ]
    figures: AnalyticsFigures | None
    events: list[AnalyticsEventRecord]

    @classmethod
    def of(
        cls, venue: str, symbol: str, owner: str, figures: Figures | None, events: list[AnalyticsEvent]
    ) -> AnalyticsAnswer:
        """From what is read."""
        return cls(
            venue, symbol, owner or None, None if figures is None else served(figures),
            [event_record(event) for event in events],
        )  # fmt: skip


def event_record(event: AnalyticsEvent) -> AnalyticsEventRecord:
    """An event as it is served."""
    return AnalyticsEventRecord(
        event.kind, event.side, event.price, event.time_us, event.figures, event.order_id or None
    )


def served(figures: Figures) -> AnalyticsFigures:
    """Figures as they are served."""
    values: dict[str, Any] = msgspec.structs.asdict(figures)
    values["walls"] = (
        None
        if figures.walls is None
        else [WallRecord(*msgspec.structs.astuple(wall)) for wall in figures.walls]
    )
    values["icebergs"] = (
        None if figures.icebergs is None else [iceberg_record(iceberg) for iceberg in figures.icebergs]
    )
    return AnalyticsFigures(**values)


def iceberg_record(iceberg: IcebergNow) -> IcebergRecord:
    """An iceberg as it is served."""
    return IcebergRecord(
        iceberg.side, iceberg.price, iceberg.hidden, iceberg.confidence, iceberg.order_id or None
    )
