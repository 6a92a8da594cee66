"""Reading one file of a Tardis dataset, plain, gzip or zstandard, in batches of some thousand rows.

Where pyarrow is installed it reads the lines, ten times as fast; a batch in which it meets anything unusual is read
again line by line, so that both say the same of every line.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from workers.errors import RecordingError
from workers.recordings.lines import line_blocks, numbered_lines
from workers.recordings.tardis.rows import (
    COLUMNS,
    HEADERS,
    NEEDED,
    CellKind,
    Dataset,
    Row,
    header_of,
    parse_row,
)

_PLAIN: Final = "^(0|[1-9][0-9]{0,39})([.][0-9]{1,40})?$"
_COMMON: Final = "exchange,symbol,timestamp,local_timestamp,"
_SIDES: Final = {"side": ("bid", "ask"), "taker": ("buy", "sell", "unknown")}
_EARLIEST_US: Final = 10**14
_END_US: Final = 10**17


class Batch(NamedTuple):
    """Rows that stand one after the other, and what could not be read between them."""

    rows: list[Row]
    lines: list[int] | range
    """Of each row, the line it stands in, from 1."""
    damages: list[RecordingError]


def dataset_of(path: Path) -> Dataset | None:
    """The dataset a file is of, by its header; None where that is none of Tardis' at all.

    Trades and liquidations have the same columns: a file is of liquidations where its name or its folders say so.

    Raises:
        RecordingError: the file cannot be read, is empty, or has other columns than the datasets we know.
    """
    for _, line in islice(numbered_lines(path), 1):
        header = line.decode(errors="replace").lstrip("\ufeff").rstrip("\r")
        found = HEADERS.get(header)
        if found is None and header.startswith(_COMMON):
            problem = f"its columns {header[len(_COMMON) :]!r} are those of none of {', '.join(COLUMNS)}"
            raise RecordingError(str(path), 1, problem)
        return "liquidations" if found == "trades" and "liquidations" in str(path) else found
    raise RecordingError(str(path), 0, "the file is empty")


class TardisFile:
    """One file of a dataset.

    Raises:
        RecordingError: it cannot be read, or its header is that of no dataset.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        dataset = dataset_of(path)
        if dataset is None:
            problem = f"its first line is the header of none of Tardis' datasets {', '.join(COLUMNS)}"
            raise RecordingError(str(path), 1, problem)
        self.dataset: Dataset = dataset

    def batches(self) -> Iterator[Batch]:
        """The rows, in the order of the file; a file that is cut short or damaged ends with a damage."""
        try:
            for number, block in line_blocks(self.path):
                start, lines = number, block
                if number == 1:
                    start, lines = 2, block.partition(b"\n")[2]
                if lines:
                    yield self._batch(start, lines)
        except RecordingError as error:
            yield Batch([], [], [error])

    def _batch(self, number: int, block: bytes) -> Batch:
        rows = _rows_by_arrow(self.dataset, block) if _has_arrow() else None
        if rows is not None:
            return Batch(rows, range(number, number + len(rows)), [])
        return self._line_by_line(number, block)

    def _line_by_line(self, number: int, block: bytes) -> Batch:
        batch = Batch([], list[int](), [])
        for place, line in enumerate(block.split(b"\n"), number):
            text = line.decode(errors="replace").rstrip("\r")
            if not text or text == header_of(self.dataset):
                continue  # files that were joined have their headers in the middle
            try:
                batch.rows.append(parse_row(self.dataset, text))
            except ValueError as error:
                batch.damages.append(RecordingError(str(self.path), place, str(error)))
            else:
                batch.lines.append(place)  # type: ignore[union-attr]  # made a list above
        return batch


@cache
def _has_arrow() -> bool:
    return find_spec("pyarrow") is not None


@cache
def _options(dataset: Dataset) -> tuple[Any, Any]:
    import pyarrow as pa  # noqa: PLC0415 -- an extra
    from pyarrow import csv  # noqa: PLC0415 -- as above

    types = {"us": pa.int64(), "flag": pa.bool_()}
    columns = COLUMNS[dataset]
    convert = csv.ConvertOptions(
        column_types={name: types.get(kind, pa.string()) for name, kind in columns},
        null_values=[],
        true_values=["true"],
        false_values=["false"],
    )
    return convert, csv.ParseOptions(quote_char=False)


def _rows_by_arrow(dataset: Dataset, block: bytes) -> list[Row] | None:
    """The rows of whole lines; None where any of them is not as usual."""
    import pyarrow as pa  # noqa: PLC0415 -- an extra
    from pyarrow import csv  # noqa: PLC0415 -- as above

    columns = COLUMNS[dataset]
    convert, parse = _options(dataset)
    reading = csv.ReadOptions(
        use_threads=False, block_size=len(block) + 1, column_names=[column.name for column in columns]
    )
    try:
        table = csv.read_csv(BytesIO(block), reading, parse, convert)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != block.count(b"\n") + (not block.endswith(b"\n")):
        return None
    values = []
    for name, kind in columns:
        array = table.column(name)
        same = array.unique() if kind == "name" else array
        if not _usual(same, kind, needed=dataset in NEEDED):
            return None
        values.append(same.to_pylist() * len(array) if len(same) == 1 else array.to_pylist())
    return list(zip(*values, strict=True))


def _usual(array: Any, kind: CellKind, *, needed: bool) -> bool:
    """Whether all cells are such that their text is their value."""
    from pyarrow import compute as pc  # noqa: PLC0415 -- an extra

    if kind == "flag":
        return True
    if kind == "us":
        least, most = pc.min_max(array).as_py().values()
        return bool(least >= _EARLIEST_US and most < _END_US)
    if kind in _SIDES:
        import pyarrow as pa  # noqa: PLC0415 -- an extra

        return bool(pc.all(pc.is_in(array, pa.array(_SIDES[kind]))).as_py())
    if kind == "amount" or (kind == "number" and needed):
        return bool(pc.all(pc.match_substring_regex(array, _PLAIN)).as_py())
    if kind in ("name", "text"):
        return bool(pc.all(pc.match_substring_regex(array, "^[!#-~]{1,128}$")).as_py())
    return False  # cells that may be empty
