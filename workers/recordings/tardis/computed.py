"""What tardis-machine makes of messages: the best levels of a book, and bars of trades. No I/O.

Both go by the exchange's clock, and say something only when a message comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from workers.model.books.order_book import OrderBook
from workers.model.events import Level
from workers.recordings.tardis.data_types import BarType, SnapshotType
from workers.recordings.tardis.messages import BookChange, BookSnapshot, Shown, Trade, TradeBar, number

MOST_LEVELS: Final = 100_000


class BookSnapshots:
    """The best levels of one book, whenever they have changed, or at the end of each stretch in which they did.

    Levels that cross are taken out of the book: of two, the older one. A change costs O(log n + depth).
    """

    def __init__(self, of: SnapshotType) -> None:
        self._of = of
        self._interval_us = of.interval_ms * 1_000
        self._book = OrderBook(MOST_LEVELS)
        self._known = False
        self._shown: tuple[tuple[Shown, ...], tuple[Shown, ...]] = ((None,) * of.depth,) * 2
        self._changed = False
        self._told = False
        """The first one is told at once."""
        self._time = 0

    def take(self, change: BookChange) -> Iterator[BookSnapshot]:
        """What is due before a change and with it. Raises: BadNumber."""
        if self._due(change.timestamp):
            yield self._snapshot(change)
        self._apply(change)
        if self._due(change.timestamp):
            yield self._snapshot(change)
            self._told = True

    def _due(self, time: int) -> bool:
        if not self._changed:
            return False
        if not self._interval_us or not self._told:
            return True
        stretch = self._time // self._interval_us
        if time // self._interval_us <= stretch:
            return False
        self._time = (stretch + 1) * self._interval_us
        return True

    def _apply(self, change: BookChange) -> None:
        message, book = change.book, self._book
        if message.is_snapshot:
            book.clear()
            self._known = True
        if self._known:
            book.apply(message.bids, message.asks)
            self._uncross(message.asks)
        levels = self._grouped() if self._of.grouping is not None else self._top()
        if levels != self._shown:
            self._shown, self._changed = levels, True
        self._time = change.timestamp

    def _uncross(self, asks: list[Level]) -> None:
        """The side that the message did not change best has missed a deletion: its crossing levels go."""
        book, best = self._book, self._book.best_ask
        if not book.crossed or best is None:
            return
        drops_bids = any(float(price) == float(best[0]) for price, _ in asks)
        while book.crossed:
            worst = book.best_bid if drops_bids else book.best_ask
            gone = [(worst[0], "0")] if worst is not None else []
            book.apply(gone if drops_bids else [], [] if drops_bids else gone)

    def _top(self) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
        bids, asks = self._book.top(self._of.depth)
        return self._padded(bids), self._padded(asks)

    def _padded(self, levels: list[Level]) -> tuple[Shown, ...]:
        shown: list[Shown] = [(number(price), number(amount)) for price, amount in levels]
        return (*shown, *(None,) * (self._of.depth - len(shown)))

    def _grouped(self) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
        bids, asks = (self._padded(list(self._groups(side == "bid"))) for side in ("bid", "ask"))
        return bids, asks

    def _groups(self, is_bid: bool) -> Iterator[Level]:
        """Steps of price with the amounts of their levels: bids are rounded down, asks up."""
        size, step, total, count = self._of.grouping, Decimal(-1), Decimal(0), 0
        assert size is not None
        for price, amount in self._book.levels("bid" if is_bid else "ask"):
            exact = Decimal(price)
            here = exact // size * size
            if not is_bid and here != exact:
                here += size
            if here != step:
                if step >= 0:
                    yield f"{step:f}", f"{total:f}"
                    count += 1
                    if count == self._of.depth:
                        return
                step, total = here, Decimal(0)
            total += Decimal(amount)
        if step >= 0:
            yield f"{step:f}", f"{total:f}"

    def _snapshot(self, change: BookChange) -> BookSnapshot:
        self._changed = False
        bids, asks = self._shown
        return BookSnapshot(change.symbol, self._of, bids, asks, self._time, change.local_timestamp)


class TradeBars:
    """Bars of the trades of one symbol, reckoned in doubles in the order of the trades, as tardis-machine does."""

    def __init__(self, of: BarType) -> None:
        self._of = of
        self._begin()

    def _begin(self) -> None:
        self._trades = 0
        self._open = self._close = self._vwap = 0.0
        self._high, self._low = float("-inf"), float("inf")
        self._volume = self._bought = self._sold = 0.0
        self._opened = self._closed = self._time = 0

    def take(self, trade: Trade) -> Iterator[TradeBar]:
        """The bar that a trade ends by coming after it, and that which it fills."""
        if self._is_over(trade.timestamp):
            yield self._bar(trade)
        self._add(trade)
        if self._is_over(trade.timestamp):
            yield self._bar(trade)

    def _is_over(self, time: int) -> bool:
        of = self._of
        if not self._trades:
            return False
        if of.kind == "tick":
            return self._trades >= of.interval
        if of.kind == "volume":
            return self._volume >= of.interval
        length = of.interval * 1_000
        stretch = self._opened // length
        if time // length <= stretch:
            return False
        self._time = int((stretch + 1) * length)
        return True

    def _add(self, trade: Trade) -> None:
        price, amount, time = float(trade.price), float(trade.amount), trade.timestamp
        if not self._trades:
            self._open, self._opened = price, time
        self._high, self._low = max(self._high, price), min(self._low, price)
        if time >= self._time:
            self._close, self._closed, self._time = price, time, time
        self._bought += amount if trade.side == "buy" else 0.0
        self._sold += amount if trade.side == "sell" else 0.0
        self._trades += 1
        if self._volume + amount:
            self._vwap = (self._vwap * self._volume + price * amount) / (self._volume + amount)
        self._volume += amount

    def _bar(self, trade: Trade) -> TradeBar:
        of = self._of
        bar = TradeBar(
            trade.symbol, of.name, of.interval, of.kind,
            self._open, self._high, self._low, self._close,
            self._volume, self._bought, self._sold, self._trades, self._vwap,
            self._opened, self._closed, self._time, trade.local_timestamp,
        )  # fmt: skip
        self._begin()
        return bar


class Computed:
    """All that is made of the messages of one symbol.

    Args:
        types: those that are made of others.
    """

    def __init__(self, types: list[SnapshotType | BarType]) -> None:
        self._types = types
        self.reset()

    def reset(self) -> None:
        """Messages are missing: begin anew."""
        self._made = [
            BookSnapshots(of) if isinstance(of, SnapshotType) else TradeBars(of) for of in self._types
        ]

    def take(self, message: object) -> Iterator[BookSnapshot | TradeBar]:
        """What a message makes, in the order of the types. Raises: BadNumber."""
        for maker in self._made:
            if isinstance(maker, BookSnapshots):
                if isinstance(message, BookChange):
                    yield from maker.take(message)
            elif isinstance(message, Trade):
                yield from maker.take(message)
