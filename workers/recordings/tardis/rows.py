"""The rows of Tardis' CSV datasets: their columns, and each row as values and as text. No I/O.

Comma, LF, a header, times in µs UTC; a file is sorted by `local_timestamp`. An empty cell is None: the exchange did not
tell it, or there is no such level. Prices and amounts stay text, without exponents: `1e-05` is read as `0.00001`.
Source: Tardis' documentation of downloadable CSV files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple, get_args

Dataset = Literal[
    "incremental_book_L2",
    "trades",
    "book_snapshot_5",
    "book_snapshot_25",
    "quotes",
    "derivative_ticker",
    "liquidations",
]
DATASETS: Final[tuple[Dataset, ...]] = get_args(Dataset)
CellKind = Literal["name", "text", "us", "later", "flag", "side", "taker", "number", "amount"]
"""`name`: not empty; `us`: a time, µs; `later`: a time that may be absent, µs; `side`: of a book; `taker`: who took;
`number`: any decimal or nothing; `amount`: a decimal from 0 on."""
Row = tuple[Any, ...]
"""The values of the columns of its dataset, in their order."""
LONGEST_NAME: Final = 128
_PLAIN: Final = re.compile(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?")
_SCIENTIFIC: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?[eE][-+]?[0-9]{1,2}")
_TIME: Final = re.compile(r"[0-9]{15,17}")
"""µs from 1973 to 5138: a time in ms or ns is none."""


class Column(NamedTuple):
    """One column."""

    name: str
    kind: CellKind


def _columns(**kinds: CellKind) -> tuple[Column, ...]:
    common = {"exchange": "name", "symbol": "name", "timestamp": "us", "local_timestamp": "us"}
    return tuple(Column(name, kind) for name, kind in {**common, **kinds}.items())  # type: ignore[arg-type]  # kinds of cells


def level_columns(depth: int) -> tuple[Column, ...]:
    """The columns of `book_snapshot_<depth>`."""
    names = [
        f"{side}[{level}].{what}"
        for level in range(depth)
        for side in ("asks", "bids")
        for what in ("price", "amount")
    ]
    return (*_columns(), *(Column(name, "number") for name in names))


COLUMNS: Final[Mapping[Dataset, tuple[Column, ...]]] = {
    "incremental_book_L2": _columns(is_snapshot="flag", side="side", price="number", amount="amount"),
    "trades": _columns(id="text", side="taker", price="number", amount="amount"),
    "book_snapshot_5": level_columns(5),
    "book_snapshot_25": level_columns(25),
    "quotes": _columns(ask_amount="number", ask_price="number", bid_price="number", bid_amount="number"),
    "derivative_ticker": _columns(
        funding_timestamp="later",
        funding_rate="number",
        predicted_funding_rate="number",
        open_interest="number",
        last_price="number",
        index_price="number",
        mark_price="number",
    ),
    "liquidations": _columns(id="text", side="taker", price="number", amount="amount"),
}
NEEDED: Final = {"incremental_book_L2", "trades", "liquidations"}
"""The datasets whose rows say nothing without a price."""
HEADERS: Final[Mapping[str, Dataset]] = {
    ",".join(column.name for column in columns): dataset
    for dataset, columns in COLUMNS.items()
    if dataset != "liquidations"
}
"""By the first line of a file. That of liquidations is the one of trades."""


def header_of(dataset: Dataset) -> str:
    """The first line of a file, without its end."""
    return ",".join(column.name for column in COLUMNS[dataset])


def name_of(text: str) -> str:
    if not text or len(text) > LONGEST_NAME or not text.isprintable() or '"' in text:
        raise ValueError("is no name")
    return text


def _text(text: str) -> str | None:
    return name_of(text) if text else None


def _us(text: str) -> int:
    if not _TIME.fullmatch(text):
        raise ValueError("is no time in µs")
    return int(text)


def _later(text: str) -> int | None:
    return _us(text) if text else None


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def _side(text: str) -> str:
    if text not in ("bid", "ask"):
        raise ValueError("is neither bid nor ask")
    return text


def _taker(text: str) -> str:
    if text not in ("buy", "sell", "unknown"):
        raise ValueError("is none of buy, sell and unknown")
    return text


def number_of(text: str) -> str | None:
    if not text or _PLAIN.fullmatch(text):
        return text or None
    if not _SCIENTIFIC.fullmatch(text):
        raise ValueError("is no number")
    return f"{Decimal(text):f}"


def amount_of(text: str) -> str:
    number = number_of(text)
    if number is None or number.startswith("-"):
        raise ValueError("is no amount")
    return number


_PARSERS: Final[Mapping[CellKind, Callable[[str], Any]]] = {
    "name": name_of,
    "text": _text,
    "us": _us,
    "later": _later,
    "flag": _flag,
    "side": _side,
    "taker": _taker,
    "number": number_of,
    "amount": amount_of,
}


def parse_row(dataset: Dataset, line: str) -> Row:
    """The values of a line without its end.

    Raises:
        ValueError: it is no row of this dataset; the text says why.
    """
    columns, cells = COLUMNS[dataset], line.split(",")
    if len(cells) != len(columns):
        raise ValueError(f"it has {len(cells)} cells, not {len(columns)}")
    values = []
    for (name, kind), cell in zip(columns, cells, strict=True):
        try:
            values.append(_PARSERS[kind](cell))
        except ValueError as error:
            raise ValueError(f"its {name} {cell[:40]!r} {error}") from None
    if dataset in NEEDED and values[-2] is None:
        raise ValueError("its price is empty")
    return tuple(values)


def line_of(row: Sequence[Any]) -> str:
    """A row as a line, without its end."""
    return ",".join(
        "" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)
        for value in row
    )
