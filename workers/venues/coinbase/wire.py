"""Coinbase's wire objects, of Advanced Trade and of Exchange.

Advanced. Every frame but an error has the socket's next `sequence_num`. The channel `level2` arrives as `l2_data`:

    {"channel":"l2_data","timestamp":"2026-08-24T22:34:13.813365299Z","sequence_num":2,"events":[{"type":"update",
     "product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2026-08-24T22:34:13.592233Z",
     "price_level":"78856.05","new_quantity":"0.04868907"}]}]}
    {"channel":"market_trades","timestamp":"…","sequence_num":9,"events":[{"type":"update","trades":[{"product_id":
     "BTC-USD","trade_id":"1068572091","price":"65083.67","size":"0.01034361","time":"2026-08-09T21:05:48.167634Z",
     "side":"SELL"}]}]}
    {"channel":"subscriptions","timestamp":"…","sequence_num":3,"events":[{"subscriptions":{"level2":["BTC-USD"]}}]}
    {"channel":"heartbeats","timestamp":"…","sequence_num":35,"events":[{"current_time":"…","heartbeat_counter":41691}]}
    {"type":"error","message":"…"}

Exchange:

    {"type":"subscriptions","channels":[{"name":"level2","product_ids":["BTC-USD"]}]}
    {"type":"error","message":"Failed to subscribe","reason":"level2, level3, and full channels now require …"}
    {"type":"snapshot","product_id":"BTC-USD","bids":[["6500.11","0.45"]],"asks":[["6500.15","0.57"]],"time":"…"}
    {"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],
     "time":"2021-04-17T16:43:37.075687Z"}
    {"type":"match","trade_id":298130,"sequence":127066231,"maker_order_id":"48e3…","taker_order_id":"3e5b…",
     "time":"2019-06-01T00:00:10.382000Z","product_id":"ZEC-USDC","size":"0.22815391","price":"90.34","side":"sell"}
    {"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"…"}

The side of a trade is the maker's in both (measured on 74 groups of trades against the book: none contrary).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers.venues.wire_values import Brief, Figure, Moment

Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TradeId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TradeIdText = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]


class Envelope(Struct, gc=False):
    """Any frame of Advanced."""

    channel: str = ""
    sequence_num: Sequence | UnsetType = UNSET
    timestamp: Moment | None = None
    events: list[Raw] | UnsetType = UNSET
    type: str = ""
    message: str = ""


class BookHead(Struct, gc=False):
    """What files an event of `l2_data`; its levels are skipped, not decoded."""

    type: str
    product_id: Brief


class Update(Struct, gc=False):
    """One level; its quantity is absolute, zero deletes it."""

    side: str
    price_level: Brief
    new_quantity: Brief
    event_time: Moment | None = None


class BookEvent(Struct, gc=False):
    """A whole event of `l2_data`."""

    updates: list[Update]


class BookFrame(Struct, gc=False):
    """A frame with one event, or one event of several, as it was cut out."""

    events: tuple[BookEvent] | UnsetType = UNSET
    updates: list[Update] | UnsetType = UNSET
    timestamp: Moment | None = None


class TradesEvent(Struct, gc=False):
    """An event of `market_trades`."""

    trades: list[Raw]


class TradeHead(Struct, gc=False):
    """What files a trade of either market."""

    product_id: Brief
    trade_id: TradeIdText | TradeId
    time: Moment


class TradeRow(Struct, gc=False):
    """A whole trade of either market, of sockets and of REST."""

    trade_id: TradeIdText | TradeId
    price: Figure
    size: Figure
    side: str
    time: Moment


class Subscriptions(Struct, gc=False):
    """What Advanced lists as subscribed, by channel."""

    subscriptions: dict[str, list[str]]


class ChannelList(Struct, gc=False):
    """What Exchange lists as subscribed, of one channel."""

    name: str
    product_ids: list[str] = []


class ExchangeFrame(Struct, gc=False):
    """Any frame of Exchange."""

    type: str
    product_id: Brief = ""
    sequence: Sequence | UnsetType = UNSET
    time: Moment | None = None
    message: str | None = ""
    reason: str | None = ""
    channels: list[ChannelList] = []


class Change(Struct, array_like=True, gc=False):
    """`["sell","0.00001306","660.5"]`: `buy` is of the bids."""

    side: str
    price: Brief
    size: Brief


class Pair(Struct, array_like=True, gc=False):
    """A level of a snapshot."""

    price: Brief
    size: Brief


class ExchangeBook(Struct, gc=False):
    """A whole `snapshot` or `l2update`."""

    bids: list[Pair] = []
    asks: list[Pair] = []
    changes: list[Change] = []
    time: Moment | None = None


class TradesReply(Struct):
    """A page of Advanced: `{"trades":[…],"best_bid":"…","best_ask":"…"}`"""

    trades: list[TradeRow]


class AdvancedTime(Struct):
    """`{"iso":"…","epochSeconds":"1708367433","epochMillis":"1708367433123"}`"""

    epochMillis: str | int  # noqa: N815 -- the wire's own key


class ExchangeTime(Struct):
    """`{"iso":"2015-01-07T23:47:25.201Z","epoch":1420674445.201}`"""

    iso: Moment


class Products(Struct):
    """`{"products":[…],"num_products":920}`"""

    products: list[Raw]


class AdvancedProduct(Struct):
    """`alias` names the product whose book it shares: `BTC-USDC` has that of `BTC-USD`."""

    product_id: Brief
    price_increment: Brief = ""
    base_increment: Brief = ""
    base_currency_id: Brief = ""
    quote_currency_id: Brief = ""
    status: Brief = ""
    product_type: str = "SPOT"
    is_disabled: bool = False
    trading_disabled: bool = False
    alias: Brief = ""
    price: str = ""
    volume_24h: str = ""
    approximate_quote_24h_volume: str = ""


class ExchangeProduct(Struct):
    """One of `GET /products`."""

    id: Brief
    base_currency: Brief = ""
    quote_currency: Brief = ""
    quote_increment: Brief = ""
    base_increment: Brief = ""
    status: Brief = ""
    trading_disabled: bool = False


class DayStats(Struct):
    """`last` in the quote asset, `volume` in the base asset."""

    last: str = ""
    volume: str = ""


class Stats(Struct):
    """One of `GET /products/stats`: `"BTC-USD":{"stats_30day":{…},"stats_24hour":{"last":"…","volume":"…"}}`"""

    stats_24hour: DayStats


class ErrorBody(Struct):
    """`{"message":"NotFound"}`, or `{"error":"…","error_details":"…","message":"…"}`"""

    message: str = ""
    error: str = ""
