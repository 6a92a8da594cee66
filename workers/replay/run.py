"""One replay from the first message to the report: real workers in this process, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.worker import BookWorker
from workers.errors import CommandError
from workers.ingest.appender import Appender
from workers.ingest.worker import gap_keys, retentions
from workers.masking import mask
from workers.orders.worker import OrderWorker
from workers.recordings.records import Market
from workers.replay.ends import StreamEnds
from workers.replay.feed import Feeder
from workers.replay.orders import outcomes as outcomes_of_orders
from workers.replay.orders import unsettled as unsettled_orders
from workers.replay.plan import LINE, ReplayPlan
from workers.replay.quotes import QuoteCheck
from workers.replay.report import BookOutcome, Replayed, report
from workers.replay.rest import RecordedRest
from workers.replay.sockets import Fed, line_of
from workers.runtime.process import PORT_OFFSETS, Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import Settings
from workers.store.connection import connect
from workers.store.fleet.leases import Registry
from workers.store.log.streams import RawEntry
from workers.store.server import check_version
from workers.trades.worker import TradeWorker
from workers.verification.stored import FleetReader

SETTLE_S: Final = 10.0
POLL_S: Final = 0.005
Quotes = dict[str, dict[str, QuoteCheck]]
"""By venue and symbol."""


@dataclass
class Options:
    """How to replay.

    Args:
        url: the server.
        home: a folder for what the workers might want one for.
        speed: 1 is real time by the recorded clock; None: as fast as possible.
        add: take a server that has keys of these symbols.
    """

    url: str
    home: str
    speed: float | None = None
    add: bool = False


class Observer:
    """Sees each book after each event: counts where it is crossed, compares it with recorded quotes.

    Args:
        quotes: by venue and symbol.
    """

    def __init__(self, quotes: Quotes) -> None:
        self._quotes = quotes
        self.crossed = 0

    def applied(self, owned: OwnedBook) -> None:
        """Observe a book in sync after an event."""
        sync = owned.sync
        book = sync.book
        self.crossed += book.crossed
        check = self._quotes[owned.claim.context.name][owned.claim.symbol]
        check.stood(sync.last_update_id, book.best_bid, book.best_ask)


async def refuse_used_server(client: Redis, settings: Settings, *, add: bool) -> None:
    """Raise if a server must not be replayed onto: a fleet works there, or it has keys of these symbols.

    Raises:
        CommandError: it must not.
    """
    url = mask(settings.redis.url)
    for worker in await Registry(client, settings.fleet).workers(PORT_OFFSETS):
        raise CommandError(
            f"A fleet works on {url} (worker {worker['name']}): stop it or use another server."
        )
    found = await FleetReader(client, settings).leftovers()
    if found and not add:
        raise CommandError(
            f"{url} already holds {found[0]} and {len(found) - 1} more keys of these symbols. A replay deletes "
            "nothing: name an empty database, by another number at the end of the URL, or use --add to go on from them."
        )


async def replay(
    plan: ReplayPlan, options: Options, stop: asyncio.Event, shown: Callable[[Feeder], None]
) -> dict[str, Any]:
    """Replay everything; the report as `--json` prints it.

    Args:
        stop: ends it early.
        shown: given the feeder as soon as it feeds, to show its progress.

    Raises:
        Interrupted: `stop` was set.
        CommandError: the server must not be used.
    """
    rest = RecordedRest()
    await rest.start()
    settings = plan.settings(rest.url, options.url, options.home, options.speed)
    client = connect(options.url)
    try:
        await check_version(client, mask(options.url))
        await refuse_used_server(client, settings, add=options.add)
        return await _replay(plan, options, settings, rest, client, stop, shown)
    finally:
        await rest.close()
        await client.aclose()


async def _replay(
    plan: ReplayPlan,
    options: Options,
    settings: Settings,
    rest: RecordedRest,
    client: Redis,
    stop: asyncio.Event,
    shown: Callable[[Feeder], None],
) -> dict[str, Any]:
    reader = FleetReader(client, settings)
    for context in reader.contexts:
        rest.expect(context.name, context.venue, context.symbols)
    quotes = {
        context.name: {symbol: QuoteCheck() for symbol in context.symbols} for context in reader.contexts
    }
    observer = Observer(quotes)
    async with (
        Sessions(limit=0, timeout_s=None, direct=True) as sessions,
        _workers(settings, options.url, sessions, observer) as (books, trades, orders, tasks),
    ):
        appender = _appender(client, settings, reader)
        feeder = _feeder(
            plan,
            options,
            client,
            settings,
            reader,
            quotes,
            appender,
            books,
            trades,
            orders,
            rest,
            tasks,
            stop,
        )
        shown(feeder)
        await _owned(feeder, books, trades, orders, reader)
        began = time.monotonic()
        await feeder.run()
        rest.end()
        unsettled = await _settle(books, trades, orders, reader)
        seconds = time.monotonic() - began
        outcomes = {
            f"{book.claim.context.keys.prefix}{book.claim.symbol}": BookOutcome.of(book)
            for book in books.books.values()
        }
        odd = {
            f"{tape.claim.context.keys.prefix}{tape.claim.symbol}": tape.odd for tape in trades.tapes.values()
        }
        single = outcomes_of_orders(orders)
    replayed = Replayed(feeder, quotes, outcomes, odd, single, observer.crossed, rest.served, seconds)
    return await report(client, reader, plan, replayed, appender, unsettled)


def _appender(client: Redis, settings: Settings, reader: FleetReader) -> Appender:
    kept, gaps = retentions(settings, reader.contexts), gap_keys(reader.contexts)
    return Appender(client, LINE, settings.ingest, kept, gaps, settings.streams.gaps)


def _feeder(
    plan: ReplayPlan,
    options: Options,
    client: Redis,
    settings: Settings,
    reader: FleetReader,
    quotes: Quotes,
    appender: Appender,
    books: BookWorker,
    trades: TradeWorker,
    orders: OrderWorker,
    rest: RecordedRest,
    tasks: Sequence[asyncio.Task[None]],
    stop: asyncio.Event,
) -> Feeder:
    feeder: Feeder

    def append(entry: RawEntry) -> None:
        feeder.entry(entry)

    markets: dict[Market, Fed] = {
        context.name: Fed(
            context, line_of(context, settings.ingest, append, appender.tell), quotes[context.name]
        )
        for context in reader.contexts
    }
    feeder = Feeder(
        plan,
        markets,
        appender,
        books,
        trades,
        orders,
        rest,
        StreamEnds(client),
        tasks,
        stop,
        hold_ms=settings.ingest.hold_ms,
        speed=options.speed,
    )
    return feeder


@asynccontextmanager
async def _workers(
    settings: Settings, url: str, sessions: Sessions, observer: Observer
) -> AsyncIterator[tuple[BookWorker, TradeWorker, OrderWorker, list[asyncio.Task[None]]]]:
    """The workers, running; on the way out they commit and give their symbols back."""
    processes = [Process(role, settings, 0, url) for role in ("books", "trades", "orders")]
    books = BookWorker(processes[0], sessions, observer.applied)
    trades = TradeWorker(processes[1], sessions)
    orders = OrderWorker(processes[2], sessions)
    tasks = [
        asyncio.create_task(processes[0].serve(lambda _: books.run()), name="replay: books"),
        asyncio.create_task(processes[1].serve(lambda _: trades.run()), name="replay: trades"),
        asyncio.create_task(processes[2].serve(lambda _: orders.run()), name="replay: orders"),
    ]
    try:
        yield books, trades, orders, tasks
    finally:
        for process in processes:
            process.stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in processes:
            await process.client.aclose()
    for task in tasks:
        task.result()


async def _owned(
    feeder: Feeder, books: BookWorker, trades: TradeWorker, orders: OrderWorker, reader: FleetReader
) -> None:
    """Wait until the workers have taken up every symbol."""
    symbols = len(reader.books)
    traded = sum(len(context.symbols) for context in reader.contexts if context.settings.trades != "none")
    told = sum(len(context.symbols) for context in reader.contexts if context.venue.order_feed is not None)
    await feeder.until(
        lambda: (len(books.books), len(trades.tapes), len(orders.books)) == (symbols, traded, told),
        "take up every symbol",
    )


async def _settle(
    books: BookWorker, trades: TradeWorker, orders: OrderWorker, reader: FleetReader
) -> list[str]:
    """Wait until everything read is applied, committed and published; what is not, in sentences."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        unsettled = [*await _unsettled(books, trades, reader), *unsettled_orders(orders)]
        if not unsettled or time.monotonic() > deadline:
            return unsettled
        await asyncio.sleep(POLL_S)


async def _unsettled(books: BookWorker, trades: TradeWorker, reader: FleetReader) -> list[str]:
    found = []
    if not trades.settled:
        found.append("Some trades were read and not applied.")
    for context in reader.contexts:
        shown = await reader.shown(context)
        for book in books.books.values():
            if book.claim.context.name == context.name and book.showable:
                name = f"{context.keys.prefix}{book.claim.symbol}"
                u = shown.get(book.claim.symbol, {}).get("u")
                if u != book.sync.last_update_id:
                    found.append(
                        f"{name}: LIVE_ORDERBOOK shows u {u}, the book is at {book.sync.last_update_id}."
                    )
    return found
