"""Rows of datasets as CSV, Parquet or Arrow: books, quotes, and what is said of contracts, page by page.

Prices and amounts of Parquet and Arrow are decimal128(38, 18), times are timestamps of µs, UTC; those of CSV are as
they were told, times in µs since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Final, Literal, Protocol

from workers.archive.files.parquet import ArrowFile, PlainParquet, decimals
from workers.errors import CommandError
from workers.recordings.tardis.rows import COLUMNS, Column, Row, level_columns, line_of

TableForm = Literal["csv", "parquet", "arrow"]
FORMS: Final[tuple[TableForm, ...]] = ("csv", "parquet", "arrow")
CELLS: Final = 1 << 20
"""Of a row group, or of a record batch, at the most: about 10,000 rows of 25 levels a side."""


class TableWriter(Protocol):
    """Takes rows of one dataset."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write the end."""


def columns_of(kind: str, depth: int) -> tuple[Column, ...]:
    """The columns of a kind: those of Tardis' dataset, of books of any depth."""
    if kind == "book":
        return level_columns(depth)
    return COLUMNS[{"derivatives": "derivative_ticker"}.get(kind, kind)]  # type: ignore[index]  # of these kinds


def table_writer(file: BinaryIO, columns: Sequence[Column], form: TableForm) -> TableWriter:
    """A writer into an open file, which it leaves open."""
    return CsvTable(file, columns) if form == "csv" else ArrowTable(file, columns, form)


class CsvTable:
    """Lines with a header."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        file.write((",".join(column.name for column in columns) + "\n").encode())

    def rows(self, rows: Sequence[Row]) -> None:
        """See `TableWriter`."""
        self._file.write("".join([f"{line_of(row)}\n" for row in rows]).encode())

    def close(self) -> None:
        """See `TableWriter`."""


class ArrowTable:
    """Parquet, or an Arrow file; memory: a page of rows."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column], form: TableForm) -> None:
        import pyarrow as pa  # noqa: PLC0415 -- an extra

        self._columns = columns
        self._page = max(1, CELLS // len(columns))
        number = pa.decimal128(38, 18)
        types: dict[str, Any] = {"us": pa.timestamp("us", tz="UTC"), "flag": pa.bool_()}
        types |= {"later": types["us"], "number": number, "amount": number}
        self._schema = pa.schema(
            [pa.field(column.name, types.get(column.kind, pa.string())) for column in columns]
        )
        self._writer = (PlainParquet if form == "parquet" else ArrowFile)(file, self._schema)
        self._waiting: list[Row] = []

    def rows(self, rows: Sequence[Row]) -> None:
        """See `TableWriter`. Raises: CommandError."""
        self._waiting += rows
        if len(self._waiting) >= self._page:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 -- an extra

        rows, self._waiting = self._waiting, []
        arrays = []
        for field, column, values in zip(self._schema, self._columns, zip(*rows, strict=True), strict=True):
            if column.kind not in ("number", "amount"):
                arrays.append(pa.array(values, field.type))
                continue
            array = decimals(pa.array(values, pa.string()))
            if array.null_count != sum(value is None for value in values):
                pairs = zip(values, array.to_pylist(), strict=True)
                [text, *_] = [text for text, value in pairs if text is not None and value is None]
                raise CommandError(f"{column.name} {text} does not fit decimal128(38, 18): use --format csv.")
            arrays.append(array)
        self._writer.table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """See `TableWriter`. Raises: CommandError."""
        try:
            if self._waiting:
                self._write()
        finally:
            self._writer.close()  # also after an error: what is left open would write into a file that is closed
