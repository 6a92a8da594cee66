"""What a row of the archive holds, and how a stream entry becomes one. No I/O, no Parquet.

Prices, quantities and sums are the text the exchange (or the fold) wrote, exactly. Times are exchange time in ms;
`received` is our clock in µs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from workers.archive.files.layout import Kind, Source, StreamId, day_of
from workers.errors import MalformedFrame
from workers.model.events import Trade
from workers.model.trades.windows import LATEST_MS
from workers.store.log.streams import Delivered, delivered
from workers.venues.entries import depth_of, is_break
from workers.venues.entries import trade_of as trade_of_entry
from workers.venues.interface import Venue

ColumnType = Literal["text", "number", "integer", "ms", "us", "flag", "bytes"]
"""`number`: exact decimal text."""
REPAIRED: Final = "repair"
"""The `line` of a trade that no line brought: it was filled in over REST."""


class Column(NamedTuple):
    """One column."""

    name: str
    type: ColumnType


def _columns(**types: ColumnType) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in types.items())


COLUMNS: Final[Mapping[Kind, tuple[Column, ...]]] = {
    "trades": _columns(
        stream_id="text",
        agg_trade_id="integer",
        price="number",
        quantity="number",
        first_trade_id="integer",
        last_trade_id="integer",
        trade_time="ms",
        event_time="ms",
        is_buyer_maker="flag",
        is_market="flag",
        received="us",
        line="text",
        undecoded="bytes",
        venue_trade_id="text",
    ),
    "bars": _columns(
        stream_id="text",
        start="ms",
        revision="integer",
        complete="flag",
        reason="text",
        last_update_time="ms",
        open_price="number",
        high_price="number",
        low_price="number",
        close_price="number",
        volume="number",
        quote_volume="number",
        buy_volume="number",
        trades_count="integer",
        skipped_count="integer",
        is_buyer_maker_count="integer",
        first_trade_id="integer",
        last_trade_id="integer",
        first_agg_trade_id="integer",
        last_agg_trade_id="integer",
    ),
    "depth": _columns(
        stream_id="text",
        first_update_id="integer",
        last_update_id="integer",
        previous_update_id="integer",
        event_time="ms",
        transaction_time="ms",
        received="us",
        line="text",
        data="bytes",
        entry="text",
    ),
    "raw": _columns(stream_id="text", event_time="ms", received="us", line="text", data="bytes"),
    "history": _columns(stream_id="text", start="ms", summary="text", data="bytes"),
}
"""The columns of each kind, in the order of a row's values. Every one may be null but `stream_id`.

`undecoded` holds the bytes of a trade that could not be decoded; its other values are null. `venue_trade_id` is the
venue's own id where ids are not consecutive, and null elsewhere and in files of releases that knew none. A row of
trades with neither id nor `undecoded` says that trades are missing at its place, and nobody knows how many. `entry` is
what a message of a book is, such as `update`, `snapshot` or `break`. It is null in files of releases that knew none, as
`reason` is in bars.
"""
TIME_COLUMN: Final[Mapping[Kind, str]] = {
    "trades": "trade_time",
    "bars": "start",
    "depth": "event_time",
    "raw": "event_time",
    "history": "start",
}
"""The event time: it decides the date."""
POSITIONS: Final[Mapping[Kind, Mapping[str, int]]] = {
    kind: {column.name: place for place, column in enumerate(columns)} for kind, columns in COLUMNS.items()
}

_TIME_AT: Final[Mapping[Kind, int]] = {kind: POSITIONS[kind][name] for kind, name in TIME_COLUMN.items()}

Values = tuple[Any, ...]


def event_ms(kind: Kind, row: Values) -> int:
    """The event time of a row, ms: that of its entry where the message had none (-1 in files of earlier releases)."""
    time = row[_TIME_AT[kind]]
    return StreamId.parse(row[0]).ms if time is None or time < 0 else int(time)


_DIGITS: Final = 18
_ROW_BYTES: Final = 600
"""About what a row takes in memory besides its data."""


class Row(NamedTuple):
    """A row on its way into a file."""

    stream_id: StreamId
    values: Values
    day: int
    size: int
    """Bytes it takes in memory, about."""
    first: int
    """It follows directly on a row whose `last` is one less; -1: nothing is known."""
    last: int
    """Last id it holds (aggregate trade, update, or of a bar the aggregate trade); -1: nothing is known."""
    pending: bool = True
    """Whether there is an entry to acknowledge."""
    decoded: bool = True


def row_of(source: Source, venue: Venue, stream_id: StreamId, fields: Mapping[bytes, bytes]) -> Row:
    """The row of a stream entry; what cannot be decoded keeps its bytes and takes its time from its id."""
    if source.kind == "bars":
        return _bar(stream_id, fields)
    data = fields.get(b"data", b"")
    received = _whole(fields.get(b"received"))
    line = fields.get(b"line", b"").decode(errors="replace")
    if source.kind == "raw":
        number, size = stream_id.sequence, _ROW_BYTES + len(data)
        message: Values = (str(stream_id), min(stream_id.ms, LATEST_MS), received, line, data)
        return Row(stream_id, message, _day(None, stream_id), size, number, number)
    [entry] = delivered([(str(stream_id).encode(), fields)])
    if source.kind == "depth":
        return _depth(venue, source.symbol, stream_id, entry, received, line)
    nothing, size, sequence = (None,) * 9, _ROW_BYTES + len(data), stream_id.sequence
    if is_break(entry):
        values: Values = (str(stream_id), *nothing, received, line, None, None)
        return Row(stream_id, values, _day(None, stream_id), size, sequence, sequence)
    try:
        trade = trade_of_entry(venue, source.symbol, entry)
    except MalformedFrame:
        values = (str(stream_id), *nothing, received, line, data, None)
        return Row(stream_id, values, _day(None, stream_id), size, sequence, sequence, decoded=False)
    return trade_row(stream_id, trade, received, line)


def trade_row(
    stream_id: StreamId, trade: Trade, received: int | None, line: str, *, pending: bool = True
) -> Row:
    """The row of a trade."""
    values: Values = (
        str(stream_id),
        trade.trade_id,
        trade.price,
        trade.quantity,
        trade.first_trade_id,
        trade.last_trade_id,
        trade.trade_time,
        trade.event_time,
        trade.is_buyer_maker,
        trade.is_market,
        received,
        line,
        None,
        trade.name or None,
    )
    trade_id = trade.trade_id
    day = _day(trade.trade_time, stream_id)
    return Row(stream_id, values, day, _ROW_BYTES, trade_id, trade_id, pending)


def trade_of(symbol: str, values: Values) -> Trade:
    """The trade of a row that could be decoded."""
    _, trade_id, price, quantity, first, last, trade_time, event_time, maker, market, *_, name = values
    return Trade(
        symbol, trade_id, price, quantity, first, last, trade_time, event_time, maker, market, name=name or ""
    )


def _whole(text: bytes | None) -> int | None:
    """A count or a time; None for what does not fit a column."""
    return int(text) if text is not None and text.isdigit() and len(text) <= _DIGITS else None


def _day(event_ms: int | None, stream_id: StreamId) -> int:
    usable = event_ms is not None and 0 <= event_ms < LATEST_MS
    return day_of(event_ms if usable and event_ms is not None else min(stream_id.ms, LATEST_MS))


def _depth(
    venue: Venue, symbol: str, stream_id: StreamId, entry: Delivered, received: int | None, line: str
) -> Row:
    data = entry.data
    size = _ROW_BYTES + len(data)
    try:
        event = depth_of(venue, symbol, entry)
    except MalformedFrame:
        values: Values = (str(stream_id), None, None, None, None, None, received, line, data, entry.kind)
        return Row(stream_id, values, _day(None, stream_id), size, -1, stream_id.sequence, decoded=False)
    previous = event.previous_id if event.previous_id >= 0 else None
    values = (
        str(stream_id),
        event.first_id,
        event.last_id,
        previous,
        event.event_time if event.event_time >= 0 else None,
        event.transaction_time or None,
        received,
        line,
        data,
        entry.kind,
    )
    first = event.first_id if previous is None else previous + 1
    return Row(stream_id, values, _day(event.event_time, stream_id), size, first, event.last_id)


def _bar(stream_id: StreamId, fields: Mapping[bytes, bytes]) -> Row:
    values: list[Any] = [str(stream_id)]
    for name, kind in COLUMNS["bars"][1:]:
        text = fields.get(name.encode())
        if text is None:
            values.append(None)
        elif kind in ("number", "text"):
            values.append(text.decode(errors="replace"))
        else:
            values.append(text == b"1" if kind == "flag" else _whole(text))
    at = POSITIONS["bars"]
    first, last = values[at["first_agg_trade_id"]], values[at["last_agg_trade_id"]]
    if values[at["revision"]] != 0 or first is None or last is None:
        first = last = -1  # a revision stands among the windows of another time
    return Row(stream_id, tuple(values), _day(values[at["start"]], stream_id), _ROW_BYTES, first, last)
