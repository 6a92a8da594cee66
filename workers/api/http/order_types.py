"""What the API answers of single orders."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class RestingOrder(Struct):
    """An order that rests."""

    id: str
    quantity: str
    """What is left of it."""
    placed_us: Annotated[
        int | None, Meta(description="Since when it stands, exchange µs; null: nobody told.")
    ]
    age_ms: Annotated[
        int | None, Meta(description="Until the last message, by the exchange's clock; null: not known.")
    ]
    is_seen: Annotated[
        bool, Meta(description="Its creation was seen; else it is from a seed, as REST told it.")
    ]


class OrderLevel(Struct):
    """A price and its queue."""

    price: str
    quantity: str
    """The exact sum of the orders that are known."""
    orders_count: int
    is_complete: Annotated[
        bool, Meta(description="They are known to be all; else sum and number are lower bounds.")
    ]
    orders: list[RestingOrder]
    """The first of the queue, its head first."""


class OrdersAnswer(Struct):
    """The best levels with the first orders of their queues."""

    venue: str
    symbol: str
    last_id: str
    last_number: int
    event_us: int
    synced_at_us: int
    is_whole: Annotated[
        bool, Meta(description="The book began with all there was; else no level is complete.")
    ]
    orders_count: int
    """Of the whole book."""
    bids: list[OrderLevel]
    asks: list[OrderLevel]


class OrderAnswer(Struct):
    """Where an order stands."""

    venue: str
    symbol: str
    side: Literal["bid", "ask"]
    price: str
    order: RestingOrder
    orders_ahead: int
    quantity_ahead: str
    is_exact: Annotated[
        bool, Meta(description="False: more may stand ahead that nobody told; both are lower bounds.")
    ]
    level_quantity: str
    level_orders: int
