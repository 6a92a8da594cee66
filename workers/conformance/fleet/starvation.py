"""Fleet-level scripts of starvation: the workers that own books and trades get too little of a core for what comes."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractContextManager
from typing import Final

from workers.conformance.fleet.run import FleetRun
from workers.verification.stored import Book

OWNERS: Final = ("books", "trades")
TENTH: Final = 0.1
TOO_LITTLE: Final = 0.03
"""A share of a core with which nobody can serve all books."""
FLEET: Final = 48
"""Books that the shares are meant for: the calm ones and `BOOKS`. Where the fleet has more, its
workers get more."""
FEW: Final = 6
"""Books that must be right all the same."""
BOOKS: Final = (
    *(f"usdm:LOAD{number}USDT" for number in range(1, 25)),
    *(f"spot:LOAD{number}USDT" for number in range(1, 13)),
)
"""So many that a worker has enough to do, also where this suite runs without any other book."""
BURST: Final = 10
BURST_S: Final = 20.0
LOAD: Final = 3
"""How much faster than usual everything runs for as long as the books have to come back under load."""
LOAD_S: Final = 3.0
BACK_S: Final = 240.0
"""How long the books may take to come back: the workers have a tenth of a core of a machine others may use as well."""


def _starved(run: FleetRun, share: float) -> AbstractContextManager[None]:
    books = max(FLEET, len(run.world.reader.books))
    return run.world.quota.tightened(run.world.processes.named(*OWNERS), min(1.0, share * books / FLEET))


async def burst_on_starved_workers(run: FleetRun) -> None:
    """Everything runs ten times faster for some seconds while the owners have a tenth of a core, as after it."""
    with _starved(run, TENTH):
        numbers = await run.fault(f"burst value={BURST}", of_books=False)
        await asyncio.sleep(BURST_S)
        await run.remove(numbers)
        await _each_comes_back(run)
    await run.overtaken()


async def redis_killed_under_load(run: FleetRun) -> None:
    """kill -9 of the server while the owners have a tenth of a core and a load that does not fall."""
    with _starved(run, TENTH):
        numbers = await run.fault(f"burst value={LOAD}", of_books=False)
        await asyncio.sleep(LOAD_S)
        server = run.world.processes["redis"]
        server.signal(signal.SIGKILL)
        await server.ended()
        await run.until("Redis answers", run.world.redis_answers)
        await _each_comes_back(run)
        await run.remove(numbers)
    await run.overtaken()


async def too_little_for_all(run: FleetRun) -> None:
    """Everything runs ten times faster for some seconds, and the owners have too little of a core then and later."""
    with _starved(run, TOO_LITTLE):
        numbers = await run.fault(f"burst value={BURST}", of_books=False)
        await asyncio.sleep(BURST_S)
        await run.remove(numbers)
        await _each_comes_back(run, FEW)
    await run.overtaken()


async def _each_comes_back(run: FleetRun, enough: int | None = None) -> None:
    """Wait until each book was shown, and each tape folded, beyond where the exchange stands now; or enough of them.

    Not all of them at the same moment: who has too little for all serves some, and in the end each.
    """
    marks = {}
    for source in {run.world.source_of(book) for book in run.books}:
        marks[source] = await source.summary()
    most = 0 if enough is None else len(run.books) - enough
    away: set[Book] = set(run.books)
    behind: set[Book] = set(run.books)

    async def few_are_missing() -> bool:
        for book in away | behind:
            row = marks[run.world.source_of(book)][book.context.settings.market][book.symbol]
            shown = run.world.observer.sights[book].shown
            if shown and shown["u"] > row["update_id"]["last"]:
                away.discard(book)
            last = await run.world.reader.last_trade_id(book)
            if last is not None and last >= row["agg_trade_id"]["next"]:
                behind.discard(book)
        return len(away) <= most and len(behind) <= most

    began = asyncio.get_running_loop().time()
    what = f"at least {len(run.books) - most} books and tapes came back while the workers were starved"
    if not await run.until(what, few_are_missing, BACK_S):
        names = ", ".join(sorted(book.name for book in away)) or "none"
        run.problem(f"Books that did not come back: {names}; tapes: {len(behind)}.")
    run.facts["back_s"] = round(asyncio.get_running_loop().time() - began, 1)
