"""The answer to a live stream: what the fleet's workers make of the log, as messages of tardis-machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from redis.exceptions import RedisError

from workers.client.feed import Feed
from workers.client.fleet import FleetClient
from workers.client.records import Derivative, Gap, Interrupted
from workers.client.records import Liquidation as LiquidationRecord
from workers.client.records import Trade as TradeRecord
from workers.errors import BadInput
from workers.model.pauses import Pauses
from workers.recordings.tardis import messages as told
from workers.recordings.tardis.messages import Message
from workers.runtime.context import VenueContext
from workers.runtime.tasks import end
from workers.store.connection import connect_reader
from workers.tardis.holdings import Holdings
from workers.tardis.live_books import LiveBooks, now_us
from workers.tardis.options import MOST_SYMBOLS, Wanted
from workers.tardis.replaying import Telling
from workers.tardis.tickers import LiveTickers, require_tickers

MOST_WAITING: Final = 2_000
"""Messages that wait for whoever sends them; then nothing more is read."""
MOST_ERRORS: Final = 50
"""Failures in a row after which a stream ends."""

Put = Callable[[Message], Awaitable[None]]


async def stream(url: str, holdings: Holdings, objects: Sequence[Wanted]) -> AsyncGenerator[str]:
    """What happens from now on, as JSON, in the order it comes; without end.

    Raises:
        BadInput: an exchange or a symbol is not known, or is not followed live.
        SymbolError: a symbol is not followed.
        RedisError, OSError: Redis has not answered many times in a row.
    """
    await holdings.refresh()
    waiting: asyncio.Queue[list[str]] = asyncio.Queue(MOST_WAITING)
    fleet = FleetClient(url)
    tasks: list[asyncio.Task[None]] = []
    try:
        for wanted in objects:
            telling = Telling(wanted)

            async def put(message: Message, telling: Telling = telling) -> None:
                if lines := telling.lines(message):
                    await waiting.put(lines)

            markets = _markets(holdings, wanted)
            if "book_ticker" in wanted.needs:
                require_tickers(wanted.exchange, [context for context, _ in markets])
            for context, symbols in markets:
                tasks += [
                    asyncio.create_task(work, name=f"tardis: {wanted.exchange} {kind}")
                    for kind, work in _works(url, fleet, context, symbols, wanted, put)
                ]
        while True:
            for line in await _next(waiting, tasks):
                yield line
    finally:
        await end(tasks)
        await fleet.aclose()


async def _next(waiting: asyncio.Queue[list[str]], tasks: Sequence[asyncio.Task[None]]) -> list[str]:
    """The next lines; raises what a task has ended with."""
    if not waiting.empty():
        return waiting.get_nowait()
    getting = asyncio.create_task(waiting.get(), name="tardis: waiting")
    try:
        done, _ = await asyncio.wait([getting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not getting:
                task.result()
        return await getting
    finally:
        await end([getting])


def _markets(holdings: Holdings, wanted: Wanted) -> list[tuple[VenueContext, list[str]]]:
    """The venues of an exchange that are followed, each with those of the symbols that it has."""
    contexts = [part.context for part in holdings.parts(wanted.exchange) if part.context is not None]
    found = [
        (context, [symbol for symbol in wanted.symbols if symbol in context.symbols])
        if wanted.symbols
        else (context, list(context.symbols))
        for context in contexts
    ]
    followed = {symbol for _, symbols in found for symbol in symbols}
    if missing := sorted(set(wanted.symbols) - followed):
        problem = f"{', '.join(missing[:20])}: not followed at {wanted.exchange}"
        raise BadInput('Invalid "symbols" argument', problem, "symbols")
    if not followed or len(followed) > MOST_SYMBOLS:
        problem = f"{wanted.exchange} has {len(followed):,}; there may be 1 to {MOST_SYMBOLS:,}"
        raise BadInput('Name "symbols"', problem, "symbols")
    return [(context, symbols) for context, symbols in found if symbols]


def _works(
    url: str, fleet: FleetClient, context: VenueContext, symbols: Sequence[str], wanted: Wanted, put: Put
) -> list[tuple[str, Any]]:
    """What reads each kind of messages."""
    names = [f"{context.keys.prefix}{symbol}" for symbol in symbols]
    feeds: dict[str, Callable[[], Feed[Any]]] = {
        "trade": lambda: fleet.trades(names),
        "derivative_ticker": lambda: fleet.derivatives(names),
        "liquidation": lambda: fleet.liquidations(names),
    }
    found: list[tuple[str, Any]] = [
        (kind, _feed(feeds[kind](), names, put)) for kind in sorted(wanted.needs & feeds.keys())
    ]
    if "book_change" in wanted.needs:
        found.append(("books", _follow(url, lambda client: LiveBooks(client, context, symbols), put)))
    if "book_ticker" in wanted.needs and context.settings.book_ticker:
        found.append(("tickers", _follow(url, lambda client: LiveTickers(client, context, symbols), put)))
    return found


async def _follow(url: str, made: Callable[[Any], LiveBooks | LiveTickers], put: Put) -> None:
    """What comes of streams; what Redis does not answer is told, and then all begin anew."""
    client: Any = connect_reader(url)
    pauses, failures = Pauses(0.1, 2.0), 0
    followed = made(client)
    try:
        while True:
            try:
                async for message in followed.messages():
                    failures = 0
                    pauses.reset()
                    await put(message)
            except (RedisError, OSError) as error:
                failures += 1
                if failures >= MOST_ERRORS:
                    raise
                await put(told.Trouble(str(error) or type(error).__name__, failures, now_us()))
                for message in followed.void():
                    await put(message)
                await asyncio.sleep(pauses.take())
    finally:
        await client.aclose()


async def _feed(feed: Feed[Any], names: Sequence[str], put: Put) -> None:
    """Records of the client as messages; what is missing is a disconnect."""
    async with feed:
        async for record in _records(feed):
            if isinstance(record, Interrupted):
                await put(told.Trouble(record.reason, 1, now_us()))
                for name in names:
                    await put(told.Disconnect(_plain(name), now_us()))
            elif (message := _message(record)) is not None:
                await put(message)


async def _records(feed: Feed[Any]) -> AsyncIterator[Any]:
    async for record in feed:
        yield record


def _plain(name: str) -> str:
    return name.rpartition(":")[2]


def _message(record: object) -> Message | None:
    """The message of a record; None where it says nothing to a client of Tardis."""
    now = now_us()
    match record:
        case Gap():
            return told.Disconnect(_plain(record.symbol), now)
        case TradeRecord():
            return told.Trade(
                _plain(record.symbol),
                record.venue_trade_id or str(record.trade_id),
                str(record.price),
                str(record.quantity),
                "sell" if record.is_buyer_maker else "buy",
                record.trade_time_ms * 1000,
                now,
            )
        case LiquidationRecord():
            return told.Liquidation(
                _plain(record.symbol),
                record.venue_id or None,
                str(record.price),
                str(record.quantity),
                record.side,
                record.time_ms * 1000,
                now,
            )
        case Derivative():
            funding = record.next_funding_time_ms
            return told.DerivativeTicker(
                _plain(record.symbol),
                None,
                _text(record.open_interest),
                _text(record.funding_rate),
                None if funding is None else funding * 1000,
                None,
                _text(record.index_price),
                _text(record.mark_price),
                max(record.at_ms.values(), default=now // 1000) * 1000,
                now,
            )
    return None


def _text(number: object) -> str | None:
    return None if number is None else str(number)
