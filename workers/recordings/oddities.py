"""What is odd about the rows of a published file of trades, each with its line: order, repeats, days. No I/O."""

from __future__ import annotations

from typing import Final

from workers.recordings.records import Period

NAMED: Final = 20
"""Rows that are named; all are counted."""
REMEMBERED: Final = 100_000
"""Ids after which one is forgotten: files that were joined, or repeat rows, do so within a few."""


class Oddities:
    """Looks at rows one after the other. Cost: O(1) a row. Memory: twice `REMEMBERED` ids.

    Args:
        period: the days that the file's name says it holds; None: it does not say.
    """

    def __init__(self, period: Period | None = None) -> None:
        self._period = period
        self._newer: dict[int, int] = {}
        """By id, the line it stood in."""
        self._older: dict[int, int] = {}
        self._last = -1
        self.unordered = 0
        """Rows whose id is below that of the row above."""
        self.doubled = 0
        """Rows of an id that stood in a row before, not long ago."""
        self.other_day = 0
        """Rows of a time outside of the period: the file of that day has them too."""
        self.named: list[str] = []
        """The first of each kind, with their lines."""
        self._named_by_kind: dict[str, int] = {}

    def look(self, line: int, trade_id: int, time_ms: int) -> None:
        """The next row."""
        known = self._newer.get(trade_id) or self._older.get(trade_id)
        if known:
            self.doubled += 1
            self._name("doubled", f"line {line}: its id {trade_id} stands in line {known} too.")
        elif trade_id < self._last:
            self.unordered += 1
            self._name("unordered", f"line {line}: its id {trade_id} is below {self._last} of the row above.")
        if self._period is not None and not self._period.start_ms <= time_ms < self._period.end_ms:
            self.other_day += 1
            self._name("other_day", f"line {line}: its id {trade_id} is of another day than the file.")
        self._last = trade_id
        if len(self._newer) >= REMEMBERED:
            self._older, self._newer = self._newer, {}
        self._newer[trade_id] = line

    def _name(self, kind: str, text: str) -> None:
        count = self._named_by_kind[kind] = self._named_by_kind.get(kind, 0) + 1
        if count <= NAMED:
            self.named.append(text)
