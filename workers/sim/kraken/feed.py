"""One pair on Kraken: `book` of five depths, `level3` of three, `trade`, and its place in `instrument`."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any, Final

from workers.sim.engine.book import Levels
from workers.sim.engine.book_channel import BookChannel
from workers.sim.engine.feed import FeedParts, Phase, SymbolFeed
from workers.sim.engine.fills import fill_row
from workers.sim.engine.history import Fill, TruthTooOldError
from workers.sim.engine.topics import Topic
from workers.sim.kraken.orders import DEPTHS as ORDER_DEPTHS
from workers.sim.kraken.orders import KrakenOrders, KrakenWindow
from workers.sim.kraken.wire import KrakenWire

DEPTHS: Final = (10, 25, 100, 500, 1000)
INTERVAL_MS: Final = 10
FIRST_TRADES: Final = 50
STATUSES: Final[dict[Phase, str]] = {
    "pending": "work_in_progress",
    "trading": "online",
    "halted": "maintenance",
    "delisted": "delisted",
    "closed": "delisted",
}


class KrakenBook(BookChannel):
    """One depth: no ids, a checksum in every message, and no word about levels that fall out of the depth."""

    def __init__(self, feed: KrakenFeed, topic: Topic, depth: int) -> None:
        super().__init__(feed, topic, depth, INTERVAL_MS, names_leavers=False)
        self._wire = feed.wire
        self._stamps = array("q", [feed.engine_time * 1000])
        self._market_ids = array("q", [feed.market.last_id])

    def advance(self) -> None:
        """The time of the book's last change in µs, later than that of the message before."""
        self._stamps.append(max(self._stamps[-1] + 1, self.feed.engine_time * 1000))
        self._market_ids.append(self.feed.market.last_id)

    def whole(self) -> str:
        """A snapshot."""
        bids, asks = self.window.levels()
        return self._wire.book("snapshot", bids, asks, self._wire.checksum(bids, asks), self._stamps[-1])

    def update(self, bids: Levels, asks: Levels, at_ms: int) -> str:
        """What has changed, and the checksum of the book it makes."""
        check = self._wire.checksum(*self.window.levels())
        return self._wire.book("update", bids, asks, check, self._stamps[-1])

    def market_id(self, micros: int) -> int:
        """The market's update id of the newest message not later than a time."""
        place = bisect_right(self._stamps, micros)
        if not place:
            raise TruthTooOldError(micros, self._stamps[0])
        return self._market_ids[place - 1]


class KrakenFeed(SymbolFeed):
    """The streams of one pair."""

    def __init__(self, parts: FeedParts, instruments: Topic) -> None:
        spec, settings, start_ms, topics, schedule = parts
        self.wire = KrakenWire(spec)
        super().__init__(self.wire, settings, start_ms, schedule)
        self._instruments = instruments

        def topic(channel: str, to: str = "public") -> Topic:
            return topics.create(spec.market, to, spec.symbol, f"{channel}:{self.wire.name}")

        self.books = {depth: KrakenBook(self, topic(f"book.{depth}"), depth) for depth in DEPTHS}
        self.orders = KrakenOrders(self.wire, self.market, settings.seed, schedule)
        self.orders.windows = [
            KrakenWindow(self.orders, topic(f"level3.{depth}", "orders"), depth) for depth in ORDER_DEPTHS
        ]
        self._trades = topic("trade")
        self._trades.first = self._newest_trades
        self.messages = 0

    @property
    def status(self) -> str:
        """`online`, `maintenance`, …"""
        return STATUSES[self.phase]

    def _newest_trades(self) -> str:
        tape = self.market.tape
        start = max(tape.first_trade_id, tape.next_trade_id - FIRST_TRADES)
        return self.wire.trades("snapshot", tape.trades(start, FIRST_TRADES))

    def note_changes(self, position: int, at_ms: float) -> None:
        """A message of every depth is due."""
        for book in self.books.values():
            book.note_changes(at_ms)
        self.orders.note_changes(position, at_ms)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Send the fills of all orders in one message."""
        self.messages += 1
        if self._trades.subscribers:
            self._trades.publish(self.wire.trades("update", [fill for fills in orders for fill in fills]))

    def flush(self, at_ms: float) -> None:
        """Send the pending message of every depth."""
        for book in self.books.values():
            book.flush(at_ms)
        for window in self.orders.windows:
            window.flush(at_ms)

    def announce(self, now_ms: float) -> None:
        """Push the pair on `instrument`."""
        row = self.wire.pair(self.status, self.market.grid)
        self._instruments.publish(
            f'{{"channel":"instrument","type":"update","data":{{"assets":[],"pairs":[{row}]}}}}'
        )

    def truth_id(self, update_id: int, stream: str) -> int:
        """The market's update id at a time in µs of the depth that `stream` names, such as `10`."""
        depth = next((depth for depth in DEPTHS if stream == str(depth)), DEPTHS[0])
        return self.books[depth].market_id(update_id)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Single fills."""
        tape = self.market.tape
        rows = [fill_row(self.wire, fill) for fill in tape.trades(from_id, limit)]
        return {"first_id": tape.first_trade_id, "next_id": tape.next_trade_id, "trades": rows}

    def truth_orders(self) -> dict[str, Any]:
        """The single orders in view."""
        return self.orders.truth()

    def summary(self) -> dict[str, Any]:
        """Messages of each stream, of books by their levels; books have no ids."""
        depths = {str(depth): {"events": book.events, "last_u": None} for depth, book in self.books.items()}
        return {"depth": depths, "events": {"trade": self.messages}}
