"""What the API answers of the fleet itself: its health and state, what it follows, and what it noted; see `types`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

HealthState = Literal["ok", "degraded", "down"]


class VenueHealth(Struct):
    """How much of a venue is served."""

    venue: str
    is_connected: bool
    """A line has living sockets to the exchange, for some symbol at least."""
    books_shown: int
    books_followed: int
    silent_ms: int | None
    """Since the stream of any symbol last brought anything; null where none did."""
    books_cut_off: int = 0
    """Symbols whose processes of all lines have no living sockets, while those of others have."""


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
