"""This project's own book as an adapter: the venue's decoding and `BookSync`, as the books role uses them."""

from __future__ import annotations

from itertools import islice
from typing import Final, Literal

from workers.cli.conformance.adapter import Sides
from workers.errors import BadNumber, MalformedFrame
from workers.model.sync import BookSync, SyncState
from workers.settings import VenueSettings
from workers.venues.binance import Binance

REFRESH_BELOW: Final = 0.5
BEGIN_MS: Final = 1_700_000_000_000


class SyncedBook:
    """A `BookAdapter` over `workers.model.sync`."""

    def __init__(self, symbol: str, rule: str, limit: int) -> None:
        market: Literal["spot", "usdm"] = "spot" if rule == "spot" else "usdm"
        settings = VenueSettings(market=market, symbols=[symbol], snapshot_depth=limit)
        self._symbol = symbol
        self._venue = Binance(market, settings)
        self._now_ms = BEGIN_MS
        self.sync = BookSync(symbol, self._venue.rule)

    def on_event(self, wire_json: bytes) -> None:
        """Decode and fold in; what cannot be decoded is dropped, and the next event shows the gap."""
        try:
            event = self._venue.depth(wire_json)
        except MalformedFrame:
            return
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
        self.sync.on_snapshot(snapshot, self._now_ms)

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
        book = self.sync.book
        return list(islice(book.known_levels("bid"), count)), list(islice(book.known_levels("ask"), count))

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
