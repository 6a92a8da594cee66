"""Archive files as Parquet: the one module that needs pyarrow.

Text columns hold every price, quantity and sum exactly as it was written; beside each stands the same number as
decimal128(38, 18), named `<column>_decimal`, which is null where a number has more digits than that. Times are
timestamps in UTC (ms; `received` µs). The venue, the symbol and the interval are in the path and in the file's
metadata, not in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.util import find_spec
from typing import Any, BinaryIO, Final, Protocol

from workers.archive.files.layout import FileRange, Kind, Source, StreamId, day_text
from workers.archive.files.rows import COLUMNS, ColumnType, Values
from workers.errors import ArchiveUnreadable, ExtraMissing

FORMAT_VERSION: Final = "1"
_PREFIX: Final = "marketfleet."
_LATER: Final = ("reason", "venue_trade_id", "entry")
"""Columns that files of earlier releases do not have: they are read as null."""
_DICTIONARY: Final = ("number",)
_DELTA: Final[Mapping[ColumnType, str]] = {
    "integer": "DELTA_BINARY_PACKED",
    "ms": "DELTA_BINARY_PACKED",
    "us": "DELTA_BINARY_PACKED",
}
_PRECISION: Final = (38, 18)
_BATCH_ROWS: Final = 8_192
EXPORT_LEVEL: Final = 3
"""Of the compression of what is given out."""


def is_installed() -> bool:
    """Whether Parquet files can be written and read."""
    return find_spec("pyarrow") is not None


def require() -> None:
    """Check that Parquet files can be written and read.

    Raises:
        ExtraMissing: pyarrow is not installed.
    """
    if not is_installed():
        raise ExtraMissing("Parquet files", "pyarrow", "archive")


@cache
def _arrow() -> tuple[Any, Any]:
    require()
    import pyarrow as pa  # noqa: PLC0415 -- an extra: everything else must run without it
    from pyarrow import parquet  # noqa: PLC0415 -- as above

    return pa, parquet


def _type_of(kind: ColumnType) -> Any:
    pa, _ = _arrow()
    return {
        "text": pa.string(),
        "number": pa.string(),
        "integer": pa.int64(),
        "ms": pa.timestamp("ms", tz="UTC"),
        "us": pa.timestamp("us", tz="UTC"),
        "flag": pa.bool_(),
        "bytes": pa.binary(),
    }[kind]


@cache
def _schema(kind: Kind) -> Any:
    pa, _ = _arrow()
    fields = []
    for name, column_type in COLUMNS[kind]:
        fields.append(pa.field(name, _type_of(column_type)))
        if column_type == "number":
            fields.append(pa.field(f"{name}_decimal", pa.decimal128(*_PRECISION)))
    return pa.schema(fields)


def _exact(text: str | None) -> Decimal | None:
    """A number that decimal128(38, 18) holds exactly, else None."""
    try:
        number = Decimal(text or "")
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or exponent < -_PRECISION[1]
        or number.adjusted() >= _PRECISION[0] - _PRECISION[1]
    ):
        return None
    return number


def decimals(texts: Any) -> Any:
    """Texts as decimal128(38, 18); null for one that it cannot hold exactly."""
    pa, _ = _arrow()
    wanted = pa.decimal128(*_PRECISION)
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        return pa.array([_exact(text) for text in texts.to_pylist()], wanted)


def _table(kind: Kind, rows: Sequence[Values]) -> Any:
    pa, _ = _arrow()
    arrays = []
    for (_, column_type), values in zip(COLUMNS[kind], zip(*rows, strict=True), strict=True):
        array = pa.array(values, _type_of(column_type))
        arrays.append(array)
        if column_type == "number":
            arrays.append(decimals(array))
    return pa.Table.from_arrays(arrays, schema=_schema(kind))


def write(
    file: BinaryIO, source: Source, day: int, rows: Sequence[Values], previous: StreamId, level: int
) -> None:
    """Write the rows of one file.

    Args:
        rows: in stream order, at least one.
        previous: the stream id that the rows follow.
        level: of the zstd compression.
    """
    metadata = {
        "format": FORMAT_VERSION,
        "venue": source.venue,
        "symbol": source.symbol,
        "kind": source.kind,
        "interval": source.interval,
        **({"channel": source.channel} if source.channel else {}),
        "date": day_text(day),
        "first_id": rows[0][0],
        "last_id": rows[-1][0],
        "previous_id": str(previous),
        "rows": str(len(rows)),
    }
    table = _table(source.kind, rows).replace_schema_metadata(
        {_PREFIX + name: value for name, value in metadata.items()}
    )
    with Writer(file, source.kind, table.schema, level) as writer:
        writer.table(table)


class Writer:
    """Writes tables of one kind into an open file, which it leaves open."""

    def __init__(self, file: BinaryIO, kind: Kind, schema: Any, level: int) -> None:
        _, parquet = _arrow()
        columns = COLUMNS[kind]
        decimals = [f"{name}_decimal" for name, column_type in columns if column_type == "number"]
        encodings = {name: _DELTA[column_type] for name, column_type in columns if column_type in _DELTA}
        self._writer = parquet.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=level,
            write_page_checksum=True,
            use_dictionary=[
                *(name for name, column_type in columns if column_type in _DICTIONARY or name == "line"),
                *decimals,
                *(name for name in schema.names if name in ("symbol", "interval", "channel")),
            ],
            column_encoding={**encodings, "stream_id": "DELTA_BYTE_ARRAY"},
        )

    def table(self, table: Any) -> None:
        """Write a table as its own row groups."""
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TableFile(Protocol):
    """Takes tables of one schema into an open file, which it leaves open."""

    def table(self, table: Any) -> None:
        """Write a table."""

    def close(self) -> None:
        """Write the end of the file."""


class PlainParquet:
    """See `TableFile`: Parquet, a row group a table."""

    def __init__(self, file: BinaryIO, schema: Any, level: int = 3) -> None:
        _, parquet = _arrow()
        self._writer = parquet.ParquetWriter(file, schema, compression="zstd", compression_level=level)

    def table(self, table: Any) -> None:
        """See `TableFile`."""
        self._writer.write_table(table)

    def metadata(self, values: Mapping[str, str]) -> None:
        """Say something of the file at its end."""
        self._writer.add_key_value_metadata(values)

    def close(self) -> None:
        """See `TableFile`."""
        self._writer.close()


class ArrowFile:
    """See `TableFile`: an Arrow IPC file (Feather 2), a record batch a table, packed with zstd."""

    def __init__(self, file: BinaryIO, schema: Any) -> None:
        pa, _ = _arrow()
        # the file is given out by descriptor or pipe: pyarrow would close it with the writer
        self._sink = pa.PythonFile(file, mode="w")
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(self._sink, schema, options=options)

    def table(self, table: Any) -> None:
        """See `TableFile`."""
        self._writer.write_table(table)

    def close(self) -> None:
        """See `TableFile`."""
        self._writer.close()


class ExportWriter:
    """Writes rows of one stream with its symbol (and interval) in every row, as `fleet export` gives them out.

    Args:
        form: `parquet` or `arrow`.
    """

    def __init__(self, file: BinaryIO, source: Source, form: str) -> None:
        pa, _ = _arrow()
        self._kind = source.kind
        self._named = {"symbol": source.symbol, **dict(source.within)}
        schema = pa.schema([*(pa.field(name, pa.string()) for name in self._named), *_schema(self._kind)])
        self._schema = schema.with_metadata(
            {f"{_PREFIX}format": FORMAT_VERSION, f"{_PREFIX}venue": source.venue}
        )
        self._writer: TableFile = (
            ArrowFile(file, self._schema)
            if form == "arrow"
            else Writer(file, self._kind, self._schema, EXPORT_LEVEL)
        )

    def rows(self, rows: Sequence[Values]) -> None:
        """Write rows as a row group of their own."""
        pa, _ = _arrow()
        table = _table(self._kind, rows)
        named = [pa.array([value] * len(rows)) for value in self._named.values()]
        self._writer.table(pa.Table.from_arrays([*named, *table.columns], schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()


@contextmanager
def _damage(path: str) -> Iterator[None]:
    """Whatever is raised meanwhile says that the file is damaged, but an error of the device, which has a number."""
    pa, _ = _arrow()
    try:
        yield
    except (pa.ArrowException, OSError, LookupError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveUnreadable(path, str(error).partition("\n")[0] or type(error).__name__) from error


def _open(file: BinaryIO, path: str) -> tuple[Any, dict[str, str]]:
    """The file, and what it says of itself."""
    _, parquet = _arrow()
    with _damage(path):
        opened = parquet.ParquetFile(file, page_checksum_verification=True)
        metadata = opened.schema_arrow.metadata or {}
        found = {name.decode(): value.decode() for name, value in metadata.items()}
    ours = {name.removeprefix(_PREFIX): value for name, value in found.items() if name.startswith(_PREFIX)}
    if "format" not in ours:
        raise ArchiveUnreadable(path, "it is no file of the archive")
    if ours["format"] != FORMAT_VERSION:
        raise ArchiveUnreadable(
            path, f"its format is version {ours['format']}, this release reads {FORMAT_VERSION}"
        )
    return opened, ours


def check(file: BinaryIO, path: str, expected: FileRange) -> StreamId:
    """Check that a file is whole and holds the entries its name says; the stream id its rows follow.

    Raises:
        ArchiveUnreadable: it does not.
    """
    opened, metadata = _open(file, path)
    said = (metadata.get("first_id"), metadata.get("last_id"), metadata.get("rows"))
    if said != (str(expected.first), str(expected.last), str(opened.metadata.num_rows)):
        raise ArchiveUnreadable(path, f"it says that it holds {said}")
    with _damage(path):
        return StreamId.parse(metadata["previous_id"])


def read(file: BinaryIO, path: str, kind: Kind) -> Iterator[list[Values]]:
    """The rows of a file, in stream order, some thousands at a time; times are integers again.

    Raises:
        ArchiveUnreadable: it is no whole file of the archive, or of another format version.
    """
    pa, _ = _arrow()
    opened, metadata = _open(file, path)
    names = [column.name for column in COLUMNS[kind]]
    there = {field.name: field.type for field in opened.schema_arrow}
    for name, column_type in COLUMNS[kind]:
        if there.get(name) != _type_of(column_type) and (name in there or name not in _LATER):
            raise ArchiveUnreadable(path, f"it has no column {name} of {column_type}")
    batches, count = opened.iter_batches(batch_size=_BATCH_ROWS, columns=names), 0
    while True:
        with _damage(path):
            batch = next(batches, None)
            if batch is None:
                break
            columns = []
            for column in COLUMNS[kind]:
                if column.name not in there:
                    columns.append([None] * batch.num_rows)
                    continue
                array = batch.column(column.name)
                columns.append((array.cast(pa.int64()) if column.type in ("ms", "us") else array).to_pylist())
        count += batch.num_rows
        yield list(zip(*columns, strict=True))
    if str(count) != metadata.get("rows"):
        raise ArchiveUnreadable(path, f"it has {count} rows, and says {metadata.get('rows')}")
