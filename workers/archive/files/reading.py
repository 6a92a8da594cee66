"""Reading the archive: the rows of a stream in a stretch of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from workers.archive.files import parquet
from workers.archive.files.layout import FileRange, Source, StreamId, day_of, day_of_folder, decoded, encoded
from workers.archive.files.rows import Values, event_ms
from workers.archive.files.storage import Storage

_VENUE: Final = "venue="
_KIND: Final = "kind="
_SYMBOL: Final = "symbol="


def stream_id_of(row: Values) -> StreamId:
    """The id of a row's entry."""
    return StreamId.parse(row[0])


class ArchiveReader:
    """Reads of one archive. Blocking; every call may raise OSError or ArchiveUnreadable."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def venues(self) -> list[str]:
        """The venues that have files."""
        names = self.storage.names("")
        return [decoded(name.removeprefix(_VENUE)) for name in names if name.startswith(_VENUE)]

    def symbols(self, venue: str) -> list[str]:
        """The symbols of a venue that have files."""
        folder = f"{_VENUE}{encoded(venue)}"
        found: set[str] = set()
        for kind in self.storage.names(folder):
            if kind.startswith(_KIND):
                names = self.storage.names(f"{folder}/{kind}")
                found.update(
                    decoded(name.removeprefix(_SYMBOL)) for name in names if name.startswith(_SYMBOL)
                )
        return sorted(found)

    def days(self, source: Source) -> list[int]:
        """The days that have rows of a stream."""
        days = [day_of_folder(name) for name in self.storage.names(source.folder)]
        return sorted(day for day in days if day is not None)

    def files(self, source: Source, day: int) -> list[FileRange]:
        """The files of one day, in stream order."""
        found = [FileRange.parse(name) for name in self.storage.names(source.day_folder(day))]
        return sorted(held for held in found if held)

    def ends(self, source: Source) -> tuple[StreamId, StreamId] | None:
        """The first and the last entry in the archive; None when there is nothing."""
        held = [files for day in self.days(source) if (files := self.files(source, day))]
        if not held:
            return None
        return held[0][0].first, max(file.last for file in held[-1])

    def rows(self, source: Source, from_ms: int, to_ms: int) -> Iterator[Values]:
        """The rows whose event time (ms) is in a stretch: day by day, each day's in stream order, none twice."""
        for day in self.days(source):
            if not day_of(from_ms) <= day <= day_of(to_ms - 1):
                continue
            for row in self.rows_of(source, day):
                if from_ms <= event_ms(source.kind, row) < to_ms:
                    yield row

    def rows_of(self, source: Source, day: int) -> Iterator[Values]:
        """All rows of a day, in stream order, none twice."""
        last: str | None = None
        for group in _overlapping(self.files(source, day)):
            readers = [self.rows_of_file(source, day, held) for held in group]
            rows = readers[0] if len(readers) == 1 else heapq.merge(*readers, key=stream_id_of)
            for row in rows:
                if row[0] != last:
                    last = row[0]
                    yield row

    def rows_of_file(self, source: Source, day: int, held: FileRange) -> Iterator[Values]:
        """All rows of one file, in stream order."""
        path = f"{source.day_folder(day)}/{held.name}"
        with self.storage.open(path) as file:
            for rows in parquet.read(file, self.storage.shown(path), source.kind):
                yield from rows


def _overlapping(files: list[FileRange]) -> Iterator[list[FileRange]]:
    """Files in groups whose ranges overlap; one alone, but where a store lost track of its owner."""
    group: list[FileRange] = []
    for held in files:
        if group and held.first > max(member.last for member in group):
            yield group
            group = []
        group.append(held)
    if group:
        yield group
