"""What a client reads: typed records, numbers with the exchange's own digits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from workers.client.numbers import Number
from workers.model.analytics.events import AnalyticsEvent
from workers.model.books.order_book import Side


class PriceLevel(NamedTuple):
    """One price of a book and the quantity there."""

    price: Number
    quantity: Number


class BookTop(NamedTuple):
    """The best levels of a book, as published."""

    symbol: str
    position: str
    """The id of its entry in `book:{S}:top`; empty for the one that was shown when the reading began."""
    bids: list[PriceLevel]
    """Best first, 10 at most; fewer where the exchange has fewer, or the known range ends before."""
    asks: list[PriceLevel]
    update_id: int
    event_time_ms: int
    transaction_time_ms: int
    """0 where the exchange sends none (spot)."""
    synced_at_ms: int
    received_us: int
    published_us: int

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid; None while a side is empty."""
        if not self.bids or not self.asks:
            return None
        return self.asks[0].price.decimal - self.bids[0].price.decimal

    @property
    def mid(self) -> Decimal | None:
        """The middle of best bid and best ask; None while a side is empty."""
        if not self.bids or not self.asks:
            return None
        return (self.asks[0].price.decimal + self.bids[0].price.decimal) / 2


class Book(NamedTuple):
    """A whole book: every level that is known."""

    symbol: str
    update_id: int
    event_time_ms: int
    synced_at_ms: int
    known_low: Number
    """Bids are known from this price upwards: a price without a level has none. `0`: to their end."""
    known_high: Number
    """Asks are known up to this price. `inf`: to their end."""
    bids: list[PriceLevel]
    """Best first."""
    asks: list[PriceLevel]
    at_s: int | None = None
    """The second the book is of; None: now."""

    def nearest_level(self, price: str) -> PriceLevel | None:
        """The level nearest to a price, of equally near ones the lower; None where there is none, or another one, which
        is not known, could be nearer.

        Raises:
            ValueError: the price is no number.
        """
        target = Number(price).decimal
        if not target.is_finite():
            raise ValueError(f"{price!r} is no price")
        near = [
            (abs(level.price.decimal - target), level.price.decimal, level)
            for level in (*self.bids, *self.asks)
        ]
        if not near:
            return None
        away, _, nearest = min(near, key=lambda entry: entry[:2])
        low, high = self.known_low.decimal, self.known_high.decimal
        is_known = (target - away >= low or low <= 0) and target + away <= high
        return nearest if is_known else None


class Trade(NamedTuple):
    """One aggregate trade."""

    symbol: str
    position: str
    """The id of its entry in `raw:{S}:aggTrade`; empty for one read from `trades:{S}:latest`."""
    trade_id: int
    """Consecutive for each symbol: the aggregate id, or, with `venue_trade_id`, the number that the log gave it."""
    price: Number
    quantity: Number
    trade_time_ms: int
    event_time_ms: int
    is_buyer_maker: bool
    first_trade_id: int
    last_trade_id: int
    venue_trade_id: str = ""
    """The venue's own id as text, where its ids are not consecutive; else empty."""


class Bar(NamedTuple):
    """One window of trades. A later entry of the same `start_ms` replaces it (`revision`)."""

    symbol: str
    position: str
    """The id of its entry in `bars:{S}:<interval>`; empty for the open window."""
    interval: str
    start_ms: int
    revision: int
    complete: bool
    """No trade of the window is missing: the ids prove it (of an open one: so far)."""
    reason: str
    """Why it is not complete: `unproven`, `not provable`, `missing`, `began` or `late` (docs/keys.md); else empty."""
    closed: bool
    last_update_ms: int
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    quote_volume: Number
    buy_volume: Number
    trades_count: int
    skipped_count: int
    is_buyer_maker_count: int
    first_trade_id: int
    last_trade_id: int
    first_agg_trade_id: int
    last_agg_trade_id: int

    @property
    def vwap(self) -> Decimal | None:
        """Quote volume by volume; None for a window without volume."""
        volume = self.volume.decimal
        return self.quote_volume.decimal / volume if volume else None


class Derivative(NamedTuple):
    """What is known of a contract besides its book and its trades; None: never said, or it has none."""

    symbol: str
    position: str
    """The id of its entry in `derivatives:{S}`."""
    mark_price: Number | None
    index_price: Number | None
    funding_rate: Number | None
    """Of the next funding."""
    next_funding_time_ms: int | None
    open_interest: Number | None
    """In the exchange's unit: coins or contracts (docs/keys.md)."""
    at_ms: Mapping[str, int]
    """When the exchange said each of them, by name: `mark_price`, `next_funding_time` and so on."""


class Liquidation(NamedTuple):
    """A position that is closed by force."""

    symbol: str
    position: str
    """The id of its entry in `liquidations:{S}`."""
    side: str
    """Of the order that closes it: `sell` closes a long position."""
    price: Number
    quantity: Number
    time_ms: int
    event_time_ms: int
    average_price: Number | None
    """At which it was filled, where that is told."""
    venue_id: str
    """The exchange's id, where it has one."""


class RawMessage(NamedTuple):
    """A message of the exchange, as it came."""

    symbol: str
    position: str
    """The id of its entry in `raw:{S}:<channel>`: the event's time in ms, and an update id or the log's number."""
    channel: str
    data: bytes
    """The exchange's own bytes."""
    received_us: int
    line: str
    """Which line brought the first copy."""
    kind: str = "update"
    """Of depth streams what the entry is (docs/keys.md)."""


class RestingOrder(NamedTuple):
    """One order that rests."""

    order_id: str
    quantity: Number
    """What is left of it."""
    placed_us: int | None
    """Since when it stands, exchange µs; None: nobody told."""
    is_seen: bool
    """Its creation was seen; else it is from a seed."""


class OrderLevel(NamedTuple):
    """One price and its queue."""

    price: Number
    quantity: Number
    """The exact sum of the orders that are known."""
    orders_count: int
    is_complete: bool
    """They are known to be all that rest there; else sum, number and places are lower bounds."""
    first: list[RestingOrder]
    """The first of the queue, its head first: of a publication `orders.heads` (5) at most."""


class Orders(NamedTuple):
    """The single orders of a symbol now, level by level."""

    symbol: str
    bids: list[OrderLevel]
    """Best first."""
    asks: list[OrderLevel]
    orders_count: int
    """Of the whole book."""
    is_whole: bool
    """The book began with all there was; else no level is complete."""
    last_id: str
    """The exchange's id of the last message, where it has one."""
    last_number: int
    """Its number, or its time in µs."""
    event_us: int
    synced_at_us: int


class OrderPlace(NamedTuple):
    """Where one order stands."""

    symbol: str
    side: Side
    price: Number
    order: RestingOrder
    orders_ahead: int
    quantity_ahead: Number
    is_exact: bool
    """False: more may stand ahead that nobody told; both are lower bounds."""
    level_quantity: Number
    level_orders: int


class OrdersTop(NamedTuple):
    """The best levels of single orders, as published."""

    symbol: str
    position: str
    """The id of its entry in `orders:{S}:top`."""
    bids: list[OrderLevel]
    """Best first, `orders.levels` (10) at most."""
    asks: list[OrderLevel]
    orders_count: int
    """Of the whole book."""
    is_whole: bool
    """The book began with all there was; else no level is complete."""
    last_id: str
    """The exchange's id of the last message, where it has one."""
    last_number: int
    """Its number, or its time in µs."""
    event_us: int
    synced_at_us: int
    received_us: int
    """0 right after a takeover."""
    published_us: int


class AnalyticsRecord(NamedTuple):
    """A wall, iceberg or flicker, when it was told."""

    symbol: str
    position: str
    """The id of its entry in `analytics:{S}:events`."""
    event: AnalyticsEvent


class Gap(NamedTuple):
    """Something is missing between the record before and the one after."""

    symbol: str
    channel: str
    """`books`, `trades`, `bars`, `derivatives`, `liquidations`, `orders`, `analytics`, or `raw:` and a channel."""
    reason: str
    """`trimmed`: the stream no longer reached back to the reader's place. `ids jump`: these trades were not to be had.
    `restarted`: stream or ids began anew. `undecodable`: an entry that is none of ours. `no stream`: the key holds
    another type, and is looked at again every 2 s. `connection`: trades were not received, of a venue whose ids do not
    tell which."""
    first: str
    """Trades: the first id missing; else the entry up to which everything was read."""
    last: str
    """Trades: the last id missing; else the oldest entry there is now."""
    missing: int | None
    """How many trades; None where it cannot be told."""


class Withheld(NamedTuple):
    """A book cannot be trusted now: what was read of it before is not to be used. Its next `BookTop`, or `OrdersTop`,
    ends it."""

    symbol: str
    state: str
    """As in `book:{S}:status` or `orders:{S}:status`, or `not owned`: no worker holds the book, the fleet may have
    stopped; or `unheard`: its owner has said nothing of it for 10 s."""
    reason: str


class Interrupted(NamedTuple):
    """Redis does not answer. The reading goes on by itself, where it was, when it does."""

    reason: str


Notice = Gap | Withheld | Interrupted
