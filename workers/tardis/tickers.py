"""The best levels as the exchange says them apart from its book: `book_ticker`, where a venue follows its bookTicker.

Redis has the last minute of them (`streams.ticker_ms`), the archive none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from workers.errors import BadInput, MalformedFrame
from workers.recordings.tardis.messages import BookTicker, Disconnect, Message
from workers.research.symbol_data import SymbolData
from workers.runtime.context import VenueContext
from workers.store.keys import TICKER, Keys
from workers.store.log.follower import Entry, StreamFollower, last_ids
from workers.store.log.streams import delivered
from workers.tardis.live_books import BLOCK_MS, now_us


def require_tickers(exchange: str, contexts: Sequence[VenueContext | None]) -> None:
    """Raises: BadInput, where no venue of the exchange follows them."""
    if not any(context is not None and context.settings.book_ticker for context in contexts):
        problem = f"'book_ticker' of {exchange} is not followed (book_ticker = true in a venue's settings)"
        raise BadInput("Invalid data type", problem, "dataTypes")


def tickers_of(context: VenueContext, symbol: str, entries: Sequence[Entry]) -> list[BookTicker]:
    """The messages of entries; what cannot be decoded is none, as its reader has logged."""
    found = []
    for entry in delivered(entries):
        try:
            best = context.venue.ticker(entry.data)
        except MalformedFrame:
            continue
        told = best.event_time * 1000 or entry.received_us
        found.append(BookTicker(symbol, best.bid, best.ask, told, entry.received_us))
    return found


async def past_tickers(
    data: SymbolData, context: VenueContext, from_us: int, to_us: int
) -> AsyncIterator[Message]:
    """Those that came within a stretch (µs), with a disconnect for those that Redis has no more.

    Local times rise, by a µs where two came in one.
    """
    local, is_cut = 0, await data.was_trimmed(_key)
    async for entry in data.entries(_key, 0):
        for ticker in tickers_of(context, data.symbol, [entry]):
            local = max(local + 1, ticker.local_timestamp)
            if is_cut and local > from_us:
                yield Disconnect(data.symbol, from_us)
            is_cut = False
            if from_us <= local < to_us:
                yield ticker._replace(local_timestamp=local)
    if is_cut:
        yield Disconnect(data.symbol, from_us)


def _key(keys: Keys, symbol: str) -> str:
    return keys.raw(symbol, TICKER)


class LiveTickers:
    """Those of some symbols of a venue, from now on.

    Args:
        client: must not retry by itself.
    """

    def __init__(self, client: Any, context: VenueContext, symbols: Sequence[str]) -> None:
        self._client = client
        self._context = context
        self._symbols = {context.keys.raw(symbol, TICKER): symbol for symbol in symbols}
        self._follower: StreamFollower | None = None

    async def messages(self) -> AsyncIterator[Message]:
        """Without end. Raises RedisError, OSError: to be taken up anew after `void`."""
        if self._follower is None:
            ends = await last_ids(self._client, list(self._symbols))
            places = {key: ends.get(key, "0-0") for key in self._symbols}
            self._follower = StreamFollower(self._client, places, list(ends))
        while True:
            followed = await self._follower.read(BLOCK_MS)
            for lost in followed.lost:
                yield Disconnect(self._symbols[lost.key], now_us())
            for key, entries in followed.entries.items():
                for ticker in tickers_of(self._context, self._symbols[key], entries):
                    yield ticker._replace(local_timestamp=now_us())
            await asyncio.sleep(0)

    def void(self) -> list[Message]:
        """Those that come meanwhile are missing."""
        self._follower = None
        return [Disconnect(symbol, now_us()) for symbol in self._symbols.values()]
