"""The rows of one stream that are read and not in a file yet, and where the next file ends. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workers.archive.files.layout import FileRange, StreamId
from workers.archive.files.rows import Row


class Limits(NamedTuple):
    """When a file is written: as soon as one of these is reached, or the day ends."""

    rows: int
    size: int
    """Bytes in memory, about."""
    seconds: float
    """From the first row's arrival in the buffer."""


@dataclass
class Hole:
    """Trades that are not in the stream: `first`..`last` should stand before the entry `before`."""

    first: int
    last: int
    before: StreamId
    since: float
    trimmed: bool
    """Whether the stream was trimmed there before it was read."""
    is_room: bool = False
    """Whether the log left these numbers free for what REST may have of a break, so that none need be a trade."""


class Batch(NamedTuple):
    """The rows of one file: every entry of the stream from the first to the last, all of one day."""

    rows: Sequence[Row]
    ids: list[str]
    """What to acknowledge with it."""

    @property
    def range(self) -> FileRange:
        """The entries."""
        return FileRange(self.rows[0].stream_id, self.rows[-1].stream_id)

    @property
    def day(self) -> int:
        """The UTC day of all rows."""
        return self.rows[0].day


class Buffer:
    """Rows in stream order.

    Args:
        limits: of a file; the buffer may hold a little more.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.rows: list[Row] = []
        self.holes: list[Hole] = []
        self.size = 0
        self._since = 0.0
        self.spread = 1.0
        """Factor on the time limit, so that the files of many streams are not all due at once."""

    def __len__(self) -> int:
        return len(self.rows)

    def clear(self) -> None:
        """Forget everything: it is read again."""
        self.rows, self.holes, self.size = [], [], 0

    def add(self, row: Row, now: float) -> None:
        """Append a row at `now` (monotonic seconds)."""
        if not self.rows:
            self._since = now
        self.rows.append(row)
        self.size += row.size

    def insert(self, rows: Sequence[Row], before: StreamId) -> None:
        """Put rows before the row of an entry."""
        at = bisect_left(self.rows, before, key=lambda row: row.stream_id)
        self.rows[at:at] = rows
        self.size += sum(row.size for row in rows)

    def neighbour_before(self, before: StreamId) -> Row | None:
        """The row before the row of an entry."""
        at = bisect_left(self.rows, before, key=lambda row: row.stream_id)
        return self.rows[at - 1] if at else None

    @property
    def full(self) -> bool:
        """Whether nothing more should be read before a file is written."""
        return len(self.rows) >= self._limits.rows or self.size >= self._limits.size

    @property
    def pending(self) -> int:
        """How many entries of the stream are read and not acknowledged."""
        return sum(row.pending for row in self.rows)

    def _writable(self) -> int:
        """How many rows are free of holes before them."""
        if not self.holes:
            return len(self.rows)
        return bisect_left(self.rows, self.holes[0].before, key=lambda row: row.stream_id)

    def due(self, now: float) -> bool:
        """Whether a file is to be written now."""
        writable = self._writable()
        if not writable:
            return False
        late = now - self._since >= self._limits.seconds * self.spread
        return late or self.full or self.rows[0].day != self.rows[writable - 1].day

    def cut(self) -> Batch | None:
        """The rows of the next file, which stay in the buffer until `drop`; None when there are none."""
        writable = min(self._writable(), self._limits.rows)
        if not writable:
            return None
        day, end, size = self.rows[0].day, 0, 0
        while end < writable and self.rows[end].day == day and size < self._limits.size:
            size += self.rows[end].size
            end += 1
        rows = self.rows[:end]
        return Batch(rows, [row.values[0] for row in rows if row.pending])

    def drop(self, batch: Batch, now: float) -> None:
        """Forget the rows of a file that is written."""
        del self.rows[: len(batch.rows)]
        self.size -= sum(row.size for row in batch.rows)
        self._since = now
        self.spread = 1.0
