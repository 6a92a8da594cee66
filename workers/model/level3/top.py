"""What is published of a level-3 book: its best levels, with how many orders stand there and who is first."""

from __future__ import annotations

import msgspec

from workers.model.level3.book import Level3Book, LevelView
from workers.model.stored_json import decoder_of


class TopOrder(msgspec.Struct, array_like=True, gc=False):
    """`["2043024875446273","0.25000000",1787620344640000,true]`: id, what is left, since when (exchange µs, -1: nobody
    told), and whether its creation was seen."""

    order_id: str
    quantity: str
    placed_us: int
    seen: bool


class TopLevel(msgspec.Struct, array_like=True, gc=False):
    """`["79640.78","0.31",2,true,[…]]`: price, exact sum, number of orders, whether they are all that rest there, and
    the first of the queue."""

    price: str
    quantity: str
    orders: int
    complete: bool
    first: list[TopOrder]


class OrdersTop(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The payload of `orders:{S}:top`: a book, or why there is none (`withheld`)."""

    s: str
    withheld: str = ""
    """Empty, and then absent, of a book that is shown."""
    b: list[TopLevel] = []
    """Bids, best first."""
    a: list[TopLevel] = []
    orders: int = 0
    """Of the whole book."""
    whole: bool = False
    """The book began with all there was; absent: no level of it is complete."""
    u: str = ""
    """The exchange's id of the last message, where it has one."""
    n: int = 0
    """Its number, or its time in µs."""
    E: int = 0
    """Its time, exchange µs."""
    synced_at: int = 0
    """Since when the book has been in sync without interruption, exchange µs."""
    received: int = 0
    """When the last message reached us, µs; absent right after a takeover."""
    published: int
    """When this was made, µs."""


_encoder = msgspec.json.Encoder()
_decode = decoder_of(OrdersTop)


def top_levels(book: Level3Book, levels: int, heads: int) -> tuple[list[TopLevel], list[TopLevel]]:
    """The best levels of bids and asks. O(levels · heads)."""
    bids, asks = book.top(levels, heads)
    return [_level(view) for view in bids], [_level(view) for view in asks]


def _level(view: LevelView) -> TopLevel:
    first = [TopOrder(order.order_id, order.quantity, order.placed_us, order.seen) for order in view.first]
    return TopLevel(view.price, view.quantity, view.orders, view.complete, first)


def encode_orders_top(top: OrdersTop) -> bytes:
    """The payload as JSON, fields in the order of the class."""
    return _encoder.encode(top)


def decode_orders_top(payload: bytes | str) -> OrdersTop:
    """The payload back. Raises: msgspec.DecodeError."""
    return _decode(payload)
