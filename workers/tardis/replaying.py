"""The answer to a replay: the messages of all that was asked for, merged by their local times.

Memory: a book of each symbol, and a page of each of its streams; nothing is read before it is taken.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar, cast

from workers.errors import BadInput
from workers.recordings.tardis.computed import Computed
from workers.recordings.tardis.messages import Message, encode
from workers.tardis.holdings import Holdings
from workers.tardis.options import MOST_SYMBOLS, Wanted
from workers.tardis.past import Past
from workers.tardis.tickers import require_tickers

MOST_STREAMS: Final = 10_000
"""Kinds of symbols that are read at once for one question."""
Item = TypeVar("Item")
Timed = tuple[int, str]
"""A local time, and a message as JSON."""


class Telling:
    """What of the messages of one object is told, and what is made of them."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._computed: dict[str, Computed] = {}
        self._torn = ""
        """What the last message was, where it was a disconnect: two of one symbol say no more than one."""

    def lines(self, message: Message) -> list[str]:
        """The JSON of what a message brings. Raises: BadNumber."""
        wanted, exchange = self._wanted, self._wanted.exchange
        if message.type == "error":
            return [encode(exchange, message)] if wanted.with_errors else []
        symbol = message.symbol  # type: ignore[union-attr]  # only errors have none
        computed = self._computed.get(symbol)
        if computed is None:
            computed = self._computed[symbol] = Computed(wanted.computed)
        if message.type == "disconnect":
            computed.reset()
            repeated, self._torn = self._torn == symbol, symbol
            return [encode(exchange, message)] if wanted.with_disconnects and not repeated else []
        self._torn = ""
        found = [encode(exchange, message)] if message.type in wanted.types else []
        return [*found, *(encode(exchange, made) for made in computed.take(message))]


async def replay(holdings: Holdings, objects: Sequence[Wanted]) -> AsyncGenerator[str]:
    """All messages, as JSON.

    Raises:
        BadInput: an exchange or a symbol is not known.
        RedisError, OSError, ArchiveUnreadable, WireError: what is held cannot be read.
    """
    await holdings.refresh()
    streams = [(wanted, _streams(holdings, wanted)) for wanted in objects]
    if (count := sum(len(some) for _, some in streams)) > MOST_STREAMS:
        problem = f"kinds by symbols are {count:,}, and {MOST_STREAMS:,} may be asked for at once"
        raise BadInput("Too much is asked for", problem, "symbols")
    async with aclosing(_merged([_lines(Telling(wanted), some) for wanted, some in streams])) as found:
        async for line in found:
            yield line


def _streams(holdings: Holdings, wanted: Wanted) -> list[AsyncIterator[Message]]:
    """What must be read for an object; nothing is read yet."""
    parts = holdings.parts(wanted.exchange)
    if "book_ticker" in wanted.needs:
        require_tickers(wanted.exchange, [part.context for part in parts])
    symbols = wanted.symbols or tuple(
        dict.fromkeys(name for part in parts for name in holdings.symbols(part))
    )
    if len(symbols) > MOST_SYMBOLS:
        problem = f"{wanted.exchange} has {len(symbols):,}, and {MOST_SYMBOLS:,} may be asked for at once"
        raise BadInput('Name "symbols"', problem, "symbols")
    return [
        Past(holdings, parts, symbol, wanted.from_us, wanted.to_us).of(kind)
        for symbol in symbols
        for kind in sorted(wanted.needs)
    ]


async def _lines(telling: Telling, streams: list[AsyncIterator[Message]]) -> AsyncIterator[Timed]:
    merged = _by_time([_timed(stream) for stream in streams])
    async with aclosing(merged) as found:
        async for local, message in found:
            for line in telling.lines(message):
                yield local, line


async def _timed(stream: AsyncIterator[Message]) -> AsyncIterator[tuple[int, Message]]:
    async with aclosing(cast("AsyncGenerator[Message]", stream)) as found:
        async for message in found:
            yield message.local_timestamp, message


async def _merged(streams: list[AsyncIterator[Timed]]) -> AsyncGenerator[str]:
    async with aclosing(_by_time(streams)) as found:
        async for _, line in found:
            yield line


async def _by_time(streams: list[AsyncIterator[tuple[int, Item]]]) -> AsyncGenerator[tuple[int, Item]]:
    """The items of all streams by their times, of one time in the order of the streams. O(log streams) an item."""
    heap: list[tuple[int, int, Item]] = []
    try:
        for place, stream in enumerate(streams):
            if (first := await anext(stream, None)) is not None:
                heap.append((first[0], place, first[1]))
        heapq.heapify(heap)
        while heap:
            local, place, item = heap[0]
            yield local, item
            following = await anext(streams[place], None)
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (following[0], place, following[1]))
    finally:
        for stream in streams:
            await cast("AsyncGenerator[object]", stream).aclose()
