"""This project's own book as an adapter: the venue's decoding and `BookSync`, as the books role uses them."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from workers.conformance.adapters.adapter import Sides
from workers.errors import BadNumber, MalformedFrame
from workers.model.books.reference import Reference
from workers.model.books.sync import BookSync, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Snapshot
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance

REFRESH_BELOW: Final = 0.5
LOGGED: Final = 5_000
"""Events that the log keeps."""
BEGIN_MS: Final = 1_700_000_000_000


class SyncedBook:
    """A `BookAdapter` over `workers.model.books.sync`."""

    def __init__(self, symbol: str, rule: str, limit: int) -> None:
        market: Literal["spot", "usdm"] = "spot" if rule == "spot" else "usdm"
        settings = BinanceSettings(market=market, symbols=[symbol], snapshot_depth=limit)
        self._symbol = symbol
        self._venue = Binance(market, settings)
        self._now_ms = BEGIN_MS
        self.sync = BookSync(symbol, self._venue.book_rule.sequence)
        self._log: deque[DepthEvent] = deque(maxlen=LOGGED)

    def on_event(self, wire_json: bytes) -> None:
        """Decode and fold in; what cannot be decoded is dropped, and the next event shows the gap."""
        try:
            event = self._venue.depth(wire_json)
        except MalformedFrame:
            return
        self._log.append(event)
        self.sync.on_event(event, self._now_ms)
        self._refresh_near_edge()

    def _refresh_near_edge(self) -> None:
        sync = self.sync
        settled = sync.state is SyncState.SYNCED and not sync.refreshing
        if settled and sync.book.edge_distance() < REFRESH_BELOW:
            sync.begin_refresh()

    def on_snapshot(self, wire_json: bytes) -> None:
        """Decode and hand over; a truncated reply is asked for again."""
        try:
            snapshot = self._venue.snapshot(self._symbol, wire_json)
        except (MalformedFrame, BadNumber):
            return
        if self.sync.on_snapshot(snapshot, self._now_ms) is SnapshotOutcome.TOO_OLD:
            self._over_the_log(snapshot)

    def _over_the_log(self, snapshot: Snapshot) -> None:
        reference = Reference(snapshot, self.sync.rule, self.sync.book.max_levels)
        for event in self._log:
            usable = self.sync.oldest_usable_id
            if usable is None or reference.advance(event):
                return
            if reference.update_id >= usable:
                self.sync.on_reference(reference, self._now_ms)
                return

    def wants_snapshot(self) -> bool:
        """To come into sync, or to move the known range."""
        return self.sync.wants_snapshot or self.sync.refreshing

    def in_sync(self) -> bool:
        """Synced and not crossed."""
        return self.sync.publishable

    def last_update_id(self) -> int:
        """Where the book stands."""
        return self.sync.last_update_id

    def top(self, count: int) -> Sides:
        """The best levels that are known."""
        return self.sync.book.known_top(count)

    def levels(self) -> Sides:
        """The levels inside the known range."""
        book = self.sync.book
        return list(book.known_levels("bid")), list(book.known_levels("ask"))

    def known_range(self) -> tuple[str, str]:
        """Where absence is knowledge too."""
        return self.sync.book.known_low, self.sync.book.known_high

    def begin_check(self) -> None:
        """Keep events from here on, to compare a snapshot with."""
        self.sync.begin_refresh()

    def wait(self, milliseconds: int) -> None:
        """Move the clock in seconds, as the books role does."""
        end = self._now_ms + milliseconds
        while self._now_ms < end:
            self._now_ms = min(end, self._now_ms + 1000)
            self.sync.tick(self._now_ms)
