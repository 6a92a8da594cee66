"""Lines of tardis-machine's `replay-normalized`, as rows of the datasets and messages of books. No I/O.

    {"type":"trade","symbol":"XBTUSD","exchange":"bitmex","id":"282a","price":7996,"amount":50,"side":"sell",
     "timestamp":"2019-10-23T10:32:49.669Z","localTimestamp":"2019-10-23T10:32:49.740123Z"}

Numbers keep the digits they came with, without exponents. An error that ends a reply after it began is a line too, of
another shape: `{"message":"…"}`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from workers.model.events import Level
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.normalised import microseconds
from workers.recordings.tardis.rows import Dataset, Row, amount_of, name_of, number_of
from workers.venues.tardis import wire

DATASET_OF: Final[dict[str, Dataset]] = {
    "trade": "trades",
    "book_change": "incremental_book_L2",
    "derivative_ticker": "derivative_ticker",
    "liquidation": "liquidations",
}
"""The dataset that a type of messages belongs to."""
_FIGURES: Final = (
    "funding_rate",
    "predicted_funding_rate",
    "open_interest",
    "last_price",
    "index_price",
    "mark_price",
)


class _Refusal(msgspec.Struct):
    message: str


class Disconnected(NamedTuple):
    """Messages are missing after a local time (µs)."""

    local_timestamp: int
    symbols: list[str]
    """Empty: of the whole exchange."""


class Line(NamedTuple):
    """What one line tells of a symbol."""

    exchange: str
    symbol: str
    dataset: Dataset
    local_timestamp: int
    """µs."""
    told: Row | BookMessage


_decoder: Final = msgspec.json.Decoder(
    wire.Trade | wire.Liquidation | wire.BookChange | wire.DerivativeTicker | wire.Disconnect
)
_refusals: Final = msgspec.json.Decoder(_Refusal)


def parse_line(line: bytes) -> Line | Disconnected:
    """What a line tells.

    Raises:
        ValueError: it is no message; the text says why.
    """
    try:
        found = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is no message of tardis-machine: {error}") from None
    local = microseconds(found.local_timestamp)
    if isinstance(found, wire.Disconnect):
        return Disconnected(local, found.symbols or [])
    dataset = DATASET_OF[str(found.__struct_config__.tag)]
    names = name_of(found.exchange), name_of(found.symbol)
    time = microseconds(found.timestamp)
    if isinstance(found, wire.BookChange):
        bids, asks = ([_level(level) for level in side] for side in (found.bids, found.asks))
        return Line(*names, dataset, local, BookMessage(0, time, local, found.is_snapshot, bids, asks))
    if isinstance(found, wire.DerivativeTicker):
        funding = None if found.funding_timestamp is None else microseconds(found.funding_timestamp)
        figures = [_figure(getattr(found, name)) for name in _FIGURES]
        return Line(*names, dataset, local, (*names, time, local, funding, *figures))
    if found.side not in ("buy", "sell", "unknown"):
        raise ValueError(f"has the side {found.side[:40]!r}")
    name = None if found.id is None else name_of(found.id)
    numbers = _required(found.price), amount_of(_text(found.amount))
    return Line(*names, dataset, local, (*names, time, local, name, found.side, *numbers))


def refusal_in(line: bytes) -> str:
    """What an error says that ends a reply, or is one; empty where the line is none."""
    try:
        return _refusals.decode(line).message
    except (msgspec.MsgspecError, UnicodeError):
        return ""


def _level(level: wire.Level) -> Level:
    return _required(level.price), amount_of(_text(level.amount))


def _text(number: msgspec.Raw) -> str:
    return bytes(number).decode()


def _required(number: msgspec.Raw) -> str:
    found = number_of(_text(number))
    if found is None:
        raise ValueError("has no price")
    return found


def _figure(number: msgspec.Raw) -> str | None:
    text = _text(number)
    return None if text == "null" else number_of(text)
