"""Every answer of the API, as types: the JSON and the OpenAPI document both come from here.

Prices and quantities go out as text with the exchange's own digits; with `?numbers=1` as JSON numbers, which are
doubles to most readers. Fields named `…_ms` are milliseconds since 1970, `timestamp` seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

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


HealthState = Literal["ok", "degraded", "down"]


class VenueHealth(Struct):
    """How much of a venue is served."""

    venue: str
    is_connected: bool
    """A line has living sockets to the exchange."""
    books_shown: int
    books_followed: int
    silent_ms: int | None
    """Since the stream of any symbol last brought anything; null where none did."""


class Healthy(Struct):
    """What of the fleet works, as it was seen `redis_age_ms` ago."""

    ok: bool
    """Everything."""
    state: HealthState
    reasons: list[str]
    """What does not work; empty when `ok`."""
    redis_age_ms: int | None
    """Since Redis last answered; it is asked twice a second."""
    venues: list[VenueHealth]


class Alive(Struct):
    """The process answers."""

    ok: bool


class Lag(Struct):
    """Entries not yet delivered to a consumer group, and delivered but not acknowledged."""

    waiting: int
    pending: int


class Lags(Struct):
    """How far the folds are behind their streams."""

    depth: Lag
    trades: Lag


class Trust(Struct):
    """How far a book may be trusted: 1 is fully, 0 is not at all; `why` names each deduction."""

    score: Annotated[float, Meta(ge=0, le=1)]
    why: list[str]


class LastAudit(Struct):
    """The last comparison of the book with an independent snapshot."""

    time_ms: int
    outcome: str
    last_update_id: int | None


class Checksums(Struct):
    """How many of the exchange's checksums the book bore out, of those it was compared with since it has this owner."""

    ok: int
    of: int


class TradesProgress(Struct):
    """How far the fold of the trades is, and its totals since it began."""

    last_id: int | None
    last_trade_ms: int | None
    applied: int
    repeated: int
    missing: int
    late: int
    not_market: int
    state: str = ""
    """`unreadable` while the trades cannot be folded, `repairing` while a hole cannot be filled; else empty."""
    reason: str = ""
    """Which key holds what cannot be used, and the command that lets the fleet make it anew; or why REST does not
    give the missing trades."""


class SymbolState(Struct, kw_only=True):
    """One symbol: its book, its trades, and how far to trust them."""

    venue: str
    symbol: str
    is_connected: bool
    """A line has living sockets to the venue."""
    state: str
    """`synced`, or why the book is withheld."""
    reason: str
    """Why it last left sync, or that nobody owns it."""
    shown: bool
    """Whether `LIVE_ORDERBOOK` has the book, which it has only while it is in sync."""
    last_update_id: int | None
    bids_count: int
    asks_count: int
    history_count: int
    """Blocks of history held, one a minute."""
    age_ms: int | None
    """Since the stream last brought anything."""
    known_low: str
    known_high: str
    sync_count: int
    gap_count: int
    synced_at_ms: int | None
    last_audit: LastAudit | None
    second_source: str
    """By what the book is audited: `rest`, `in band` (its stream brings the whole book again), `checksum` or `none`."""
    checksums: Checksums
    trust: Trust
    owner: str | None
    trades: TradesProgress
    lag: Lags


class RedisState(Struct):
    """Bytes used, the limit (0: none), and the server's version."""

    used_memory: int
    maxmemory: int
    version: str


class FleetState(Struct):
    """The live workers, each as its heartbeat describes it, and the server."""

    workers: list[dict[str, str | int | float]]
    redis: RedisState


class StatusAnswer(Struct):
    """The fleet and every symbol."""

    fleet: FleetState
    symbols: list[SymbolState]


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


class SymbolInfo(Struct):
    """What the exchange says of a symbol; empty text where it has not said it yet."""

    venue: str
    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    tick_size: str
    step_size: str
    last_trade_ms: int | None


class VenueInfo(Struct):
    """A section of the settings."""

    venue: str
    exchange: str
    market: str
    default_symbol: str


class SymbolsAnswer(Struct):
    """Every symbol that is followed."""

    venues: list[VenueInfo]
    symbols: list[SymbolInfo]


class GapEntry(Struct):
    """A hole in what was received; `first`..`last` are ids of the channel."""

    id: str
    time_ms: int
    channel: str
    first: int
    last: int
    reason: str
    repaired: str


class GapsAnswer(Struct):
    """Holes, newest first."""

    venue: str
    symbol: str
    gaps: list[GapEntry]


class AuditEntry(Struct):
    """A comparison of the book with an independent source."""

    id: str
    time_ms: int
    source: str
    """`snapshot` (REST) or `bookTicker`."""
    outcome: str
    reason: str
    last_update_id: int
    snapshot_id: int
    compared: int
    differing: int
    differences: str
    low: str
    high: str
    waited_s: float


class AuditsAnswer(Struct):
    """Audits, newest first."""

    venue: str
    symbol: str
    audits: list[AuditEntry]
