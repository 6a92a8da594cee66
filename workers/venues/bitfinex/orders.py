"""Bitfinex's single orders: books of precision R0, a window of at most 250 orders a side.

    [312671,[[34753002978,7294.7,1.54340371],[34753002979,7295.1,-0.2]],4,1790134414850]
    [312671,[34753002978,7294.7,1.10000000],9,1790134414990]
    [312671,[34753002978,0,1],10,1790134415001]
    [312671,"cs",-1155249647,11,1790134415002]

Order id, price, amount: bids above zero, asks below. A price of zero removes. An order that is pushed out of the window
is removed as well, and one that comes into view is told like a new one: a removal is no cancel, and only an id above
all before it is a new order. Ids rise with time, so they order a queue whose orders come and go. Frames are numbered on
the socket, where a lost one shows.
"""

from __future__ import annotations

from typing import Annotated, Final
from zlib import crc32

import msgspec
from msgspec import Meta, Raw, Struct

from workers.model.books.order_book import Side
from workers.model.level3.book import Level3Book
from workers.model.level3.events import OrderChange, OrderMessage
from workers.model.level3.queue import Order
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.venues.bitfinex.checksum import LEVELS, as_sent
from workers.venues.bitfinex.wire import Signed32, data_frame, rows
from workers.venues.tolerant_json import UNUSABLE, malformed
from workers.venues.wire_values import number_text

PRECISION: Final = "R0"
"""Of a book of single orders."""
WINDOW: Final = 250
"""Orders a side of the longest subscription."""

OrderId = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class WireOrder(Struct, array_like=True, gc=False):
    """`[34753002978,7294.7,1.54340371]`"""

    order_id: OrderId
    price: Raw
    amount: Raw


_order_decoder = msgspec.json.Decoder(WireOrder)
_checksum_decoder = msgspec.json.Decoder(Signed32)


def order_rules(window: int = WINDOW) -> OrderRules:
    """Of a subscription of so many orders a side."""
    return OrderRules(
        Continuity.ELSEWHERE,
        Beginning.IN_BAND,
        unknown=Unknown.LOSS,
        window=window,
        checksum=orders_checksum,
    )


def orders_checksum(book: Level3Book) -> int:
    """Best bid, best ask, second bid, …: id and amount of 25 orders a side, those of a price by id, as a signed number
    of 32 bits. Where an order stands in its queue plays no part. O(orders of those prices)."""
    bids, asks = _best_orders(book, "bid"), _best_orders(book, "ask")
    figures: list[str] = []
    for index in range(max(len(bids), len(asks))):
        if index < len(bids):
            figures += (bids[index].order_id, as_sent(bids[index].quantity))
        if index < len(asks):
            figures += (asks[index].order_id, f"-{as_sent(asks[index].quantity)}")
    unsigned = crc32(":".join(figures).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


def _best_orders(book: Level3Book, side: Side) -> list[Order]:
    orders: list[Order] = []
    for queue in book.levels(side):
        orders += sorted(queue, key=lambda order: int(order.order_id))
        if len(orders) >= LEVELS:
            break
    return orders[:LEVELS]


def order_message(venue: str, data: bytes) -> OrderMessage | None:
    """One frame, None for a heartbeat. Raises: MalformedFrame."""
    try:
        frame = data_frame(data)
        if frame.payload is None:
            return None
        time_us = max(frame.time_ms, 0) * 1000
        if frame.tag == "cs":
            checksum = _checksum_decoder.decode(frame.payload)
            return OrderMessage(time_us, [], position=frame.sequence, checksum=checksum)
        orders, whole = rows(frame.payload)
        placed_us = -1 if whole or frame.time_ms < 0 else time_us
        changes = [_change(_order_decoder.decode(row), placed_us) for row in orders]
    except (*UNUSABLE, ValueError) as error:
        raise malformed(venue, "order frame", str(error), data) from None
    if whole:
        changes.sort(
            key=lambda change: change.rank or 0
        )  # it has no times: a queue begins in the order of ids
    return OrderMessage(time_us, changes, position=frame.sequence, whole=whole)


def _change(order: WireOrder, placed_us: int) -> OrderChange:
    price, amount = number_text(order.price), number_text(order.amount)
    side: Side = "ask" if amount.startswith("-") else "bid"
    order_id = str(order.order_id)
    if not price.strip("0."):
        return OrderChange("remove", order_id, side)
    return OrderChange("put", order_id, side, price, amount.removeprefix("-"), order.order_id, placed_us)
