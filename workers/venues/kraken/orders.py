"""Kraken's single orders: the channel `level3` of socket v2.

    {"channel":"level3","type":"snapshot","data":[{"symbol":"MATIC/USD","bids":[{"order_id":"OEV5ES-SZKHN-DZJQHV",
     "limit_price":0.5634,"order_qty":2400.5,"timestamp":"2023-10-06T18:20:25.097010033Z"}],"asks":[],
     "checksum":2841398499,"timestamp":"2023-10-06T18:20:26.000000Z"}]}
    {"channel":"level3","type":"update","data":[{"symbol":"BTC/USD","timestamp":"2025-11-10T17:04:12.000000Z",
     "checksum":1063832831,"bids":[{"event":"modify","order_id":"OEV5ES-SZKHN-DZJQHV","limit_price":44939.4,
     "order_qty":0.45210000,"timestamp":"2025-11-10T17:04:11.097010033Z"}],"asks":[]}]}

`event`: add, modify (what is left), delete. Numbers are JSON numbers, perhaps with an exponent, whose text is part of
the checksum. A queue is ordered by the orders' times. A `modify` of the quantity alone keeps the place, also one to
more: so clients have it, while the exchange's words on amendments are that more costs the place. It is a setting, and
each checksum shows whether it is right.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import islice
from typing import Annotated, Final
from zlib import crc32

import msgspec
from msgspec import Meta, Raw, Struct

from workers.model.books.order_book import Side
from workers.model.level3.book import Level3Book
from workers.model.level3.events import ChangeKind, OrderChange, OrderMessage
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.venues.kraken.checksum import LEVELS
from workers.venues.kraken.wire import Crc
from workers.venues.tolerant_json import decode, malformed
from workers.venues.wire_values import number_text

OrderId = Annotated[str, Meta(min_length=1, max_length=64)]
Timestamp = Annotated[str, Meta(max_length=40)]
_TIMESTAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_KINDS: Final[dict[str, ChangeKind]] = {"add": "add", "modify": "set", "delete": "remove"}


class WireOrder(Struct, gc=False):
    """An order of a snapshot, or a change of one."""

    order_id: OrderId
    limit_price: Raw
    order_qty: Raw
    timestamp: Timestamp
    event: str = "add"


class Orders(Struct, gc=False):
    """What a message says of one symbol."""

    bids: list[WireOrder] = []
    asks: list[WireOrder] = []
    checksum: Crc = 0
    timestamp: Timestamp = ""


class OrderFrame(Struct, gc=False):
    """A frame of the channel, which has one symbol."""

    type: str
    data: tuple[Orders]


_decoder = msgspec.json.Decoder(OrderFrame)


def order_rules(depth: int, *, keeps_place: bool = True) -> OrderRules:
    """Of a subscription of so many prices a side. An unknown order is left to the checksum, which every message has.

    Args:
        keeps_place: an order that is made larger keeps its place.
    """
    return OrderRules(
        Continuity.ELSEWHERE,
        Beginning.IN_BAND,
        keeps_place=keeps_place,
        unknown=Unknown.DOUBT,
        levels=depth,
        checksum=orders_checksum,
    )


def orders_checksum(book: Level3Book) -> int:
    """Of the ten best asks upwards, then the ten best bids downwards, every order from the head of its queue:
    price and quantity as sent, without points and leading zeros. O(orders of those levels).

    Source: Kraken's guide "Spot WebSocket (L3) book checksum"; its example is in the tests.
    """
    text = "".join(
        queue.price.replace(".", "").lstrip("0") + order.quantity.replace(".", "").lstrip("0")
        for side in ("ask", "bid")
        for queue in islice(book.levels("ask" if side == "ask" else "bid"), LEVELS)
        for order in queue
    )
    return crc32(text.encode())


def order_message(venue: str, data: bytes) -> OrderMessage:
    """One message. Raises: MalformedFrame."""
    frame = decode(venue, _decoder, data, "order message")
    (orders,) = frame.data
    try:
        changes = [*_changes(orders.bids, "bid"), *_changes(orders.asks, "ask")]
        # a snapshot may be without a time of its own
        newest_us = max((change.time_us for change in changes), default=0)
        time_us = _nanoseconds(orders.timestamp) // 1000 if orders.timestamp else newest_us
    except (KeyError, ValueError) as error:
        raise malformed(venue, "order message", str(error), data) from None
    # nothing is numbered: by its time a book is known to stand where another one does
    whole, checksum = frame.type == "snapshot", orders.checksum or None
    return OrderMessage(time_us, changes, position=time_us, whole=whole, checksum=checksum)


def _changes(orders: list[WireOrder], side: Side) -> list[OrderChange]:
    changes = []
    for order in orders:
        placed_ns = _nanoseconds(order.timestamp)
        changes.append(
            OrderChange(
                _KINDS[order.event],
                order.order_id,
                side,
                number_text(order.limit_price),
                number_text(order.order_qty),
                placed_ns,
                placed_ns // 1000,
            )
        )
    return changes


def _nanoseconds(text: str) -> int:
    """Of an RFC 3339 time since 1970: a queue is ordered by more digits than a `datetime` has. -1 for one before it.

    Raises:
        ValueError: it is none, or one that 63 bits do not hold.
    """
    parts = _TIMESTAMP.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is no time")
    seconds = int(datetime.fromisoformat(f"{parts[1]}+00:00").timestamp())
    nanoseconds = seconds * 10**9 + int((parts[2] or "").ljust(9, "0"))
    if nanoseconds >= 2**63:
        raise ValueError(f"{text!r} is too late")
    return max(nanoseconds, -1)
