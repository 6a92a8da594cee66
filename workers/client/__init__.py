"""The public library: `FleetClient` reads books, trades and bars straight from a fleet's Redis (docs/client.md)."""

from __future__ import annotations

from workers.client.fleet import FleetClient
from workers.client.frames import columns_of, to_dataframe
from workers.client.records import (
    Bar,
    Book,
    BookTop,
    Gap,
    Interrupted,
    Notice,
    Number,
    PriceLevel,
    Trade,
    Withheld,
)

__all__ = [
    "Bar",
    "Book",
    "BookTop",
    "FleetClient",
    "Gap",
    "Interrupted",
    "Notice",
    "Number",
    "PriceLevel",
    "Trade",
    "Withheld",
    "columns_of",
    "to_dataframe",
]
