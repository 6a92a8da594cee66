"""Days of a symbol as files of Tardis' CSV datasets, as its clients download them.

A file holds the messages of one UTC day by their local times, and no more than a page of them is held while it is made.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from typing import Final

from workers.errors import BadInput, NotKnown
from workers.recordings.tardis import messages as told
from workers.recordings.tardis.messages import Message
from workers.recordings.tardis.rows import DATASETS, Dataset, Row, header_of, line_of
from workers.research.tardis_rows import Names, TopCells
from workers.tardis.holdings import Holdings, Part
from workers.tardis.past import Past

_MADE_OF: Final[dict[str, str]] = {
    "trades": "trade",
    "derivative_ticker": "derivative_ticker",
    "liquidations": "liquidation",
}
"""The type of messages of a dataset; all others are made of books."""
_SHOWN: Final = {"quotes": 1, "book_snapshot_5": 5, "book_snapshot_25": 25}
"""Levels a side."""
_GZIP: Final = 31
"""The window of zlib that writes gzip."""
PIECE: Final = 64 << 10
"""Bytes of a file that are sent at once."""


async def dataset(
    holdings: Holdings, exchange: str, name: str, day: date, symbol: str
) -> AsyncGenerator[bytes]:
    """The file, gzipped, piece by piece.

    Args:
        symbol: as it stands in the URL: in capitals, `-` for `/` and `:`.

    Raises:
        BadInput: there is no such exchange or dataset.
        NotKnown: nothing is held of the symbol on that day.
        RedisError, OSError, ArchiveUnreadable, WireError: what is held cannot be read.
    """
    found = next((one for one in DATASETS if one == name), None)
    if found is None:
        raise BadInput("Invalid data type", f"{name[:80]!r} is none of {', '.join(DATASETS)}")
    await holdings.refresh()
    parts = holdings.parts(exchange)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    end = start + timedelta(days=1) // timedelta(microseconds=1)
    past = Past(holdings, parts, _symbol(holdings, parts, symbol), start, end)
    packer, waiting, is_empty = zlib.compressobj(6, wbits=_GZIP), bytearray(), True
    waiting += packer.compress(f"{header_of(found)}\n".encode())
    async with aclosing(_rows(past, Names(exchange, past.symbol), found)) as pages:
        async for rows in pages:
            is_empty = is_empty and not rows
            waiting += packer.compress("".join([f"{line_of(row)}\n" for row in rows]).encode())
            if len(waiting) >= PIECE:
                yield bytes(waiting)
                waiting.clear()
    if is_empty:
        raise NotKnown(
            "There is no such file", f"nothing is held of {exchange} {symbol} on {day.isoformat()}"
        )
    yield bytes(waiting + packer.flush())


def _symbol(holdings: Holdings, parts: list[Part], name: str) -> str:
    known = (symbol for part in parts for symbol in holdings.symbols(part))
    return next((one for one in known if _in_url(one) == name.upper()), name.upper())


def _in_url(symbol: str) -> str:
    return symbol.replace("/", "-").replace(":", "-").upper()


async def _rows(past: Past, names: Names, name: Dataset) -> AsyncGenerator[list[Row]]:
    depth = _SHOWN.get(name)
    top = TopCells(names, depth, quotes=name == "quotes") if depth else None
    messages: AsyncIterator[Message] = past.of(_MADE_OF.get(name, "book_change"))
    async for message in messages:
        if isinstance(message, told.BookChange):
            yield list(top.rows(message.book)) if top is not None else names.changes(message.book)
        else:
            yield list(_row(names, message))


def _row(names: Names, message: Message) -> Iterator[Row]:
    match message:
        case told.Trade() | told.Liquidation():
            times = message.timestamp, message.local_timestamp
            yield (*names.both, *times, message.name, message.side, message.price, message.amount)
        case told.DerivativeTicker():
            yield (
                *names.both, message.timestamp, message.local_timestamp, message.funding_timestamp,
                message.funding_rate, message.predicted_funding_rate, message.open_interest, message.last_price,
                message.index_price, message.mark_price,
            )  # fmt: skip
