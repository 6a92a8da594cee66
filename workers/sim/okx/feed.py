"""One instrument on OKX: `books`, `trades`, `trades-all` and its place in `instruments`."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import msgspec

from workers.sim.engine.book import Levels
from workers.sim.engine.book_channel import BookChannel
from workers.sim.engine.derivatives import Derivative, Quote
from workers.sim.engine.feed import FeedParts, Phase, SymbolFeed
from workers.sim.engine.fills import fill_row
from workers.sim.engine.history import Fill, TruthTooOldError
from workers.sim.engine.topics import Topic
from workers.sim.okx.symbols import INSTRUMENT_TYPES
from workers.sim.okx.wire import OkxWire

DEPTH: Final = 400
INTERVAL_MS: Final = 100
QUIET_MS: Final = 60_000
NO_SNAPSHOT: Final = -1
STATES: Final[dict[Phase, str]] = {
    "pending": "preopen",
    "trading": "live",
    "halted": "suspend",
    "delisted": "expired",
    "closed": "expired",
}


class OkxBook(BookChannel):
    """`books`: ids rise by irregular steps, and each message names the one before."""

    def __init__(self, feed: OkxFeed, topic: Topic) -> None:
        super().__init__(feed, topic, DEPTH, INTERVAL_MS, QUIET_MS)
        self._wire = feed.wire
        self.seq_id = self.previous_id = feed.market.last_id
        # From which update id of the market on, how much less seqId is; the newest last.
        self._epochs = [(feed.market.changes.oldest_id, 0)]

    def advance(self) -> None:
        """The id of the book's last change, in the numbering of today."""
        self.previous_id = self.seq_id
        self.seq_id = self.feed.market.last_id - self._epochs[-1][1]

    def whole(self) -> str:
        """`action: snapshot`, which has none before it."""
        bids, asks = self.window.levels()
        return self._wire.book("snapshot", bids, asks, self.feed.engine_time, (self.seq_id, NO_SNAPSHOT))

    def update(self, bids: Levels, asks: Levels, at_ms: int) -> str:
        """`action: update`."""
        return self._wire.book("update", bids, asks, at_ms, (self.seq_id, self.previous_id))

    def still(self) -> str:
        """An update without levels and without a step of the id."""
        ts = int(self.sent_ms) + QUIET_MS
        return self._wire.book("update", [], [], ts, (self.seq_id, self.seq_id))

    def begin_anew(self, first_id: int) -> None:
        """Let the ids go on from a lower one with the next update."""
        last_id = self.feed.market.last_id
        self._epochs.append((last_id, last_id - first_id))

    def market_id(self, seq_id: int) -> int:
        """The market's update id of a `seqId`, the newest where it was given twice."""
        end = self.feed.market.last_id
        for start, offset in reversed(self._epochs):
            if start <= seq_id + offset <= end:
                return seq_id + offset
            end = start
        raise TruthTooOldError(seq_id, self._epochs[0][0])


class OkxFeed(SymbolFeed):
    """The streams of one instrument."""

    def __init__(self, parts: FeedParts, instruments: Topic, liquidations: Topic) -> None:
        spec, settings, start_ms, topics, schedule = parts
        self.wire = OkxWire(spec)
        super().__init__(self.wire, settings, start_ms, schedule)
        self._instruments = instruments
        self._liquidations = liquidations

        def topic(stream_class: str, channel: str) -> Topic:
            return topics.create(spec.market, stream_class, spec.symbol, f"{channel}:{spec.symbol}")

        self.book = OkxBook(self, topic("public", "books"))
        self._trades = topic("public", "trades")
        self._all_trades = topic("business", "trades-all")
        self.counts = {"trades": 0, "trades-all": 0}
        if spec.market == "swap":
            self._figures = {
                name: topic("public", name) for name in ("mark-price", "funding-rate", "open-interest")
            }
            self._figures["index-tickers"] = topics.create(
                spec.market, "public", spec.symbol, f"index-tickers:{spec.pair}"
            )
            self.derivative = Derivative(self.wire, self.market.book, self._quoted, self._liquidated)

    def _quoted(self, quote: Quote) -> None:
        for name, topic in self._figures.items():
            if topic.subscribers:
                topic.publish(self.wire.figures(name, quote))

    def _liquidated(self, fill: Fill, at_ms: int) -> bool:
        self._liquidations.publish(self.wire.liquidation(fill))
        return True

    @property
    def status(self) -> str:
        """`live`, `suspend`, `preopen` or `expired`."""
        return STATES[self.phase]

    def note_changes(self, position: int, at_ms: float) -> None:
        """A message of `books` is due."""
        self.book.note_changes(at_ms)

    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Send every fill on `trades-all`, and those of one taker at one price together on `trades`."""
        for fills in orders:
            self.counts["trades-all"] += len(fills)
            if self._all_trades.subscribers:
                for fill in fills:
                    self._all_trades.publish(self.wire.single_trade(fill))
            for _, run in groupby(fills, key=lambda fill: fill.price):
                self.counts["trades"] += 1
                if self._trades.subscribers:
                    self._trades.publish(self.wire.merged_trade(list(run), self.market.last_id))

    def flush(self, at_ms: float) -> None:
        """Send the book's pending message."""
        self.book.flush(at_ms)

    def begin_book_ids(self, first_id: int, at_ms: float) -> None:
        """Let `seqId` go on from a lower number, as after maintenance."""
        self.book.flush(at_ms)
        self.book.begin_anew(first_id)

    def announce(self, now_ms: float) -> None:
        """Push the instrument on the stream of its type."""
        row = self.wire.instrument(self.status, self.market.grid)
        arg = {"channel": "instruments", "instType": INSTRUMENT_TYPES[self.spec.market]}
        self._instruments.publish(msgspec.json.encode({"arg": arg, "data": [row]}).decode())

    def truth_id(self, update_id: int, stream: str) -> int:
        """The market's update id of a `seqId`."""
        return self.book.market_id(update_id)

    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """Single fills, as on `trades-all`."""
        tape = self.market.tape
        rows = [fill_row(self.wire, fill) for fill in tape.trades(from_id, limit)]
        return {"first_id": tape.first_trade_id, "next_id": tape.next_trade_id, "trades": rows}

    def summary(self) -> dict[str, Any]:
        """Messages of each stream, of books by their levels."""
        return {
            "depth": {str(DEPTH): {"events": self.book.events, "last_u": self.book.seq_id}},
            "events": dict(self.counts),
        }
