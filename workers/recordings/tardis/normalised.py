"""Messages of a book as tardis-machine tells them, which is how the archive keeps those of a dataset. No I/O.

    {"type":"book_change","symbol":"XBTUSD","exchange":"bitmex","isSnapshot":false,"bids":[],"asks":[{"price":7985,
     "amount":283318}],"timestamp":"2019-10-23T11:29:53.469000Z","localTimestamp":"2019-10-23T11:29:53.469123Z"}

Numbers are written with the digits they were read with.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import Level
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.rows import Row
from workers.venues.tardis import wire

ORIGIN: Final = "tardis"
"""The `line` of what was imported."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_decoder: Final = msgspec.json.Decoder(wire.BookChange)
_text: Final = msgspec.json.Encoder().encode


def iso_us(time_us: int) -> str:
    """`2019-10-23T11:29:53.469123Z`."""
    seconds, rest = divmod(time_us, 1_000_000)
    return f"{_second(seconds)}.{rest:06}Z"


@lru_cache(1024)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def encode_change(exchange: str, symbol: str, message: BookMessage) -> bytes:
    """A message as JSON."""
    bids, asks = _levels(message.bids), _levels(message.asks)
    names = _names(exchange, symbol)
    snapshot = "true" if message.is_snapshot else "false"
    times = f'"timestamp":"{iso_us(message.timestamp)}","localTimestamp":"{iso_us(message.local_timestamp)}"'
    text = f'{{"type":"book_change",{names},"isSnapshot":{snapshot},"bids":[{bids}],"asks":[{asks}],{times}}}'
    return text.encode()


@lru_cache(1024)
def _names(exchange: str, symbol: str) -> str:
    return f'"symbol":{_text(symbol).decode()},"exchange":{_text(exchange).decode()}'


def encode_trade(row: Row) -> bytes:
    """A row of `trades` as JSON."""
    exchange, symbol, timestamp, local, name, side, price, amount = row
    named = "" if name is None else f'"id":{_text(name).decode()},'
    numbers = f'"price":{price},"amount":{amount},"side":"{side}"'
    times = f'"timestamp":"{iso_us(timestamp)}","localTimestamp":"{iso_us(local)}"'
    return f'{{"type":"trade",{_names(exchange, symbol)},{named}{numbers},{times}}}'.encode()


def encode_disconnect(exchange: str, symbol: str, local: int) -> bytes:
    """What says that messages of a symbol are missing after a local time (µs)."""
    names = f'"exchange":{_text(exchange).decode()},"symbols":[{_text(symbol).decode()}]'
    return f'{{"type":"disconnect",{names},"localTimestamp":"{iso_us(local)}"}}'.encode()


def _levels(levels: list[Level]) -> str:
    return ",".join([f'{{"price":{price},"amount":{amount}}}' for price, amount in levels])


def decode_change(data: bytes) -> BookMessage:
    """The reverse, as far as the message says it.

    Raises:
        MalformedFrame: it is none.
    """
    try:
        found = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedFrame(ORIGIN, "book_change", str(error), data) from None
    bids, asks = (
        [(bytes(level.price).decode(), bytes(level.amount).decode()) for level in side]
        for side in (found.bids, found.asks)
    )
    return BookMessage(
        0, microseconds(found.timestamp), microseconds(found.local_timestamp), found.is_snapshot, bids, asks
    )


def microseconds(time: datetime) -> int:
    """Since 1970; below zero before."""
    return (time - _EPOCH) // _MICROSECOND
