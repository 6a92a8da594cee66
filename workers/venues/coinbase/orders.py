"""Single orders of Coinbase Exchange: the channel `full`, and REST `products/<product>/book?level=3`.

    {"type":"received","sequence":9,"order_id":"d50ec984-…","size":"1.00","price":"200.2","side":"sell",
     "order_type":"limit","product_id":"BTC-USD","time":"2014-11-07T08:19:27.028459Z"}
    {"type":"open","sequence":10,"order_id":"d50ec984-…","price":"200.2","remaining_size":"1.00","side":"sell",
     "product_id":"BTC-USD","time":"2014-11-07T08:19:27.028459Z"}
    {"type":"match","sequence":50,"trade_id":10,"maker_order_id":"ac928c66-…","taker_order_id":"132fb6ae-…",
     "time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}
    {"type":"change","reason":"STP","sequence":80,"order_id":"ac928c66-…","side":"sell","old_size":"12.234412",
     "new_size":"5.23512","price":"400.23","product_id":"BTC-USD","time":"2014-11-07T08:19:27.028459Z"}
    {"type":"done","sequence":11,"price":"200.2","order_id":"d50ec984-…","reason":"filled","side":"sell",
     "remaining_size":"0","product_id":"BTC-USD","time":"2014-11-07T08:19:27.028459Z"}

    {"sequence":3,"bids":[["6247.58","6.3578146","a7a2…"]],"asks":[["6251.52","2","b8c3…"]]}

A product's messages of all types are numbered without a gap. `received` rests nowhere yet, and most of what is `done`
never did, though it may be changed; `match` has the maker's side, and takes from the maker. A `change` of an order to
another price has `new_price`, the `price` of any other is the order's own, and null of a market order, which never
rests. `noop` is of no order, and `activate`, of a stop order of one's own, has no number.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from workers.errors import MalformedFrame
from workers.model.books.order_book import Side
from workers.model.level3.events import Ending, OrderChange, OrderMessage, OrderSeed
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.venues.tolerant_json import decode, malformed
from workers.venues.wire_values import Moment, microseconds

Id = Annotated[str, Meta(max_length=64)]
Figure = Annotated[str, Meta(max_length=40)]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]

CHANNEL: Final = "full"
OF_ORDERS: Final = frozenset({"open", "match", "change", "done"})
"""Types that change the book: whatever else has a number takes its place in the stream, and says no more."""

RULES: Final = OrderRules(Continuity.SEQUENCE, Beginning.REST, unknown=Unknown.NORMAL)


class EventHead(Struct, gc=False):
    """Any message of the channel, also of a type that nobody knows yet."""

    type: str
    sequence: Sequence
    time: Moment


class OrderEvent(EventHead, gc=False):
    """A message of an order. What a market order has no figure for is absent or null."""

    side: Literal["buy", "sell"] = "buy"
    order_id: Id = ""
    maker_order_id: Id = ""
    price: Figure | None = None
    size: Figure | None = None
    remaining_size: Figure | None = None
    new_size: Figure | None = None
    new_price: Figure | None = None
    reason: Figure | None = None


class SeedRow(Struct, array_like=True, gc=False):
    """`["6247.58","6.3578146","a7a2…"]`"""

    price: Figure
    quantity: Figure
    order_id: Id


class SeedReply(Struct, gc=False):
    """The reply of REST."""

    sequence: Sequence
    bids: list[SeedRow]
    asks: list[SeedRow]


_head_decoder = msgspec.json.Decoder(EventHead)
_event_decoder = msgspec.json.Decoder(OrderEvent)
_seed_decoder = msgspec.json.Decoder(SeedReply)


def order_message(venue: str, data: bytes) -> OrderMessage:
    """One message. Raises: MalformedFrame."""
    try:
        event: EventHead = decode(venue, _event_decoder, data, "order event")
    except MalformedFrame:
        event = decode(venue, _head_decoder, data, "order event")
        if event.type in OF_ORDERS:
            raise
    time_us = microseconds(event.time)
    change = _change(event, time_us) if isinstance(event, OrderEvent) else None
    if change is not None and not change.order_id:
        raise malformed(venue, "order event", "it names no order", data)
    number = event.sequence
    return OrderMessage(time_us, [change] if change else [], str(number), position=number)


def order_seed(venue: str, body: bytes) -> OrderSeed:
    """The orders of REST, those of a price in queue order. Raises: MalformedFrame."""
    reply = decode(venue, _seed_decoder, body, "order book")
    return OrderSeed(reply.sequence, [*_rows(reply.bids, "bid"), *_rows(reply.asks, "ask")])


def _rows(rows: list[SeedRow], side: Side) -> list[OrderChange]:
    return [OrderChange("add", row.order_id, side, row.price, row.quantity) for row in rows]


def _change(event: OrderEvent, time_us: int) -> OrderChange | None:
    side: Side = "bid" if event.side == "buy" else "ask"
    price = event.price or ""
    if event.type == "open":
        return OrderChange("add", event.order_id, side, price, event.remaining_size or "", time_us=time_us)
    if event.type == "match":
        return OrderChange("fill", event.maker_order_id, side, price, event.size or "")
    if event.type == "done":
        ending: Ending = "filled" if event.reason == "filled" else "cancelled"
        return OrderChange("remove", event.order_id, side, price, ending=ending)
    if event.type == "change" and (event.new_size or event.new_price):
        return OrderChange(
            "set", event.order_id, side, event.new_price or "", event.new_size or "", ending="cancelled"
        )
    return None
