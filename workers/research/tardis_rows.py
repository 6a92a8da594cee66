"""Rows of Tardis' datasets, made of messages of a book and of trades. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from workers.archive.files.rows import POSITIONS, Values
from workers.model.books.order_book import OrderBook
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.rows import Row

MOST_LEVELS: Final = 100_000
_AT: Final = POSITIONS["trades"]


class Names:
    """The first two cells of every row."""

    def __init__(self, exchange: str, symbol: str) -> None:
        self.both = exchange, symbol

    def changes(self, message: BookMessage) -> list[Row]:
        """Rows of `incremental_book_L2`."""
        head = (*self.both, message.timestamp, message.local_timestamp, message.is_snapshot)
        rows: list[Row] = [(*head, "bid", *level) for level in message.bids]
        rows += [(*head, "ask", *level) for level in message.asks]
        return rows


class TradeCells:
    """Rows of `trades`. Local times never go back; where none is known, the exchange's stands for it."""

    def __init__(self, names: Names) -> None:
        self._names = names.both
        self._local = 0

    def rows(self, rows: Iterable[Values]) -> Iterator[Row]:
        """Of rows of the archive; what no market made, or could not be decoded, is left out."""
        for row in rows:
            if row[_AT["price"]] is None or not row[_AT["is_market"]]:
                continue
            time = row[_AT["trade_time"]] * 1000
            self._local = max(self._local, row[_AT["received"]] or time)
            maker = row[_AT["is_buyer_maker"]]
            taker = "unknown" if maker is None else "sell" if maker else "buy"
            name = row[_AT["venue_trade_id"]] or row[_AT["agg_trade_id"]]
            yield (*self._names, time, self._local, name, taker, row[_AT["price"]], row[_AT["quantity"]])


class TopCells:
    """Rows of `quotes` (depth 1) and of `book_snapshot_<depth>`: one whenever what is shown has changed.

    Args:
        every_ms: one at the end of each stretch of that length by the exchange's clock, if there was a change; 0: at
            every change.
    """

    def __init__(self, names: Names, depth: int, every_ms: int = 0, *, quotes: bool = False) -> None:
        self._names = names.both
        self._depth = depth
        self._every = every_ms * 1000
        self._quotes = quotes
        self._book = OrderBook(MOST_LEVELS)
        self._shown: Row = ()
        self._local = 0
        self._end = 0

    def rows(self, message: BookMessage) -> Iterator[Row]:
        """What is due before this message, or with it. Raises BadNumber."""
        if self._every:
            if self._end and message.timestamp >= self._end:
                yield from self._due(self._end, self._local)
            self._end = max(self._end, (message.timestamp // self._every + 1) * self._every)
        self._apply(message)
        if not self._every:
            yield from self._due(message.timestamp, message.local_timestamp)

    def finish(self) -> Iterator[Row]:
        """What is due at the end."""
        if self._every and self._end:
            yield from self._due(self._end, self._local)

    def _apply(self, message: BookMessage) -> None:
        if message.is_snapshot:
            self._book.clear()
        self._book.apply(message.bids, message.asks)
        self._local = message.local_timestamp

    def _due(self, time: int, local: int) -> Iterator[Row]:
        cells = self._cells()
        if cells != self._shown:
            self._shown = cells
            yield (*self._names, time, local, *cells)

    def _cells(self) -> Row:
        bids, asks = self._book.top(self._depth)
        if self._quotes:
            bid, ask = (side[0] if side else (None, None) for side in (bids, asks))
            return (ask[1], ask[0], *bid)
        cells: list[str | None] = []
        for level in range(self._depth):
            for side in (asks, bids):
                cells += side[level] if level < len(side) else (None, None)
        return tuple(cells)
