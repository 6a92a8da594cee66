"""One pair on Bitfinex: `book` of price levels in four lengths and two speeds, of single orders, and `trades`."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from workers.sim.bitfinex.orders import BitfinexOrders, BitfinexWindow
from workers.sim.bitfinex.wire import BitfinexWire, first_fill, frame, trade_id
from workers.sim.engine.book import Levels
from workers.sim.engine.book_channel import BookChannel
from workers.sim.engine.feed import FeedParts, Phase, SymbolFeed
from workers.sim.engine.fills import fill_row
from workers.sim.engine.history import Fill
from workers.sim.engine.topics import Topic

LENGTHS: Final = (1, 25, 100, 250)
INTERVALS_MS: Final = {"F0": 50, "F1": 2_000}
CHECKSUM_MS: Final = 2_500
FIRST_TRADES: Final = 30
TRADE_UPDATE_MS: Final = 40
"""How long after `te` the same trade comes as `tu`."""
STATUSES: Final[dict[Phase, str]] = {
    "pending": "unlisted",
    "trading": "listed",
    "halted": "listed",
    "delisted": "unlisted",
    "closed": "unlisted",
}
"""Whether the lists of pairs have it; they say no more."""


class BitfinexBook(BookChannel):
    """One length and speed: a frame for each level that changes, and a checksum some time after a change."""

    def __init__(self, feed: BitfinexFeed, topic: Topic, length: int, frequency: str) -> None:
        super().__init__(feed, topic, length, INTERVALS_MS[frequency])
        self._wire = feed.wire
        self._checking = False

    def advance(self) -> None:
        """There are no ids."""

    def whole(self) -> str:
        """All levels in one frame."""
        bids, asks = self.window.levels()
        rows = ",".join(self._wire.rows(bids, asks))
        return frame(f"[{rows}]", int(self.feed.engine_time))

    def update(self, bids: Levels, asks: Levels, at_ms: int) -> str:
        """A frame a level; what is gone first, so that nothing is crossed meanwhile."""
        gone = [[level for level in side if not level[1]] for side in (bids, asks)]
        there = [[level for level in side if level[1]] for side in (bids, asks)]
        rows = [*self._wire.rows(*gone), *self._wire.rows(*there)]
        return "\n".join(frame(row, at_ms) for row in rows)

    def publish(self, text: str, at_ms: float) -> None:
        """Send a message to all who follow; a checksum follows, of a book that then may have gone on."""
        super().publish(text, at_ms)
        if not self._checking:
            self._checking = True
            self.feed.schedule(at_ms + CHECKSUM_MS, self._check)

    def _check(self, at_ms: float) -> None:
        self._checking = False
        if self.topic.subscribers:
            check = self._wire.checksum(*self.window.levels())
            self.topic.publish(frame(f'"cs",{check}', int(at_ms)))


class BitfinexFeed(SymbolFeed):
    """The channels of one pair."""

    def __init__(self, parts: FeedParts) -> None:
        spec, settings, start_ms, topics, schedule = parts
        self.wire = BitfinexWire(spec)
        super().__init__(self.wire, settings, start_ms, schedule)

        def topic(channel: str) -> Topic:
            return topics.create(spec.market, "public", spec.symbol, f"{channel}:{self.wire.name}")

        self.books = {
            (frequency, length): BitfinexBook(self, topic(f"book.P0.{frequency}.{length}"), length, frequency)
            for frequency in INTERVALS_MS
            for length in LENGTHS
        }
        self.orders = BitfinexOrders(self.wire, self.market, settings.seed, schedule)
        self.orders.windows = [
            BitfinexWindow(self.orders, topic(f"book.R0.F0.{length}"), length) for length in LENGTHS
        ]
        self._trades = topic("trades")
        self._trades.first = self._newest_trades
        self._updates: deque[tuple[float, Fill]] = deque()
        self.messages = 0

    @property
    def status(self) -> str:
        """`listed` or `unlisted`."""
        return STATUSES[self.phase]

    def _newest_trades(self) -> str:
        """The newest first."""
        tape = self.market.tape
        start = max(tape.first_trade_id, tape.next_trade_id - FIRST_TRADES)
        rows = ",".join(self.wire.trade(fill) for fill in reversed(tape.trades(start, FIRST_TRADES)))
        return frame(f"[{rows}]", int(self.engine_time))

    def note_changes(self, position: int, at_ms: float) -> None:
        """A message of every length is due."""
        for book in self.books.values():
            book.note_changes(at_ms)
        self.orders.note_changes(position, at_ms)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Send each fill as executed, and a little later once more as updated."""
        for fills in orders:
            self.messages += len(fills)
            for fill in fills if self._trades.subscribers else ():
                self._send_trade("te", fill, at_ms)
                self._updates.append((at_ms + TRADE_UPDATE_MS, fill))
        if self._updates:
            self.schedule(at_ms + TRADE_UPDATE_MS, self._send_updates)

    def _send_trade(self, tag: str, fill: Fill, at_ms: float) -> None:
        self._trades.publish(frame(f'"{tag}",{self.wire.trade(fill)}', int(at_ms)))

    def _send_updates(self, at_ms: float) -> None:
        while self._updates and self._updates[0][0] <= at_ms:
            self._send_trade("tu", self._updates.popleft()[1], at_ms)

    def flush(self, at_ms: float) -> None:
        """Send the pending messages of every length, and the trades that are not updated yet."""
        for book in self.books.values():
            book.flush(at_ms)
        for window in self.orders.windows:
            window.flush(at_ms)
        self._send_updates(at_ms + TRADE_UPDATE_MS)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Single fills by their ids on the wire."""
        tape = self.market.tape
        rows = []
        for fill in tape.trades(first_fill(from_id), limit):
            sent = trade_id(fill.trade_id)
            rows.append(fill_row(self.wire, fill) | {"a": sent, "f": sent, "l": sent})
        first, following = trade_id(tape.first_trade_id), trade_id(tape.next_trade_id)
        return {"first_id": first, "next_id": following, "trades": rows}

    def truth_orders(self) -> dict[str, Any]:
        """The single orders in view."""
        return self.orders.truth()

    def summary(self) -> dict[str, Any]:
        """Messages of each stream, of books by their levels; books have no ids."""
        depths = {
            str(length): {"events": book.events, "last_u": None}
            for (frequency, length), book in self.books.items()
            if frequency == "F0"
        }
        return {"depth": depths, "events": {"trades": self.messages}}
