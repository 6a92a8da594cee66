"""Fleet-level scripts of rubbish: in the exchange's lists, and in the keys of one symbol."""

from __future__ import annotations

from workers.cli.conformance.fleet_run import FleetRun
from workers.cli.conformance.fleet_streams import status_of
from workers.cli.held import Book


async def list_with_one_bad_symbol(run: FleetRun) -> None:
    """What the exchange says of one symbol cannot be read, and of the others it says something new meanwhile."""
    bad, good = run.books
    spoiled = await run.fault(f"bad_listing {_scope(bad)}", of_books=False)
    await run.until(f"{bad.name} is told unreadable", lambda: _says(run, bad, "UNREADABLE"))
    before = await status_of(run, good, "tick_size")
    await run.fault(f"tick_size value=5 {_scope(good)}", of_books=False)

    async def other_grid() -> bool:
        return await status_of(run, good, "tick_size") not in (before, "")

    await run.until(f"the new tick size of {good.name} is known", other_grid)
    await run.remove(spoiled)
    await run.until(f"{bad.name} is told as the exchange says", lambda: _says(run, bad, "TRADING"))
    await run.overtaken()


def _scope(book: Book) -> str:
    return f"market={book.context.settings.market} symbol={book.symbol}"


async def _says(run: FleetRun, book: Book, status: str) -> bool:
    return await status_of(run, book, "status") == status
