"""The books of every second beyond what Redis keeps: blocks of `history:{S}` in files, a row each."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import Counter

from workers.archive.files import parquet
from workers.archive.files.layout import FileRange, Source, StreamId, day_of
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import POSITIONS, Values
from workers.archive.files.storage import Storage, storage_of
from workers.errors import ArchiveUnreadable, StateUnreadable
from workers.model.history.segment import MOST_SECONDS
from workers.settings.schema import Settings
from workers.store.history.reading import FiledBlock
from workers.store.history.writing import decode_summary

log = structlog.get_logger()

UNREAD = Counter(
    "fleet_archive_unread_total", "Questions about the past that the archive could not answer", ["venue"]
)

FILES_KEPT: Final = 4
"""Files whose rows stay in memory, as the next question is mostly of the same hour: some megabytes each at most."""
_AT: Final = POSITIONS["history"]


def readable_archive(settings: Settings) -> Storage | None:
    """The archive that answers where Redis ends; None where none is kept, or nothing here can read it."""
    if not settings.archive.enabled or find_spec("pyarrow") is None:
        return None
    return storage_of(settings.archive.url, Path(settings.fleet.home))


def block_row(block: FiledBlock) -> Values:
    """The row of a block."""
    start_ms = decode_summary(block.summary).start * 1000
    return (str(StreamId(start_ms, 0)), start_ms, block.summary.decode(), block.data)


class FiledPast:
    """The filed blocks of one venue's symbols; files are read in threads."""

    def __init__(self, storage: Storage, venue: str) -> None:
        self._storage = storage
        self._reader = ArchiveReader(storage)
        self._venue = venue
        self._files: OrderedDict[tuple[str, int, FileRange], list[Values]] = OrderedDict()
        self._lock = threading.Lock()

    def source(self, symbol: str) -> Source:
        """What the files of a symbol are filed under."""
        return Source(self._venue, symbol, "history")

    async def ends(self, symbol: str) -> tuple[int, int] | None:
        """The starts of the first and of the last block, seconds; None: there is none. Raises OSError."""
        found = await asyncio.to_thread(self._reader.ends, self.source(symbol))
        return (found[0].ms // 1000, found[1].ms // 1000) if found else None

    async def blocks(self, symbol: str, first: int, last: int) -> list[FiledBlock]:
        """Those that say something of seconds `first..last`, oldest first.

        Raises:
            StateUnreadable: a file, or the storage, is.
        """
        try:
            return await asyncio.to_thread(self._blocks, symbol, first, last)
        except (OSError, ArchiveUnreadable) as error:
            UNREAD.labels(self._venue).inc()
            log.error("archive_not_read", venue=self._venue, symbol=symbol, error=str(error))
            raise StateUnreadable(self._storage.shown(self.source(symbol).folder), str(error)) from error

    def _blocks(self, symbol: str, first: int, last: int) -> list[FiledBlock]:
        source, earliest = self.source(symbol), first - MOST_SECONDS
        found: dict[int, FiledBlock] = {}
        for day in range(day_of(earliest * 1000), day_of(last * 1000) + 1):
            for held in self._reader.files(source, day):
                if held.last.ms < earliest * 1000 or held.first.ms > last * 1000:
                    continue
                for row in self._rows(source, day, held):
                    if earliest * 1000 <= row[_AT["start"]] <= last * 1000:
                        summary = decode_summary(row[_AT["summary"]].encode())
                        if summary.first <= last and first <= summary.last:
                            found[summary.start] = FiledBlock(row[_AT["summary"]].encode(), row[_AT["data"]])
        return [found[start] for start in sorted(found)]

    def _rows(self, source: Source, day: int, held: FileRange) -> list[Values]:
        name = source.symbol, day, held
        with self._lock:
            if name in self._files:
                self._files.move_to_end(name)
                return self._files[name]
        path = f"{source.day_folder(day)}/{held.name}"
        with self._storage.open(path) as file:
            rows = [
                row for batch in parquet.read(file, self._storage.shown(path), "history") for row in batch
            ]
        with self._lock:
            self._files[name] = rows
            while len(self._files) > FILES_KEPT:
                self._files.popitem(last=False)
        return rows
