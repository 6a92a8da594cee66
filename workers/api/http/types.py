"""Every answer of the API, as types: the JSON and the OpenAPI document both come from here.

Prices and quantities go out as text with the exchange's own digits; with `?numbers=1` as JSON numbers, which are
doubles to most readers. Fields named `…_ms` are milliseconds since 1970, `timestamp` seconds.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

Number = Annotated[str | float, Meta(description="Text with exact digits; a JSON number with `numbers=1`.")]
PriceText = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=r"^(?=[0.]*[1-9](?:\.?[0-9]){0,14}[0.]*$)(?=\.?[0-9])[0-9]*\.?[0-9]*$",
        description="A plain decimal above zero, of at most 15 significant digits.",
    ),
]
LevelPair = tuple[Number, Number]
"""Price, quantity."""


class Problem(Struct, kw_only=True):
    """An error (RFC 9457, `application/problem+json`): what, where, and what to do."""

    title: str
    status: int
    detail: str
    where: str | UnsetType = UNSET
    """The place in the request, such as `query.depth`, where there is one."""
    state: str | UnsetType = UNSET
    """Of a withheld book: its state."""
    reason: str | UnsetType = UNSET
    """Of a withheld book: why it left sync."""
    reasons: list[str] | UnsetType = UNSET
    """Of `/healthz`: what does not work."""


class BookAnswer(Struct, kw_only=True):
    """A book at one update id; levels best first."""

    venue: str
    symbol: str
    last_update_id: int
    event_time_ms: int
    synced_at_ms: int
    known_low: str
    """Bids are known from this price upwards."""
    known_high: str
    """Asks are known up to this price."""
    bids: list[LevelPair]
    asks: list[LevelPair]
    age_ms: int
    """Since the stream last brought anything."""


class QuantityRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is wanted: the quantity at a price now, or at a second of the last 24 h."""

    price: PriceText | Annotated[float, Meta(ge=1e-18, lt=1e15)]
    """A JSON number is taken to 15 significant digits."""
    symbol: Annotated[str, Meta(min_length=1, max_length=40)] | UnsetType = UNSET
    venue: Annotated[str, Meta(min_length=1, max_length=40)] | UnsetType = UNSET
    timestamp: Annotated[float, Meta(ge=0, le=1e14, description="Seconds, or ms from 1e11 on.")] | None = None


class QuantityAnswer(Struct):
    """The quantity at a level."""

    target_price: Number
    actual_price: Number
    """The level the quantity is of: with a timestamp the target itself, else the nearest level."""
    timestamp: float
    quantity: Number
    difference: Number | None
    """Against one second before, at the actual price; null where that is not known."""
    is_nearest_level: bool
    """Whether another level than the target was taken, because the target has none."""


class NearestAnswer(Struct):
    """The level nearest to a price, where that is known; of equally near ones the lower."""

    target_price: Number
    nearest_price: Number
    quantity: Number
    timestamp: float
    price_difference: Number
    """Nearest price less target price."""


class HistoryGapRecord(Struct, kw_only=True):
    """Seconds `from`..`to` in which the book is not known."""

    from_: int = field(name="from")
    to: int
    reason: str


class HistoryAnswer(Struct, kw_only=True):
    """What is held of a book's history; null without any."""

    venue: str
    symbol: str
    from_: int | None = field(name="from")
    to: int | None
    seconds_held: int
    """Seconds of which the book is known."""
    blocks: int
    bytes: int
    gaps: list[HistoryGapRecord]
    archived_from: int | None = None
    """Second at which the first block in the archive starts; null without any."""
    archived_to: int | None = None
    """Second at which the last one starts; it is of a minute."""


class HistoryBookAnswer(Struct, kw_only=True):
    """The book after every event up to a second; levels best first."""

    venue: str
    symbol: str
    timestamp: int
    last_update_id: int
    known_low: str
    known_high: str
    bids: list[LevelPair]
    asks: list[LevelPair]


class HistoryQuantityAnswer(Struct, kw_only=True):
    """The quantity at a price: (second, quantity) for each second, null where it is not known."""

    venue: str
    symbol: str
    price: Number
    from_: int = field(name="from")
    to: int
    seconds: list[tuple[int, Number | None]]


class TradeRecord(Struct, omit_defaults=True):
    """One trade (an aggregate of fills, or a single one where the venue's settings say so)."""

    id: int
    """The venue's, or, with `venue_trade_id`, the number that the fleet's log gave the trade."""
    price: Number
    quantity: Number
    time_ms: int
    is_buyer_maker: bool
    first_trade_id: int
    last_trade_id: int
    venue_trade_id: str = ""
    """The venue's own id as text, where its ids are not consecutive; left out where `id` is the venue's."""


class TradesAnswer(Struct):
    """Trades, oldest first by time and id."""

    venue: str
    symbol: str
    trades: list[TradeRecord]
    next_after_id: int | None
    """`after_id` of the next page; null when this one was not full."""


class BarRecord(Struct, kw_only=True):
    """One trade window."""

    start_ms: int
    end_ms: int
    """Last ms of the window."""
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    quote_volume: Number
    buy_volume: Number
    trades_count: int
    is_buyer_maker_count: int
    skipped_count: int
    first_trade_id: int
    last_trade_id: int
    first_agg_trade_id: int
    last_agg_trade_id: int
    last_trade_ms: int
    complete: bool
    """The ids prove that no trade is missing; of an open window: none so far."""
    reason: str
    """Why it is not complete: `unproven`, `not provable` (no trade is known to be missing, but the venue's ids cannot
    prove it), `missing`, `began` or `late`; else empty."""
    revision: int
    closed: bool


class BarsAnswer(Struct):
    """Windows, oldest first; the last one may be open."""

    venue: str
    symbol: str
    interval: str
    bars: list[BarRecord]


Kline = Annotated[
    list[Any],
    Meta(
        min_length=12,
        max_length=12,
        description="[open ms, open, high, low, close, volume, close ms, quote volume, fills, buy volume, null, null]",
    ),
]


class StatsAnswer(Struct):
    """The newest window of each interval that has one."""

    venue: str
    symbol: str
    stats: dict[str, BarRecord]
