"""Records as a data frame of pandas or polars, whichever is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

from workers.client.numbers import Number
from workers.client.records import (
    Bar,
    Book,
    BookTop,
    Gap,
    Interrupted,
    PriceLevel,
    Trade,
    Withheld,
)
from workers.errors import ExtraMissing

Library = Literal["pandas", "polars"]
Numbers = Literal["float", "decimal", "text"]
NOTICES: Final = (Gap, Withheld, Interrupted)
LIBRARIES: Final[tuple[Library, ...]] = ("pandas", "polars")
_MAKE: Final[dict[Numbers, Callable[[Number], Any]]] = {"float": float, "decimal": Decimal, "text": str}

Columns = dict[str, list[Any]]


def to_dataframe(
    records: Iterable[Any] | Book,
    *,
    library: Library | None = None,
    numbers: Numbers = "float",
    levels: int = 1,
) -> Any:
    """A frame with one row a record; of a `Book` one row a level. Notices among the records are left out.

    Times become UTC datetimes: `trade_time`, `event_time`, `start` and so on, without the unit in their name.

    Args:
        records: `Trade`, `Bar` or `BookTop` records, all of one kind, or one `Book`.
        library: `pandas` or `polars`; None: the first one installed.
        numbers: prices and quantities as doubles, as exact `Decimal`, or as the exchange's text.
        levels: of a `BookTop`, how many levels a side become columns (`bid_price_1`, `bid_quantity_1` …).

    Raises:
        ExtraMissing: neither library, or not the one asked for, is installed.
        TypeError: the records are of several kinds, or of none that has a frame.
    """
    chosen = _chosen(library)
    module = import_module(chosen)
    return module.DataFrame(columns_of(records, numbers=numbers, levels=levels))


def _chosen(library: Library | None) -> Library:
    wanted = LIBRARIES if library is None else (library,)
    for name in wanted:
        if find_spec(name) is not None:
            return name
    raise ExtraMissing("Data frames", " or ".join(wanted), "frames")


def columns_of(records: Iterable[Any] | Book, *, numbers: Numbers = "float", levels: int = 1) -> Columns:
    """The columns of `to_dataframe` as lists, for any other library. Raises: TypeError."""
    make = _MAKE[numbers]
    if isinstance(records, Book):
        return _book_columns(records, make)
    rows: list[Any] = [record for record in records if not isinstance(record, NOTICES)]
    kinds = {type(row) for row in rows}
    if len(kinds) > 1 or not kinds <= {Trade, Bar, BookTop}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeError(f"records of one kind are needed, Trade, Bar or BookTop, not: {names}")
    if kinds == {BookTop}:
        return _top_columns(rows, make, levels)
    return _plain_columns(rows, make)


def _time(value: int, unit: str) -> datetime:
    micros = value * 1000 if unit == "ms" else value
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def _plain_columns(rows: Sequence[Any], make: Callable[[Number], Any]) -> Columns:
    columns: Columns = {}
    for place, name in enumerate(rows[0]._fields if rows else ()):
        values = [row[place] for row in rows]
        stem, _, unit = name.rpartition("_")
        if unit in ("ms", "us"):
            columns[stem] = [_time(value, unit) for value in values]
        elif isinstance(values[0], Number):
            columns[name] = [make(value) for value in values]
        else:
            columns[name] = values
    return columns


def _top_columns(rows: Sequence[BookTop], make: Callable[[Number], Any], levels: int) -> Columns:
    plain = [place for place, name in enumerate(BookTop._fields) if name not in ("bids", "asks")]
    columns: Columns = {}
    for place in plain:
        stem, _, unit = BookTop._fields[place].rpartition("_")
        values: list[Any] = [row[place] for row in rows]
        if unit in ("ms", "us"):
            columns[stem] = [_time(value, unit) if value else None for value in values]
        else:
            columns[BookTop._fields[place]] = values
    sides: dict[str, list[list[PriceLevel]]] = {
        "bid": [row.bids for row in rows],
        "ask": [row.asks for row in rows],
    }
    for side, found in sides.items():
        for number in range(levels):
            for field in PriceLevel._fields:
                columns[f"{side}_{field}_{number + 1}"] = [
                    make(getattr(one[number], field)) if number < len(one) else None for one in found
                ]
    return columns


def _book_columns(book: Book, make: Callable[[Number], Any]) -> Columns:
    rows = [("bid", level) for level in book.bids] + [("ask", level) for level in book.asks]
    return {
        "symbol": [book.symbol] * len(rows),
        "update_id": [book.update_id] * len(rows),
        "side": [side for side, _ in rows],
        "price": [make(level.price) for _, level in rows],
        "quantity": [make(level.quantity) for _, level in rows],
    }
