"""The data types of tardis-machine by their names: `trade`, `book_snapshot_25_100ms`, `trade_bar_10s`. No I/O.

| name | what |
|---|---|
| `trade` `book_change` `derivative_ticker` `liquidation` `book_ticker` | as the exchange told it |
| `book_snapshot_<depth>[_grouped<size>]_<n>{ms,s,m}` | the best levels, once a stretch if changed; 0ms: always |
| `quote` `quote_<n>{ms,s,m}` | the same of depth 1, at every change or so often |
| `trade_bar_<n>{ms,s,m,ticks,vol}` | bars of a time, of a number of trades, or of a volume |

Source: tardis-machine's documentation, `normalized data types`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, Literal, NamedTuple, get_args

from workers.errors import BadInput

Plain = Literal["trade", "book_change", "derivative_ticker", "liquidation", "book_ticker"]
PLAIN: Final[tuple[Plain, ...]] = get_args(Plain)
MessageType = Literal[
    "trade", "book_change", "derivative_ticker", "liquidation", "book_ticker", "book_snapshot", "trade_bar"
]
BarKind = Literal["time", "tick", "volume"]
DEEPEST: Final = 10_000
_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000}
_SNAPSHOT: Final = re.compile(
    r"book_snapshot_([1-9][0-9]{0,4})(?:_grouped([0-9]{1,12}(?:\.[0-9]{1,12})?))?_([0-9]{1,9})(ms|s|m)"
)
_QUOTE: Final = re.compile(r"quote(?:_([0-9]{1,9})(ms|s|m))?")
_BAR: Final = re.compile(r"trade_bar_([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|ticks|vol)")


class SnapshotType(NamedTuple):
    """The best levels of a book."""

    name: str
    depth: int
    interval_ms: int
    """0: at every change."""
    grouping: Decimal | None = None
    """The width of the steps of price whose amounts are added."""

    @property
    def type(self) -> MessageType:
        """What its messages are called, quotes too."""
        return "book_snapshot"


class BarType(NamedTuple):
    """Bars of trades."""

    name: str
    kind: BarKind
    interval: float
    """ms, trades, or an amount."""

    @property
    def type(self) -> MessageType:
        """What its messages are called."""
        return "trade_bar"


class PlainType(NamedTuple):
    """What is told as it came."""

    type: Plain


DataType = SnapshotType | BarType | PlainType


def parse_data_type(name: str) -> DataType:
    """The data type of a name.

    Raises:
        BadInput: there is none of that name here.
    """
    if name in PLAIN:
        return PlainType(name)
    if found := _SNAPSHOT.fullmatch(name):
        depth, grouping, interval, unit = found.groups()
        size = Decimal(grouping) if grouping else None
        if int(depth) <= DEEPEST and (size is None or size):
            return SnapshotType(name, int(depth), int(interval) * _MS[unit], size)
    if found := _QUOTE.fullmatch(name):
        interval, unit = found.groups()
        return SnapshotType(name, 1, int(interval) * _MS[unit] if interval else 0)
    if (found := _BAR.fullmatch(name)) and float(found[1]):
        interval, unit = found.groups()
        if unit in _MS:
            return BarType(name, "time", float(interval) * _MS[unit])
        return BarType(name, "tick" if unit == "ticks" else "volume", float(interval))
    known = f"{', '.join(PLAIN)}, book_snapshot_<depth>_<n>ms, quote and trade_bar_<n>ms"
    raise BadInput("Invalid data type", f"{name[:80]!r} is none of {known}", "dataTypes")
