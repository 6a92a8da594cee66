"""Putting rows from elsewhere into the archive: whole files, each row once, however often it is done.

Rows must come in stream order, and their stream ids must be such that the same source gives the same ids. A row that
is there already is not written again, so that an import that was ended goes on where it was, by doing it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from uuid import uuid4

from workers.archive.files import parquet
from workers.archive.files.layout import DAY_MS, FileRange, Source, StreamId
from workers.archive.files.rows import POSITIONS, TIME_COLUMN, Values
from workers.archive.files.storage import Storage

ROWS: Final = 100_000
"""Of a file, at the most."""
SIZE: Final = 32 << 20
"""Bytes of messages of a file, about."""
MOST_WAITING: Final = 256 << 20
"""Bytes that the rows of all symbols take before they are in files, about."""
_ROW_BYTES: Final = 600
_UNNUMBERED: Final = "import."
"""Where an owner of a lease has its number: so none of them removes the file meanwhile. What follows is of one import:
several may run at once."""


class Filing:
    """Files the rows of one stream. Memory: the rows of a file. Every call may raise OSError.

    Args:
        level: of the compression.
    """

    def __init__(self, storage: Storage, source: Source, level: int, rows: int = ROWS) -> None:
        self._storage = storage
        self._source = source
        self._level = level
        self._most = rows
        at = POSITIONS[source.kind]
        self._time = at[TIME_COLUMN[source.kind]]
        self._identity = at["agg_trade_id"] if source.kind == "trades" else at["stream_id"]
        self._data = at.get("data")
        self._rows: list[Values] = []
        self._size = 0
        self._day = -1
        self._incomplete = source.incomplete(_UNNUMBERED + uuid4().hex)
        self.written = self.present = self.files = 0
        """Rows written, rows that were there already, files written."""

    def add(self, rows: Iterable[Values]) -> None:
        """Take rows, in stream order; they are in a file at the latest after `finish`."""
        time, data = self._time, self._data
        for row in rows:
            day = row[time] // DAY_MS
            if day != self._day or len(self._rows) >= self._most or self._size >= SIZE:
                self.finish()
                self._day = day
            self._rows.append(row)
            if data is not None:
                self._size += len(row[data])

    def finish(self) -> None:
        """Write what was taken."""
        rows, self._rows, self._size = self._rows, [], 0
        if not rows:
            return
        known = self._known(rows)
        fresh = [row for row in rows if self._named(row) not in known] if known else rows
        self.present += len(rows) - len(fresh)
        if fresh:
            self._write(fresh)

    @property
    def waiting(self) -> int:
        """Bytes that the rows take which are in no file yet, about."""
        return self._size + len(self._rows) * _ROW_BYTES

    def _named(self, row: Values) -> object:
        """What a row is known again by; that trades are missing has no id but that of its place."""
        name = row[self._identity]
        return row[0] if name is None else name

    def _known(self, rows: list[Values]) -> set[object]:
        """What the files of the day have that may be among the rows."""
        first, last = StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0])
        folder, found = self._source.day_folder(self._day), set[object]()
        for name in self._storage.names(folder):
            held = FileRange.parse(name)
            if held is None or not self._may_share(held, first, last):
                continue
            path = f"{folder}/{name}"
            with self._storage.open(path) as file:
                for batch in parquet.read(file, self._storage.shown(path), self._source.kind):
                    found.update(map(self._named, batch))
        return found

    def _may_share(self, held: FileRange, first: StreamId, last: StreamId) -> bool:
        if self._source.kind == "trades":  # one trade may have two stream ids, by the way it came
            return held.first.sequence <= last.sequence and first.sequence <= held.last.sequence
        return held.first <= last and first <= held.last

    def _write(self, rows: list[Values]) -> None:
        storage, source = self._storage, self._source
        held = FileRange(StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0]))
        try:
            file = storage.create(self._incomplete)
            try:
                # it follows on no entry of the log, so no owner takes it for a file of the log
                parquet.write(file, source, self._day, rows, held.first, self._level)
                storage.sync(file)
            finally:
                file.close()
            storage.publish(self._incomplete, f"{source.day_folder(self._day)}/{held.name}")
        except BaseException:
            with suppress(OSError):
                storage.remove(self._incomplete)
            raise
        self.files += 1
        self.written += len(rows)


def bound(filings: Iterable[Filing]) -> None:
    """Write what waits of the largest, where all together hold too much: a file may be of thousands of symbols."""
    largest = sorted(filings, key=lambda filing: filing.waiting, reverse=True)
    total = sum(filing.waiting for filing in largest)
    if total > MOST_WAITING:
        for filing in largest:
            total -= filing.waiting
            filing.finish()
            if total <= MOST_WAITING // 2:
                return
