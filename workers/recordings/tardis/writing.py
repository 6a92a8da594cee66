"""Writing the rows of a Tardis dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from workers.recordings.tardis.rows import Dataset, header_of, line_of


class RowLines:
    """Writes the rows of a dataset as lines, the header first."""

    def __init__(self, file: BinaryIO, dataset: Dataset) -> None:
        self._file = file
        file.write(f"{header_of(dataset)}\n".encode())

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows, in the order of their `local_timestamp`."""
        if rows:
            self._file.write(("\n".join(map(line_of, rows)) + "\n").encode())
