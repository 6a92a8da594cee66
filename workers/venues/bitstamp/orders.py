"""Bitstamp's single orders: the channel `live_orders_<pair>`, and REST `order_book/<pair>/?group=2`.

    {"data":{"id":2043024875712512,"id_str":"2043024875712512","order_type":0,"order_subtype":4,
     "datetime":"1787620345","microtimestamp":"1787620344704000","amount":0.001,"amount_str":"0.00100000",
     "amount_traded":"0","amount_at_create":"0.00100000","price":79644.33,"price_str":"79644.33",
     "is_liquidation":false},"channel":"live_orders_btcusd","event":"order_created",
     "event_id":"000659d4-cba3-ac00-0000-000101000020","pre_event_id":"000659d4-cba3-8108-0000-000100000020",
     "order_source":"orderbook"}
    {"data":{…,"amount_str":"0","amount_traded":"0.00100000","price_str":"79640.91"},…,"event":"order_deleted",…}
    {"data":{…,"amount_str":"0.02178180","amount_traded":"0.00100000","price_str":"79640.91"},…,
     "event":"order_changed",…}

    {"timestamp":"1787620347","microtimestamp":"1787620347152764",
     "bids":[["79617.37","0.19000000","2043024885198848"]],"asks":[["79620.74","0.06279771","2043024885731330"]]}

`order_type`: 0 bid, 1 ask. `amount_str` is what is left. The price of a change or an end is often that of an execution,
not the order's: orders are found by id, and never moved (83 of 266 changes had another price, 81 of them takers'). The
first 16 hexadecimal digits of `event_id` are its time in µs, the next four count within it, and as text the ids are in
order.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from workers.model.books.order_book import Side
from workers.model.level3.events import Ending, OrderChange, OrderMessage, OrderSeed
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.venues.bitstamp.wire import Microseconds
from workers.venues.tolerant_json import decode, malformed
from workers.venues.wire_values import Text

CHANNEL: Final = "live_orders"
EVENTS: Final = frozenset({"order_created", "order_changed", "order_deleted"})

EventId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
OrderId = Annotated[str, Meta(pattern=r"^[0-9]{1,19}$")]
OrderType = Annotated[int, Meta(ge=0, le=1)]

LIVE: Final = OrderRules(
    Continuity.CHAIN, Beginning.EMPTY, moves=False, keeps_place=True, unknown=Unknown.DOUBT, phantoms=True
)
"""Without a seed: nothing false stands in the book, and no level of it is complete."""
SEEDED: Final = LIVE._replace(beginning=Beginning.REST)
"""With a seed, whose phantoms are purged."""

_COUNT_BITS: Final = 13
"""Of the number of an event: 8,192 of one µs, and times up to 2041, are in the 64 bits of a stream's id."""


class WireOrder(Struct, gc=False):
    """`data` of an event."""

    id_str: OrderId
    order_type: OrderType
    microtimestamp: Microseconds
    amount_str: Text
    price_str: Text


class OrderFrame(Struct, gc=False):
    """A frame of the channel."""

    data: WireOrder
    event: str
    event_id: EventId
    pre_event_id: EventId


class OrderHead(Struct, gc=False):
    """What files a frame of the channel."""

    event_id: EventId
    pre_event_id: EventId


class SeedRow(Struct, array_like=True, gc=False):
    """`["79617.37","0.19000000","2043024885198848"]`"""

    price: Text
    quantity: Text
    order_id: OrderId


class SeedReply(Struct, gc=False):
    """The reply of REST."""

    microtimestamp: Microseconds
    bids: list[SeedRow]
    asks: list[SeedRow]


_frame_decoder = msgspec.json.Decoder(OrderFrame, strict=False)
_head_decoder = msgspec.json.Decoder(OrderHead)
_seed_decoder = msgspec.json.Decoder(SeedReply, strict=False)


def order_numbers(venue: str, frame: bytes | str) -> tuple[int, int, int]:
    """The time of an event, µs, and two numbers that rise with the ids: its own and that of the event before it.

    Raises:
        MalformedFrame: it has none, or one that is not of this century.
    """
    head = decode(venue, _head_decoder, frame, "order event")
    try:
        (micros, number), (_, before) = _numbered(head.event_id), _numbered(head.pre_event_id)
    except ValueError as error:
        raise malformed(venue, "order event", str(error), frame) from None
    return micros, number, before


def _numbered(event_id: str) -> tuple[int, int]:
    micros, within = int(event_id[:18].replace("-", ""), 16), int(event_id[19:23], 16)
    if micros >> (64 - _COUNT_BITS) or within >> _COUNT_BITS:
        raise ValueError("its id is none")
    return micros, micros << _COUNT_BITS | within


def order_message(venue: str, data: bytes) -> OrderMessage:
    """One event. Raises: MalformedFrame."""
    frame = decode(venue, _frame_decoder, data, "order event")
    position = int(frame.event_id[:18].replace("-", ""), 16)
    change = _change(frame)
    return OrderMessage(
        position, [change] if change else [], frame.event_id, frame.pre_event_id, position=position
    )


def order_seed(venue: str, body: bytes) -> OrderSeed:
    """The orders of REST. Raises: MalformedFrame."""
    reply = decode(venue, _seed_decoder, body, "order book")
    return OrderSeed(reply.microtimestamp, [*_rows(reply.bids, "bid"), *_rows(reply.asks, "ask")])


def _rows(rows: list[SeedRow], side: Side) -> list[OrderChange]:
    return [OrderChange("add", row.order_id, side, row.price, row.quantity) for row in rows]


def _change(frame: OrderFrame) -> OrderChange | None:
    order = frame.data
    side: Side = "ask" if order.order_type else "bid"
    left = bool(order.amount_str.strip("0."))
    if frame.event == "order_deleted":
        ending: Ending = "cancelled" if left else "filled"
        price = order.price_str if order.price_str.strip("0.") else ""  # of one that never rested
        return OrderChange("remove", order.id_str, side, price, ending=ending)
    if frame.event == "order_changed":
        return OrderChange("set", order.id_str, side, order.price_str, order.amount_str)
    if frame.event == "order_created" and left and order.price_str.strip("0."):
        return OrderChange(
            "add", order.id_str, side, order.price_str, order.amount_str, time_us=order.microtimestamp
        )
    return None  # what has no price or quantity of its own never rests
