"""The messages of a book that rows of `incremental_book_L2` are. No I/O.

* Rows of one `local_timestamp` are one message.
* A row with `is_snapshot` after one without begins a whole book; all such rows that follow one another are that
  book, even where they came in several messages. Of two books that cannot be told apart, the older levels that cross
  newer ones are dropped.
* Changes before the first whole book are ignored: there is nothing that they could change.
* A whole book in the middle of a file is the only sign that the recorder was away: what lies before it is a hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from workers.model.events import Level
from workers.recordings.tardis.rows import Row


class BookMessage(NamedTuple):
    """A whole book, or absolute amounts by price of which 0 deletes."""

    line: int
    """Of its first row."""
    timestamp: int
    """The exchange's, µs, of its last row."""
    local_timestamp: int
    """When the recorder had it, µs."""
    is_snapshot: bool
    bids: list[Level]
    asks: list[Level]
    hole_from: int = 0
    """Of a whole book in the middle: the `local_timestamp` before it, after which messages are missing; else 0."""


class BookMessages:
    """Makes messages of the rows of one symbol: `take` some, `finish` at the end of the file."""

    def __init__(self) -> None:
        self.ignored = 0
        """Rows before the first whole book."""
        self.out_of_order: list[int] = []
        """Lines whose `local_timestamp` is before that of the row above; they are left out."""
        self._began = False
        self._last_local = 0
        self._last_change = 0
        """The `local_timestamp` of the last change."""
        self._first: tuple[int, Row] | None = None
        self._row: Row = ()
        self._bids: list[Level] = []
        self._asks: list[Level] = []
        self._stamps: dict[tuple[str, str], tuple[Level, int]] = {}
        """While a whole book is gathered: its levels by side and price, and when each was told."""

    def take(self, lines: Iterable[int], rows: Iterable[Row]) -> Iterator[BookMessage]:
        """The messages that are whole after these rows. O(1) a row."""
        first, local_before, last = self._first, self._last_local, self._row
        is_before, bids, asks = bool(last and last[4]), self._bids, self._asks
        for line, row in zip(lines, rows, strict=True):
            _, _, _, local, is_snapshot, side, price, amount = row
            if local != local_before or is_snapshot != is_before:
                if local < local_before:
                    self.out_of_order.append(line)
                    continue
                if first is not None and not (is_snapshot and is_before):
                    self._row = last
                    yield self._message()
                    first, bids, asks = None, self._bids, self._asks
                local_before = self._last_local = local
                is_before = is_snapshot
            if is_snapshot:
                self._stamps[side, price] = ((price, amount), local)
            elif not self._began and not self._stamps:
                self.ignored += 1
                continue
            elif side == "bid":
                bids.append((price, amount))
            else:
                asks.append((price, amount))
            if first is None:
                first = self._first = (line, row)
            last = row
        self._row = last

    def finish(self) -> Iterator[BookMessage]:
        """The last message, which nothing follows."""
        if self._first is not None:
            yield self._message()

    def _message(self) -> BookMessage:
        assert self._first is not None
        line, row = self._first
        local, is_snapshot, hole_from = self._row[3], bool(row[4]), 0
        if is_snapshot:
            bids, asks = _whole(self._stamps)
            hole_from = self._last_change
            self._stamps, self._began = {}, True
        else:
            bids, asks = self._bids, self._asks
        self._last_change = local
        self._first, self._bids, self._asks = None, [], []
        return BookMessage(line, self._row[2], local, is_snapshot, bids, asks, hole_from)


def _whole(stamps: dict[tuple[str, str], tuple[Level, int]]) -> tuple[list[Level], list[Level]]:
    """The levels of a whole book, each once. O(n)."""
    newest = max(local for _, local in stamps.values())
    sides: dict[str, list[tuple[Decimal, Level, int]]] = {"bid": [], "ask": []}
    for (side, price), (level, local) in stamps.items():
        number = Decimal(price)
        if Decimal(level[1]):
            sides[side].append((number, level, local))
    if any(local != newest for _, local in stamps.values()):
        lowest = min((n for n, _, local in sides["ask"] if local == newest), default=None)
        highest = max((n for n, _, local in sides["bid"] if local == newest), default=None)
        sides["bid"] = [one for one in sides["bid"] if _kept(one, newest, lowest, below=True)]
        sides["ask"] = [one for one in sides["ask"] if _kept(one, newest, highest, below=False)]
    bids, asks = ([level for _, level, _ in sides[side]] for side in ("bid", "ask"))
    return bids, asks


def _kept(level: tuple[Decimal, Any, int], newest: int, best: Decimal | None, *, below: bool) -> bool:
    number, _, local = level
    return local == newest or best is None or (number < best if below else number > best)
