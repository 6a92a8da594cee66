"""The public library: `FleetClient` reads books, trades and bars straight from a fleet's Redis (docs/client.md)."""

from __future__ import annotations

from workers.client.fleet import FleetClient
from workers.client.frames import columns_of, to_dataframe
from workers.client.numbers import Number
from workers.client.records import (
    AnalyticsRecord,
    Bar,
    Book,
    BookTop,
    Derivative,
    Gap,
    Interrupted,
    Liquidation,
    Notice,
    OrderLevel,
    OrderPlace,
    Orders,
    OrdersTop,
    PriceLevel,
    RawMessage,
    RestingOrder,
    Trade,
    Withheld,
)
from workers.errors import (
    BadNumber,
    BookWithheld,
    ExtraMissing,
    FleetError,
    InvalidSymbol,
    SecondUnknown,
    StateUnreadable,
    TokenUnusable,
    UnknownSymbol,
    UnknownVenue,
)
from workers.model.alerts.records import Alert, Comment
from workers.model.analytics.events import AnalyticsEvent
from workers.store.alerts.book import AlertEntry, OpenAlert
from workers.store.analytics.reading import AnalyticsNow, Figures
from workers.store.log.recorded import RecordedAudit, RecordedGap

__all__ = [
    "Alert",
    "AlertEntry",
    "AnalyticsEvent",
    "AnalyticsNow",
    "AnalyticsRecord",
    "BadNumber",
    "Bar",
    "Book",
    "BookTop",
    "BookWithheld",
    "Comment",
    "Derivative",
    "ExtraMissing",
    "Figures",
    "FleetClient",
    "FleetError",
    "Gap",
    "Interrupted",
    "InvalidSymbol",
    "Liquidation",
    "Notice",
    "Number",
    "OpenAlert",
    "OrderLevel",
    "OrderPlace",
    "Orders",
    "OrdersTop",
    "PriceLevel",
    "RawMessage",
    "RecordedAudit",
    "RecordedGap",
    "RestingOrder",
    "SecondUnknown",
    "StateUnreadable",
    "TokenUnusable",
    "Trade",
    "UnknownSymbol",
    "UnknownVenue",
    "Withheld",
    "columns_of",
    "to_dataframe",
]
