"""What every venue's messages about single orders become. Prices and quantities stay text, times are exchange µs."""

from __future__ import annotations

from typing import Literal

import msgspec

from workers.model.books.order_book import Side

ChangeKind = Literal["add", "put", "set", "fill", "remove"]
"""`add`: a new order. `put`: an order as it stands now, new or not. `set`: what is left of one, and perhaps another
price. `fill`: so much was taken from one. `remove`: it rests no more."""

Ending = Literal["filled", "cancelled", "unknown"]
"""Why an order rests no more. `unknown`: it was filled, cancelled, or pushed out of what the exchange shows."""


class OrderChange(msgspec.Struct, gc=False):
    """One change of one order.

    rank: what the venue orders the queue by, None: by arrival.
    time_us: when the order was placed, where the change tells; -1: it does not.
    ending: of a `remove`, why; of a `set` to less `cancelled` where the venue tells fills by themselves.
    """

    kind: ChangeKind
    order_id: str
    side: Side
    price: str = ""
    quantity: str = ""
    rank: int | None = None
    time_us: int = -1
    ending: Ending = "unknown"


class OrderMessage(msgspec.Struct):
    """One message of a stream of orders.

    message_id, previous_id: of a chain; empty where the venue has none.
    position: its number, or its time in µs, by which it is compared with a seed; 0 where there is none.
    whole: a snapshot in band: what it adds is all there is.
    checksum: what the venue says of the book after it, None: nothing.
    """

    time_us: int
    changes: list[OrderChange]
    message_id: str = ""
    previous_id: str = ""
    position: int = 0
    whole: bool = False
    checksum: int | None = None


class OrderSeed(msgspec.Struct):
    """All orders as REST gave them, each side best first and each price in queue order.

    position: the last `OrderMessage.position` that it contains.
    """

    position: int
    orders: list[OrderChange]
