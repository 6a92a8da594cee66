"""What a venue's entries become without processes: the log, a book of each symbol, and its trades and bars."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from workers.errors import MalformedFrame
from workers.model.books.sync import BookSync, SyncState
from workers.model.events import Snapshot, Trade
from workers.model.trades.fold import TradesFold
from workers.model.trades.windows import INTERVALS_MS
from workers.settings.schema import IngestSettings
from workers.store.log.streams import RawEntry
from workers.venues.entries import depth_of, trade_of
from workers.venues.interface import Venue
from workers.verification.truth import (
    Findings,
    HeldBars,
    TruthTrade,
    check_bars,
    check_trades,
    numbered_as_held,
)

ID_RESET_MS: Final = IngestSettings().id_reset_ms


class LogEntry(NamedTuple):
    """An entry as a reader of the log gets it."""

    stream_id: bytes
    data: bytes
    kind: str


class VenueBook:
    """The depth log of one symbol, and the book that is a fold of it."""

    def __init__(self, venue: Venue, symbol: str) -> None:
        self.symbol = symbol
        self.sync: BookSync = venue.book_rule.sync(symbol)
        self.losses = self.syncs = self.asked = self.unusable = 0
        """How often it left sync, came into sync, asked for a whole book, and met what could not be decoded."""
        self.ask_at_s = 0.0
        self.seen_at = 0
        """The market's update id at which it was last found right."""
        self._venue = venue
        self._past: set[str] = set()
        self._number, self._turn, self._written = 0, "", 0
        self._last_id, self._last_ms = -1, 0

    @property
    def shown(self) -> bool:
        """Whether anybody would be shown it."""
        return self.sync.publishable

    def append(self, entry: RawEntry, now_ms: int) -> None:
        """What `append.lua`, or `append_numbered.lua`, and then the owner of the book do with an entry."""
        if self._venue.facts.continuity.by_id:
            is_repeat = entry.event_ms < self._last_ms + ID_RESET_MS
            if entry.kind == "update" and entry.update_id <= self._last_id and is_repeat:
                return
            if entry.kind in ("update", "restart"):
                self._last_id, self._last_ms = entry.update_id, entry.event_ms
            number = max(self._last_id, 0)
        else:
            if entry.turn != self._turn:
                if entry.kind not in ("snapshot", "restart") or entry.turn in self._past:
                    return
                self._past.add(self._turn)
                self._turn, self._written = entry.turn, 0
            if entry.number <= self._written:
                return
            self._written = entry.number
            self._number += 1
            number = self._number
        was = self.sync.state is SyncState.SYNCED
        try:
            logged = LogEntry(b"%d-%d" % (entry.event_ms, number), entry.data, entry.kind)
            self.sync.on_event(depth_of(self._venue, self.symbol, logged), now_ms)
        except MalformedFrame:
            self.unusable += 1
            if was and entry.kind == "update":  # what it said nobody will say again
                self.sync.lose("malformed entry", now_ms)
        self._count(was=was)

    def begin(self, snapshot: Snapshot, now_ms: int) -> None:
        """Take the answer to a request for a whole book."""
        was = self.sync.state is SyncState.SYNCED
        self.sync.on_snapshot(snapshot, now_ms)
        self._count(was=was)

    def tick(self, now_ms: int) -> None:
        """Time has passed."""
        was = self.sync.state is SyncState.SYNCED
        self.sync.tick(now_ms)
        self._count(was=was)

    def _count(self, *, was: bool) -> None:
        now = self.sync.state is SyncState.SYNCED
        self.losses += was and not now
        self.syncs += now and not was


class VenueTrades:
    """The trades log of one symbol, and the fold of it.

    Args:
        fetch: what REST gives from a trade's id and time on, in order.
    """

    def __init__(self, venue: Venue, symbol: str, fetch: Callable[[str, int, int], list[Trade]]) -> None:
        self.symbol = symbol
        self.filled: dict[int, Trade] = {}
        """Trades that no frame brought and REST gave, by id."""
        self._fetch = fetch
        self._last_ms = 0
        self._venue = venue
        self._by_id = venue.facts.trade_ids == "consecutive"
        self._names: set[str] = set()
        self._last_id = -1
        self._fold = TradesFold(provable=self._by_id)
        self.holes: list[str] = []

    def append(self, entry: RawEntry) -> None:
        """What the script that appends and the trades fold do with an entry."""
        if self._by_id:
            if entry.update_id <= self._last_id:
                return
            number = entry.update_id
        else:
            if entry.name in self._names:
                return
            self._names.add(entry.name)
            number = max(self._last_id, 0) + 1
        self._last_id = number
        logged = LogEntry(b"%d-%d" % (entry.event_ms, number), entry.data, entry.kind)
        trade: Trade = trade_of(self._venue, self.symbol, logged)
        hole = self._fold.apply([trade]).hole
        if hole is not None:
            fetched = self._fetch(self.symbol, hole.expected, self._last_ms)
            missing = [one for one in fetched if hole.expected <= one.trade_id < hole.seen]
            self.filled |= {one.trade_id: one for one in missing}
            if self._fold.apply([*missing, trade]).hole is not None:
                self.holes.append(f"{self.symbol}: trades {hole.expected} to {hole.seen - 1} are missing.")
                self._fold.skip(hole.expected, hole.seen - 1)
                self._fold.apply([trade])
        self._last_ms = trade.trade_time

    def _as_given(self, row: dict[str, Any]) -> dict[str, Any]:
        """A trade of the truth in the spelling of REST where that gave it: it may have more zeros than the stream."""
        trade = self.filled.get(row["a"])
        if trade is None or Decimal(trade.price) != Decimal(row["p"]):
            return row
        return row | {"p": trade.price}

    def compare(self, truth: list[dict[str, Any]], findings: Findings) -> None:
        """Each trade once, and every bar as it is made of them."""
        held: list[tuple[float, dict[str, Any]]] = [
            (score, msgspec.json.decode(member)) for score, member in self._fold.latest()
        ]
        if not held:
            return
        trades = [TruthTrade.of(self._as_given(row)) for row in truth]
        if self._by_id:
            first = min(int(member["agg_trade_id"]) for _, member in held)
            trades = [trade for trade in trades if trade.trade_id >= first]
        else:
            trades = numbered_as_held(trades, held)
        check_trades(self.symbol, held, trades, findings)
        for interval in INTERVALS_MS:
            closed = [fields for _, fields in self._fold.bars(interval)]
            bars = HeldBars(closed, self._fold.stats(interval), trimmed=False)
            check_bars(self.symbol, interval, bars, trades, findings)
