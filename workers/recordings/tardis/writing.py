"""Writing a file of a Tardis dataset: plain, or compressed as the end of its name says."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import zstandard

from workers.recordings.tardis.rows import Dataset, header_of, line_of


@contextmanager
def compressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """What is to be written to, so that a file of this name holds it; `file` is left open."""
    if name.endswith(".gz"):
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0, filename="") as packed:
            yield cast(BinaryIO, packed)
    elif name.endswith(".zst"):
        with zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as stream:
            yield cast(BinaryIO, stream)
    else:
        yield file


class RowLines:
    """Writes the rows of a dataset as lines, the header first."""

    def __init__(self, file: BinaryIO, dataset: Dataset) -> None:
        self._file = file
        file.write(f"{header_of(dataset)}\n".encode())

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows, in the order of their `local_timestamp`."""
        if rows:
            self._file.write(("\n".join(map(line_of, rows)) + "\n").encode())
