"""One product on Coinbase: its whole book and its trades, as Advanced sends them and as Exchange does."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Final

from workers.sim.coinbase.orders import CoinbaseOrders
from workers.sim.coinbase.wire import AdvancedWire, CoinbaseWire, ExchangeWire
from workers.sim.engine.book import Levels, sides_of
from workers.sim.engine.feed import FeedParts, Phase, Schedule, SymbolFeed
from workers.sim.engine.fills import fill_row
from workers.sim.engine.history import Fill
from workers.sim.engine.topics import Topic
from workers.sim.settings import SimSettings

BOOK_MS: Final = 50
TRADES_MS: Final = 250
HEARTBEAT_MS: Final = 1000
FIRST_TRADES: Final = 100
EMPTY_EVERY: Final = 8
"""After so many updates of a book of Advanced comes one without levels."""
STATUSES: Final[dict[Phase, str]] = {
    "pending": "offline",
    "trading": "online",
    "halted": "online",
    "delisted": "delisted",
    "closed": "delisted",
}

Sides = tuple[Levels, Levels]


class CoinbaseFeed(SymbolFeed):
    """What both ways have in common: a snapshot for each subscriber, and what has changed at every interval.

    A change that came and went within an interval is named, so that levels are deleted which no client has seen.
    """

    wire: CoinbaseWire

    def __init__(
        self,
        wire: CoinbaseWire,
        settings: SimSettings,
        start_ms: int,
        schedule: Schedule,
        book: Topic,
        trades: Topic,
    ) -> None:
        super().__init__(wire, settings, start_ms, schedule)
        self.wire = wire
        self._book = book
        self._trades = trades
        self._position = 0
        self._pending = False
        self.counts = {"book": 0, "trades": 0}
        book.first = self._first_book

    @property
    def status(self) -> str:
        """`online`, `offline` or `delisted`."""
        return STATUSES[self.phase]

    @property
    def trading_disabled(self) -> bool:
        """Whether orders are refused."""
        return self.phase != "trading"

    @abstractmethod
    def whole(self, bids: Levels, asks: Levels) -> str:
        """The text of a snapshot."""

    @abstractmethod
    def update(self, sides: Sides, at_ms: int) -> list[str]:
        """The texts of what has changed."""

    def _first_book(self) -> str:
        if not self._book.subscribers:
            self._position = self.market.changes.position
        return self.whole(*self.market.book.top(10**9))

    def note_changes(self, position: int, at_ms: float) -> None:
        """A message is due at the next interval."""
        if self._pending or not self._book.subscribers:
            return
        self._pending = True
        self.schedule((math.floor(at_ms / BOOK_MS) + 1) * BOOK_MS, self._flush_book)

    def _flush_book(self, at_ms: float) -> None:
        if not self._pending:
            return
        self._pending = False
        position, self._position = self._position, self.market.changes.position
        if not self._book.subscribers:
            return
        for text in self.update(sides_of(self.market.changes.since(position).items()), int(at_ms)):
            self.counts["book"] += 1
            self._book.publish(text)

    def flush(self, at_ms: float) -> None:
        """Send the pending message of the book."""
        self._flush_book(at_ms)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Single fills."""
        tape = self.market.tape
        rows = [fill_row(self.wire.of_trades, fill) for fill in tape.trades(from_id, limit)]
        return {"first_id": tape.first_trade_id, "next_id": tape.next_trade_id, "trades": rows}

    def summary(self) -> dict[str, Any]:
        """Messages of each stream; books have no ids."""
        return {
            "depth": {"depth": {"events": self.counts["book"], "last_u": None}},
            "events": {"trades": self.counts["trades"]},
        }


class AdvancedFeed(CoinbaseFeed):
    """`level2` and `market_trades`."""

    wire: AdvancedWire

    def __init__(self, parts: FeedParts) -> None:
        spec, settings, start_ms, topics, schedule = parts
        book, trades = (
            topics.create(spec.market, "public", spec.symbol, f"{channel}:{spec.symbol}")
            for channel in ("level2", "market_trades")
        )
        super().__init__(AdvancedWire(spec), settings, start_ms, schedule, book, trades)
        trades.first = self._newest_trades
        self._fills: list[Fill] = []

    def whole(self, bids: Levels, asks: Levels) -> str:
        """`type: snapshot`."""
        return self.wire.book("snapshot", bids, asks, self.engine_time, self.engine_time)

    def update(self, sides: Sides, at_ms: int) -> list[str]:
        """`type: update`, now and then with one without levels behind it."""
        text = self.wire.book("update", *sides, at_ms, self.engine_time)
        if self.counts["book"] % EMPTY_EVERY:
            return [text]
        return [text, self.wire.book("update", [], [], at_ms, self.engine_time)]

    def _newest_trades(self) -> str:
        tape = self.market.tape
        start = max(tape.first_trade_id, tape.next_trade_id - FIRST_TRADES)
        return self.wire.trades("snapshot", tape.trades(start, FIRST_TRADES), self.engine_time)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Trades are sent together every 250 ms."""
        if not self._fills:
            self.schedule((math.floor(at_ms / TRADES_MS) + 1) * TRADES_MS, self._flush_trades)
        self._fills += [fill for fills in orders for fill in fills]

    def _flush_trades(self, at_ms: float) -> None:
        fills, self._fills = self._fills, []
        if fills:
            self.counts["trades"] += 1
            if self._trades.subscribers:
                self._trades.publish(self.wire.trades("update", fills, int(at_ms)))

    def flush(self, at_ms: float) -> None:
        """Send what is pending of the book and of the trades."""
        super().flush(at_ms)
        self._flush_trades(at_ms)


class ExchangeFeed(CoinbaseFeed):
    """`level2_batch`, `matches`, `heartbeat` and `full`."""

    wire: ExchangeWire

    def __init__(self, parts: FeedParts) -> None:
        spec, settings, start_ms, topics, schedule = parts
        book, trades, self._heartbeats = (
            topics.create(spec.market, "public", spec.symbol, f"{channel}:{spec.symbol}")
            for channel in ("level2_batch", "matches", "heartbeat")
        )
        super().__init__(ExchangeWire(spec), settings, start_ms, schedule, book, trades)
        trades.first = self._last_match
        self._sequence = self.market.last_id
        full = topics.create(spec.market, "public", spec.symbol, f"full:{spec.symbol}")
        self.orders = CoinbaseOrders(self.wire, self.market, full, settings.seed, self._number)
        schedule(start_ms + HEARTBEAT_MS, self._beat)

    def whole(self, bids: Levels, asks: Levels) -> str:
        """`snapshot`."""
        return self.wire.snapshot(bids, asks, self.engine_time)

    def update(self, sides: Sides, at_ms: int) -> list[str]:
        """`l2update`."""
        return [self.wire.update(*sides, self.engine_time)]

    def _last_match(self) -> str | None:
        tape = self.market.tape
        newest = tape.trades(tape.next_trade_id - 1, 1)
        return self.wire.match("last_match", newest[0], self._sequence) if newest else None

    def _number(self) -> int:
        """The next number of the product's messages: of all that `full` has, once somebody asks for that."""
        self._sequence += 1
        if not self.orders.begun:
            self._sequence = max(self._sequence, self.market.last_id)
        return self._sequence

    def note_changes(self, position: int, at_ms: float) -> None:
        """Orders made the change; a message of the book is due."""
        self.orders.note_changes(position, at_ms)
        super().note_changes(position, at_ms)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Each is a `match`; its `sequence` is that of the full feed."""
        for fill in (fill for fills in orders for fill in fills):
            number = self.orders.matches.get(fill.trade_id) or self._number()
            self.counts["trades"] += 1
            if self._trades.subscribers:
                self._trades.publish(self.wire.match("match", fill, number))

    def _beat(self, at_ms: float) -> None:
        if self.phase == "closed":
            return
        if self._heartbeats.subscribers:
            last = self.market.tape.next_trade_id - 1
            self._heartbeats.publish(self.wire.heartbeat(self._sequence, last, int(at_ms)))
        self.schedule(at_ms + HEARTBEAT_MS, self._beat)

    def begin_book_ids(self, first_id: int, at_ms: float) -> None:
        """Let the numbers of the product's messages, as `full` has them, begin anew."""
        self.orders.begin()
        self._sequence = first_id - 1

    def truth_orders(self) -> dict[str, Any]:
        """The single orders."""
        return self.orders.truth()

    def summary(self) -> dict[str, Any]:
        """Messages of single orders too."""
        found = super().summary()
        found["events"]["full"] = self.orders.events
        return found
