"""Fleet-level script of fencing: what a former owner writes late, after others took its symbols, changes nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

import msgspec

from workers.conformance.fleet.run import FleetRun
from workers.errors import LeaseLost
from workers.model.events import Trade
from workers.store.books.publishing import BookStore, Publication
from workers.store.keys import DEPTH
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore
from workers.verification.stored import Book

PAST_S = 1.0


async def _former_token(run: FleetRun, book: Book, role: str) -> int:
    """The fencing number before the one in force."""
    token = cast(bytes, await run.world.client.hget(book.context.keys.lease(role, book.symbol), "token"))
    return int(token) - 1


async def late_writes(run: FleetRun) -> None:
    """A book, a checkpoint and a trade of a second ago are written with the fencing number of a former owner."""
    client, kept = run.world.client, run.world.settings.streams.top_entries
    shown = {book: run.world.observer.sights[book].shown or {} for book in run.books}
    checkpoints = {
        book: await client.get(book.context.keys.book_checkpoint(book.symbol)) for book in run.books
    }
    await asyncio.sleep(PAST_S)
    for book in run.books:
        await run.until(f"{book.name} went on", partial(_went_on, run, book, shown[book].get("u", 0)))
        store = BookStore(client, book.context.keys, kept)
        token = await _former_token(run, book, "books")
        late = Publication(book.symbol, token, msgspec.json.encode(shown[book]), False, {"state": "broken"})
        signals = await store.publish([late])
        run.expect(signals.fenced == [book.symbol], f"A late publication of {book.name} was not refused.")
        try:
            await store.commit(book.symbol, token, DEPTH, cast(bytes, checkpoints[book]), [])
            run.problem(f"A late checkpoint of {book.name} was not refused.")
        except LeaseLost:
            pass
        await _late_trade(run, book)


def _went_on(run: FleetRun, book: Book, past: int) -> bool:
    shown = run.world.observer.sights[book].shown
    return shown is not None and shown["u"] > past


async def _late_trade(run: FleetRun, book: Book) -> None:
    last = await run.world.reader.last_trade_id(book)
    if last is None:
        return
    store = TradeStore(
        run.world.client, book.context.keys, Scripts(run.world.client), retention_ms=0, bar_retention={}
    )
    time_ms = (await store.state(book.symbol)).last_trade_time
    trade = Trade(book.symbol, last + 1, "1", "1", 1, 1, time_ms, time_ms, is_buyer_maker=True)
    try:
        await store.apply(book.symbol, [("", trade)], str(await _former_token(run, book, "trades")))
        run.problem(f"A late trade of {book.name} was not refused.")
    except LeaseLost:
        pass
