"""A book this process follows on its own: a fold of the same stream as the owner's, served only while both agree.

What the owner shows in `LIVE_ORDERBOOK` carries since when its book has been in sync. A replica is a continuation of
that very sync or it is nothing: after a resync, for whatever reason, the numbers differ and the replica is rebuilt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec
import structlog
from prometheus_client import Counter

from workers.api.http.markets import Market
from workers.api.http.operations import Rendered
from workers.api.http.types import BookAnswer
from workers.errors import BookNotServed, WireError
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync, Outcome, SyncState
from workers.model.books.top_of_book import TOP_LEVELS, TopOfBook, decode_top
from workers.model.events import Level
from workers.store.books.shown import standing
from workers.store.books.watch import Entry, OwnerStatement
from workers.store.log.streams import delivered
from workers.venues.entries import depth_of

log = structlog.get_logger()

MISMATCHES = Counter(
    "fleet_api_replica_mismatch_total", "Replicas that differed from the owner's book", ["venue"]
)

SILENT_S = 1.5
"""A process that Redis does not answer this long cannot know what is true."""
CACHED_ANSWERS = 64

_encode = msgspec.json.Encoder().encode


class Withheld(NamedTuple):
    """Why a book cannot be served."""

    state: str
    reason: str


class Replica:
    """The followed book of one market.

    Args:
        changed: called when the replica needs to be rebuilt.
    """

    def __init__(self, market: Market, changed: Callable[[Replica], None]) -> None:
        self.market = market
        self._changed = changed
        self.sync: BookSync | None = None
        self.shown_since: int | None = None
        """`synced_at` of what the owner shows; None while it shows nothing, or before it was asked."""
        self.asked_owner = False
        self.statement: OwnerStatement | None = None
        self.born_at = self.used_at = time.monotonic()
        self.generation = 0
        """One more each time it begins anew."""
        self.watchers = 0
        """Topics of the hub that need this book."""
        self._heard_at = time.monotonic()
        self._age_before_s = 0.0
        self._cache: dict[tuple[int, bool], tuple[int, bytes, str]] = {}

    @property
    def key(self) -> str:
        """Its raw stream."""
        return self.market.context.keys.raw(self.market.symbol, "depth")

    @property
    def book(self) -> OrderBook:
        """The levels; only while `withheld` is None."""
        assert self.sync is not None
        return self.sync.book

    @property
    def last_update_id(self) -> int:
        """Where the book stands; only while `withheld` is None."""
        assert self.sync is not None
        return self.sync.last_update_id

    @property
    def event_time(self) -> int:
        """Exchange ms of the last change; only while `withheld` is None."""
        assert self.sync is not None
        return self.sync.last_event_time

    def install(self, sync: BookSync) -> None:
        """Begin anew with a rebuilt book."""
        self.sync = sync
        self.generation += 1
        self._cache.clear()
        self._heard_at = time.monotonic()
        self._age_before_s = self.statement.age_ms / 1000 if self.statement else 0.0

    def take(self, entries: Sequence[Entry]) -> None:
        """Fold entries of the raw stream in."""
        sync = self.sync
        if sync is None:
            return
        self._heard_at, self._age_before_s = time.monotonic(), 0.0
        now_ms = int(time.time() * 1000)
        venue, symbol = self.market.context.venue, self.market.symbol
        for entry in delivered(entries):
            try:
                outcome = sync.on_event(depth_of(venue, symbol, entry), now_ms)
            except WireError:
                continue  # if it mattered, the next event does not follow
            if outcome in (Outcome.GAP, Outcome.LOST):
                self._changed(self)
                return

    def owner_shows(self, payload: bytes | None) -> bool:
        """Take what `LIVE_ORDERBOOK` shows now; True when that changed the sync it is of."""
        shown: TopOfBook | None = None
        if payload is not None:
            try:
                shown = decode_top(payload)
            except msgspec.MsgspecError:
                shown = None  # not ours; the next publication replaces it
        since = shown.synced_at if shown else None
        changed = since != self.shown_since or not self.asked_owner
        self.shown_since, self.asked_owner = since, True
        sync = self.sync
        if shown is None or sync is None or sync.state is not SyncState.SYNCED:
            return changed
        if sync.synced_at != since:
            self._changed(self)
        elif shown.u == sync.last_update_id and self._differs(shown):
            MISMATCHES.labels(self.market.venue).inc()
            log.error("replica_mismatch", venue=self.market.venue, symbol=self.market.symbol, u=shown.u)
            self.sync = None
            self._changed(self)
        return changed

    def _differs(self, shown: TopOfBook) -> bool:
        for mine, levels in zip(self.book.known_top(TOP_LEVELS), (shown.b, shown.a), strict=True):
            n = min(len(mine), len(levels))  # the known ranges may differ for a moment
            if mine[:n] != levels[:n] and _values(mine[:n]) != _values(levels[:n]):
                return True
        return False

    @property
    def range_differs(self) -> bool:
        """Whether the owner's known range is another: it has taken a newer snapshot without leaving sync."""
        said, sync = self.statement, self.sync
        if said is None or sync is None or sync.state is not SyncState.SYNCED:
            return False
        return (said.known_low, said.known_high) != (sync.book.known_low, sync.book.known_high)

    def withheld(self, heard_at: float) -> Withheld | None:
        """Why the book must not be served now, or None; `heard_at`: when Redis last answered."""
        if time.monotonic() - heard_at > SILENT_S:
            return Withheld("unknown", "Redis does not answer")
        if self.shown_since is None or self.statement is None:
            said = self.statement
            if said is None or not self.asked_owner:
                return Withheld("unknown", "nothing is known of it yet")
            return self._standing(said, shown=False)
        if not self.statement.is_heard:
            return self._standing(self.statement, shown=True)
        sync = self.sync
        if sync is None or sync.state is not SyncState.SYNCED or sync.synced_at != self.shown_since:
            return Withheld("rebuilding", "this server is following it anew")
        if sync.crossed_since_ms is not None:
            return Withheld("crossed", "")
        if sync.book.edge_distance() <= 0.0:
            return Withheld("beyond range", "")
        return None

    @staticmethod
    def _standing(said: OwnerStatement, *, shown: bool) -> Withheld:
        owned, unheard_ms = bool(said.owner), said.unheard_ms
        return Withheld(*standing(said.state, said.reason, owned=owned, unheard_ms=unheard_ms, shown=shown))

    def demand(self, heard_at: float) -> None:
        """Raise BookNotServed unless the book may be served."""
        if (why := self.withheld(heard_at)) is not None:
            raise BookNotServed(self.market.venue, self.market.symbol, why.state, why.reason)

    def age_ms(self) -> int:
        """Since the stream last brought anything."""
        return int((time.monotonic() - self._heard_at + self._age_before_s) * 1000)

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        """The best levels that are known; 0 for all of them."""
        return self.book.known_top(depth or sys.maxsize)

    def rendered(self, depth: int, numbers: bool = False) -> Rendered:
        """The book as `/orderbook` gives it; rendered once per depth and update id."""
        assert self.sync is not None
        u = self.sync.last_update_id
        cached = self._cache.get((depth, numbers))
        if cached is None or cached[0] != u:
            if len(self._cache) >= CACHED_ANSWERS:
                self._cache.clear()
            cached = self._cache[depth, numbers] = (u, self._head(depth, numbers), self._tag(depth, numbers))
        return Rendered(b"%b%d}" % (cached[1], self.age_ms()), cached[2])

    def _tag(self, depth: int, numbers: bool) -> str:
        assert self.sync is not None
        since = self.sync.synced_at
        return f'W/"{self.last_update_id}-{since}-{depth}{"n" if numbers else ""}"'

    def _head(self, depth: int, numbers: bool) -> bytes:
        """The JSON up to the age, which comes last because it alone changes while the book does not."""
        assert self.sync is not None
        bids, asks = self.top(depth)
        answer = BookAnswer(
            venue=self.market.venue,
            symbol=self.market.symbol,
            last_update_id=self.sync.last_update_id,
            event_time_ms=self.sync.last_event_time,
            synced_at_ms=self.sync.synced_at,
            known_low=self.book.known_low,
            known_high=self.book.known_high,
            bids=as_wanted(bids, numbers),
            asks=as_wanted(asks, numbers),
            age_ms=0,
        )
        return _encode(answer)[: -len(b"0}")]


def _values(levels: Sequence[Level]) -> list[tuple[Decimal, Decimal]]:
    """Levels as numbers: a snapshot taken meanwhile may spell them otherwise (`1.0`, `1.00`)."""
    return [(Decimal(price), Decimal(quantity)) for price, quantity in levels]


def as_wanted(levels: list[Level], numbers: bool) -> list[tuple[str | float, str | float]]:
    """Levels as text, or as JSON numbers."""
    if numbers:
        return [(float(price), float(quantity)) for price, quantity in levels]
    return list(levels)
