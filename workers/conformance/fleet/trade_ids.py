"""Fleet-level scripts of trade ids that are not what they should be."""

from __future__ import annotations

from typing import Final

from workers.api.http.trust import trades_problem
from workers.conformance.fleet.run import FleetRun
from workers.store.books.shown import read_symbols, whole
from workers.store.keys import TRADES
from workers.verification.stored import Book

ABSURD: Final = 2**53
ANEW: Final = 1_000
LATER: Final = 20
"""Trades that must be folded afterwards."""


async def _beyond(run: FleetRun, wanted: dict[Book, int]) -> bool:
    """Whether each fold stands at some id or later, and at no absurd one."""
    return all(
        [wanted[book] <= (await run.world.reader.last_trade_id(book) or 0) < ABSURD for book in run.books]
    )


async def absurd_trade_id(run: FleetRun) -> None:
    """One aggregate trade has the id 2^53, on both lines."""
    numbers = await run.fault("absurd_id stream=*@aggTrade count=1")
    await run.struck(numbers)
    await run.remove(numbers)
    last = {book: await run.world.reader.last_trade_id(book) or 0 for book in run.books}
    wanted = {book: trade_id + LATER for book, trade_id in last.items()}
    await run.until("the later trades are folded", lambda: _beyond(run, wanted))
    for book in run.books:
        run.expect(last[book] < ABSURD, f"The trades of {book.name} stood at {last[book]}.")
        lacking = [hole for hole in await run.world.reader.holes(book, TRADES) if hole.last >= ABSURD - 1]
        run.expect(not lacking, f"{book.name} lacks trades up to an id that never was: {lacking}.")


async def _doubts(run: FleetRun) -> list[str]:
    """What `/status` says against the trades of each book; empty where it says nothing."""
    found = []
    for book in run.books:
        [reading] = await read_symbols(run.world.client, book.context.keys, [book.symbol])
        last_id = whole(reading.trades.get("last_id", ""), -1)
        found.append(trades_problem(last_id, *reading.trades_log))
    return found


async def trade_ids_restarted(run: FleetRun) -> None:
    """The exchange begins its trade ids anew, lower, and gives no trades over REST at first."""
    refused = await run.fault("rest_status path=*/aggTrades")
    await run.fault(f"trade_ids value={ANEW}")

    async def doubted() -> bool:
        return all("lower ids" in doubt for doubt in await _doubts(run))

    async def followed() -> bool:
        last = [await run.world.reader.last_trade_id(book) or 0 for book in run.books]
        return all(ANEW <= trade_id < 100 * ANEW for trade_id in last)

    async def trusted() -> bool:
        return not any(await _doubts(run))

    await run.until("the trust says that later trades are not folded", doubted)
    await run.remove(refused)
    await run.until("the new ids are folded", followed)
    await run.until("the trust says nothing any more", trusted)
    wanted = dict.fromkeys(run.books, ANEW + LATER)
    await run.until("the later trades are folded", lambda: _beyond(run, wanted))
    for book in run.books:
        told = [hole for hole in await run.world.reader.holes(book, TRADES) if hole.reason == "ids restarted"]
        run.expect(len(told) == 1, f"{book.name} has {len(told)} restarts of its ids in its gaps.")
