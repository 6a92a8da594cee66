"""One symbol on Bybit: `orderbook.{1|50|200|1000}`, `publicTrade`, and of contracts `tickers` and `allLiquidation`."""

from __future__ import annotations

from array import array
from typing import Any, Final

from workers.sim.bybit.wire import MOST_TRADES, BookIds, BybitWire
from workers.sim.engine.book import Levels
from workers.sim.engine.book_channel import BookChannel
from workers.sim.engine.derivatives import Derivative, Quote
from workers.sim.engine.feed import FeedParts, Phase, SymbolFeed
from workers.sim.engine.fills import fill_row
from workers.sim.engine.history import Fill, TruthTooOldError
from workers.sim.engine.topics import Topic

INTERVALS_MS: Final = {1: 10, 50: 20, 200: 100, 1000: 200}
QUIET_MS: Final = 3_000
"""The topic of one level repeats itself after so long."""
IDS_PER_U: Final = 640
"""Update ids of the market for one `u` when it starts, so that one that starts later starts higher."""
STATUSES: Final[dict[Phase, str]] = {
    "pending": "PreLaunch",
    "trading": "Trading",
    "halted": "Halted",
    "delisted": "Delivering",
    "closed": "Closed",
}


class BybitBook(BookChannel):
    """One `orderbook` topic: `u` counts its messages by one, whoever follows it."""

    def __init__(self, feed: BybitFeed, topic: Topic, depth: int) -> None:
        super().__init__(feed, topic, depth, INTERVALS_MS[depth], QUIET_MS if depth == 1 else 0)
        self._wire = feed.wire
        self._runs: list[tuple[int, array[int]]] = [
            (feed.market.last_id // IDS_PER_U + depth, array("q", [feed.market.last_id]))
        ]

    @property
    def u(self) -> int:
        """The id of the last message."""
        first, market_ids = self._runs[-1]
        return first + len(market_ids) - 1

    def advance(self) -> None:
        """The next `u`; the market's id is remembered with it."""
        self._runs[-1][1].append(self.feed.market.last_id)

    def ids(self) -> BookIds:
        """Those of the last message."""
        return BookIds(self.u, self._runs[-1][1][-1], self.feed.engine_time)

    def whole(self) -> str:
        """A snapshot."""
        bids, asks = self.window.levels()
        ids = self.ids()
        return self._wire.book(self.depth, "snapshot", bids, asks, max(int(self.sent_ms), ids.cts), ids)

    def update(self, bids: Levels, asks: Levels, at_ms: int) -> str:
        """A delta; the topic of one level has snapshots only."""
        if self.depth == 1:
            return self.whole()
        return self._wire.book(self.depth, "delta", bids, asks, at_ms, self.ids())

    def begin_anew(self, first_id: int, at_ms: float) -> None:
        """A restart of the service: a snapshot with a low `u` (1) to all who follow."""
        self.window.changes()
        self._runs.append((first_id, array("q", [self.feed.market.last_id])))
        if self.topic.subscribers:
            self.publish(self.whole(), at_ms)

    def market_id(self, u: int) -> int:
        """The market's update id of a message, the newest where `u` was given twice."""
        for first, market_ids in reversed(self._runs):
            if first <= u < first + len(market_ids):
                return market_ids[u - first]
        raise TruthTooOldError(u, self._runs[0][0])


class BybitFeed(SymbolFeed):
    """The topics of one symbol."""

    def __init__(self, parts: FeedParts) -> None:
        spec, settings, start_ms, topics, schedule = parts
        self.wire = BybitWire(spec)
        super().__init__(self.wire, settings, start_ms, schedule)

        def topic(name: str) -> Topic:
            return topics.create(spec.market, "public", spec.symbol, f"{name}.{spec.symbol}")

        self.books = {depth: BybitBook(self, topic(f"orderbook.{depth}"), depth) for depth in INTERVALS_MS}
        self._trades = topic("publicTrade")
        self._seqs = array("q")
        self._last_price = 0
        self._last_tick = "PlusTick"
        self.messages = 0
        self._quote: Quote | None = None
        if spec.market != "spot":
            self._tickers, self._liquidations = topic("tickers"), topic("allLiquidation")
            self._tickers.first = self._whole_ticker
            self.derivative = Derivative(self.wire, self.market.book, self._quoted, self._liquidated)

    def _whole_ticker(self) -> str | None:
        """What a new subscriber gets; nothing before the first quote, which it then gets whole."""
        return self.wire.ticker(self._quote, None, self.market.last_id) if self._quote else None

    def _quoted(self, quote: Quote) -> None:
        before, self._quote = self._quote, quote
        if self._tickers.subscribers:
            self._tickers.publish(self.wire.ticker(quote, before, self.market.last_id))

    def _liquidated(self, fill: Fill, at_ms: int) -> bool:
        self._liquidations.publish(self.wire.liquidation(fill, at_ms))
        return True

    @property
    def status(self) -> str:
        """`Trading`, `PreLaunch`, …"""
        return STATUSES[self.phase]

    def note_changes(self, position: int, at_ms: float) -> None:
        """A message of every depth is due."""
        for book in self.books.values():
            book.note_changes(at_ms)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Send the fills of each order in one message; all have one `seq`."""
        seq = self.market.last_id
        for fills in orders:
            self._seqs.extend([seq] * len(fills))
            ticks = [self._tick(fill.price) for fill in fills]
            for start in range(0, len(fills), MOST_TRADES):
                part = slice(start, start + MOST_TRADES)
                self.messages += 1
                if self._trades.subscribers:
                    self._trades.publish(self.wire.trades(fills[part], ticks[part], int(at_ms), seq))

    def _tick(self, price: int) -> str:
        """Where the price went against the trade before."""
        if price == self._last_price:
            tick = "Zero" + self._last_tick.removeprefix("Zero")
        else:
            tick = "PlusTick" if price > self._last_price else "MinusTick"
        self._last_price, self._last_tick = price, tick
        return tick

    def seq_of(self, fill: Fill) -> int:
        """The `seq` a fill was sent with."""
        return self._seqs[fill.trade_id - self.market.tape.first_trade_id]

    def flush(self, at_ms: float) -> None:
        """Send the pending message of every depth."""
        for book in self.books.values():
            book.flush(at_ms)

    def begin_book_ids(self, first_id: int, at_ms: float) -> None:
        """A restart of the service: all depths begin anew."""
        for book in self.books.values():
            book.begin_anew(first_id, at_ms)

    def truth_id(self, update_id: int, stream: str) -> int:
        """The market's update id of a `u` of the topic of so many levels as `stream` says, such as `200`."""
        depth = next((depth for depth in self.books if stream == str(depth)), 200)
        return self.books[depth].market_id(update_id)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Single fills, each with the id it was sent with as `i`."""
        tape = self.market.tape
        rows = [
            fill_row(self.wire, fill) | {"i": self.wire.trade_name(fill)}
            for fill in tape.trades(from_id, limit)
        ]
        return {"first_id": tape.first_trade_id, "next_id": tape.next_trade_id, "trades": rows}

    def summary(self) -> dict[str, Any]:
        """Messages of each topic, of books by their levels."""
        return {
            "depth": {
                str(depth): {"events": book.events, "last_u": book.u} for depth, book in self.books.items()
            },
            "events": {"publicTrade": self.messages},
        }
