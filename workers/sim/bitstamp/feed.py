"""One market on Bitstamp: books of levels, which are known by their time in µs, single orders, and trades."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any, Final

from workers.sim.bitstamp.orders import BitstampOrders
from workers.sim.bitstamp.wire import BitstampWire
from workers.sim.engine.book import Levels
from workers.sim.engine.book_channel import BookChannel, TouchedLevels
from workers.sim.engine.feed import FeedParts, Phase, SymbolFeed
from workers.sim.engine.fills import fill_row
from workers.sim.engine.history import Fill, TruthTooOldError
from workers.sim.engine.topics import Topic

ALL_LEVELS: Final = 0
WHOLE_LEVELS: Final = 100
INTERVAL_MS: Final = 324
"""Between two messages of a book (capture of 2026)."""
STATUSES: Final[dict[Phase, str]] = {
    "pending": "Disabled",
    "trading": "Enabled",
    "halted": "Disabled",
    "delisted": "Disabled",
    "closed": "Disabled",
}


class BitstampBook(BookChannel):
    """What has changed of the whole book, or its best levels anew. A subscription begins with nothing."""

    feed: BitstampFeed

    def __init__(self, feed: BitstampFeed, topic: Topic, channel: str, depth: int) -> None:
        super().__init__(feed, topic, depth or WHOLE_LEVELS, INTERVAL_MS)
        if depth == ALL_LEVELS:
            self.window = TouchedLevels(feed.market)
        self._differs = depth == ALL_LEVELS
        self._wire = feed.wire
        self._channel = channel
        self.last_micros = 0
        topic.first = self._nothing

    def _nothing(self) -> None:
        self.look()

    def advance(self) -> None:
        """The time of a message is that of its sending."""

    def whole(self) -> str:
        """All levels of the window."""
        bids, asks = self.window.levels()
        return self._wire.book_message(self._channel, bids, asks, self.last_micros)

    def update(self, bids: Levels, asks: Levels, at_ms: int) -> str:
        """What has changed, or of a window of few levels all of them."""
        self.last_micros = self.feed.times.note(at_ms, self.feed.market.last_id)
        if not self._differs:
            return self.whole()
        return self._wire.book_message(self._channel, bids, asks, self.last_micros)


class BookTimes:
    """By time in µs, which rises, the market's update ids."""

    def __init__(self, at_ms: float, update_id: int) -> None:
        self._micros = array("q", [int(at_ms * 1000)])
        self._market_ids = array("q", [update_id])

    def note(self, at_ms: float, update_id: int) -> int:
        """The time of what happens now."""
        micros = max(self._micros[-1] + 1, int(at_ms * 1000))
        self._micros.append(micros)
        self._market_ids.append(update_id)
        return micros

    def market_id(self, micros: int) -> int:
        """The market's update id at a time."""
        place = bisect_right(self._micros, micros)
        if not place:
            raise TruthTooOldError(micros, self._micros[0])
        return self._market_ids[place - 1]

    def micros_of(self, update_id: int) -> int:
        """The latest time at which the book was as after an update id."""
        return self._micros[max(1, bisect_right(self._market_ids, update_id)) - 1]


class BitstampFeed(SymbolFeed):
    """The channels of one market."""

    def __init__(self, parts: FeedParts) -> None:
        spec, settings, start_ms, topics, schedule = parts
        self.wire = BitstampWire(spec)
        super().__init__(self.wire, settings, start_ms, schedule)
        self.times = BookTimes(start_ms, self.market.last_id)

        def topic(channel: str) -> Topic:
            return topics.create(spec.market, "public", spec.symbol, f"{channel}_{self.wire.name}")

        def book(channel: str, depth: int) -> BitstampBook:
            return BitstampBook(self, topic(channel), channel, depth)

        self.diffs, self.whole = book("diff_order_book", ALL_LEVELS), book("order_book", WHOLE_LEVELS)
        self._trades = topic("live_trades")
        self.orders = BitstampOrders(self.wire, self.market, topic("live_orders"), settings.seed)
        self.messages = 0

    @property
    def status(self) -> str:
        """`Enabled` or `Disabled`."""
        return STATUSES[self.phase]

    def note_changes(self, position: int, at_ms: float) -> None:
        """A message of both channels is due."""
        self.times.note(at_ms, self.market.last_id)
        self.diffs.note_changes(at_ms)
        self.whole.note_changes(at_ms)
        self.orders.note_changes(position, at_ms)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Send each fill in a message of its own."""
        for fills in orders:
            self.messages += len(fills)
            for fill in fills if self._trades.subscribers else ():
                self._trades.publish(self.wire.trade_message(fill))

    def flush(self, at_ms: float) -> None:
        """Send the pending messages of both channels."""
        self.diffs.flush(at_ms)
        self.whole.flush(at_ms)

    def truth_id(self, update_id: int, stream: str) -> int:
        """The market's update id at a time in µs."""
        return self.times.market_id(update_id)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Single fills by their ids on the wire."""
        tape, wire = self.market.tape, self.wire
        rows = []
        for fill in tape.trades(wire.first_fill(from_id), limit):
            sent = wire.trade_id(fill.trade_id)
            rows.append(fill_row(wire, fill) | {"a": sent, "f": sent, "l": sent})
        first, following = wire.trade_id(tape.first_trade_id), wire.trade_id(tape.next_trade_id)
        return {"first_id": first, "next_id": following, "trades": rows}

    def truth_orders(self) -> dict[str, Any]:
        """The single orders."""
        return self.orders.truth()

    def summary(self) -> dict[str, Any]:
        """Messages of each channel; the last id of the changes is a time."""
        depths = {
            "depth": {"events": self.diffs.events, "last_u": self.diffs.last_micros or None},
            "order_book": {"events": self.whole.events, "last_u": self.whole.last_micros or None},
        }
        return {"depth": depths, "events": {"live_trades": self.messages, "live_orders": self.orders.events}}
