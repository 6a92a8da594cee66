"""Where the archive of a stream stands, found out by its new owner.

The offset in Redis says it, but for a file that is there and not counted yet: an earlier owner was killed between
the rename and the commit, or the server lost its last second. Such a file is adopted when it is whole and follows
the offset without a gap (it says itself which entry it follows).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from workers.archive.files import parquet
from workers.archive.files.layout import START, FileRange, Source, StreamId, day_of, day_of_folder
from workers.archive.files.storage import Storage
from workers.errors import ArchiveUnreadable

log = structlog.get_logger()

UNKNOWN: Final = -1


class Offset(NamedTuple):
    """The last entry in the archive, and the last id its rows hold (see `Row.last`; -1: unknown)."""

    stream_id: StreamId
    chain: int

    @classmethod
    def parse(cls, text: str) -> Offset:
        """As it is stored; empty: nothing is in the archive."""
        stream_id, _, chain = text.partition(" ")
        return cls(StreamId.parse(stream_id), int(chain)) if stream_id else cls(START, UNKNOWN)

    def __str__(self) -> str:
        return "" if self.stream_id == START else f"{self.stream_id} {self.chain}"


class Announced(NamedTuple):
    """The file that an owner said would appear."""

    held: FileRange
    day: int
    chain: int

    @classmethod
    def parse(cls, text: str) -> Announced:
        """As it is stored."""
        first, last, day, chain = text.split()
        return cls(FileRange(StreamId.parse(first), StreamId.parse(last)), int(day), int(chain))

    def __str__(self) -> str:
        return f"{self.held.first} {self.held.last} {self.day} {self.chain}"


class Recovery:
    """The files of one stream, as its new owner looks at them. Blocking; every call may raise OSError."""

    def __init__(self, storage: Storage, source: Source, token: int) -> None:
        self._storage = storage
        self._source = source
        self._token = token

    def remove_incomplete(self) -> None:
        """Remove what earlier owners were writing; what a later one writes is left alone."""
        folder, prefix = self._source.incomplete_folder, self._source.incomplete_prefix
        for name in self._storage.names(folder):
            token = name.removeprefix(prefix).removesuffix(".tmp")
            if name.startswith(prefix) and token.isdigit() and int(token) <= self._token:
                self._storage.remove(f"{folder}/{name}")

    def uncounted(self, offset: Offset, announced: Announced | None) -> list[Offset]:
        """The offsets after each file that is there and not counted, in order."""
        found: dict[tuple[FileRange, int], int] = {}
        for day in self._days(day_of(offset.stream_id.ms) - 1):
            for name in self._storage.names(self._source.day_folder(day)):
                held = FileRange.parse(name)
                if held and held.last > offset.stream_id:
                    found[held, day] = UNKNOWN if self._source.kind == "bars" else held.last.sequence
        if announced and announced.held.last > offset.stream_id:
            found[announced.held, announced.day] = announced.chain
        adopted: list[Offset] = []
        for (held, day), chain in sorted(found.items()):
            if self._follows(held, day, offset.stream_id):
                offset = Offset(held.last, chain)
                adopted.append(offset)
        return adopted

    def newest(self) -> Offset | None:
        """Where the files themselves say the archive stands, for a server that lost the offset."""
        for day in reversed(self._days(0)):
            found = [FileRange.parse(name) for name in self._storage.names(self._source.day_folder(day))]
            for held in sorted((held for held in found if held), key=lambda held: held.last, reverse=True):
                with suppress(ArchiveUnreadable):
                    if self._previous(held, day) < held.first:
                        last = held.last
                        return Offset(last, UNKNOWN if self._source.kind == "bars" else last.sequence)
        return None

    def _days(self, first: int) -> list[int]:
        days = [day_of_folder(name) for name in self._storage.names(self._source.folder)]
        return sorted(day for day in days if day is not None and day >= first)

    def _follows(self, held: FileRange, day: int, offset: StreamId) -> bool:
        path = f"{self._source.day_folder(day)}/{held.name}"
        if not self._storage.exists(path):
            return False
        shown = self._storage.shown(path)
        try:
            previous = self._previous(held, day)
        except ArchiveUnreadable as error:
            log.error("archive_file_damaged", path=shown, error=error.problem)
            self._storage.remove(path)
            return False
        if previous == held.first:
            return False
        if previous != offset:
            log.error("archive_file_out_of_place", path=shown, offset=str(offset), follows=str(previous))
            return False
        log.info("archive_file_adopted", path=shown)
        return True

    def _previous(self, held: FileRange, day: int) -> StreamId:
        """The entry that a file says it follows; its own first one, if it was imported. Raises: ArchiveUnreadable."""
        path = f"{self._source.day_folder(day)}/{held.name}"
        with self._storage.open(path) as file:
            return parquet.check(file, self._storage.shown(path), held)
