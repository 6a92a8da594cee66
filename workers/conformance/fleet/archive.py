"""Fleet-level script of the archive: it is killed while it writes, and no trade is missing or doubled in its files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from workers.archive.files.layout import Source
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import POSITIONS
from workers.archive.files.storage import storage_of
from workers.conformance.fleet.run import FleetRun
from workers.conformance.fleet.settings import only_symbols
from workers.verification.stored import Book

KILLS: Final = 3
ENVIRONMENT: Final = {
    "FLEET_ARCHIVE__ENABLED": "true",
    "FLEET_ARCHIVE__KINDS": "trades",
    "FLEET_ARCHIVE__ROTATE_S": "0.5",
    "FLEET_ARCHIVE__POLL_MS": "50",
}
COMPARED: Final = ("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "trade_time")
"""Columns of the archive, in the order of the truth's fields."""


async def kill_archive(run: FleetRun) -> None:
    """kill -9 of the archive, again and again while it writes files; its files are compared in the end."""
    program = run.world.processes["archive-0"]
    names = [f"{book.context.name}:{book.symbol}" for book in run.books]
    program.environment |= {**ENVIRONMENT, **only_symbols(names)}
    program.start()
    reader = ArchiveReader(storage_of(run.world.settings.archive.url, Path(run.world.settings.fleet.home)))
    for number in range(KILLS):
        written = await asyncio.to_thread(_files, reader, run.books)

        async def wrote(known: int = written) -> bool:
            return await asyncio.to_thread(_files, reader, run.books) > known

        await run.until("the archive writes files", wrote)
        await asyncio.sleep(0.1 * number)
        program.signal(signal.SIGKILL)
        await program.ended()
        await run.until("the archive runs again", lambda: program.running)
    marks = {book: await run.world.reader.last_trade_id(book) or 0 for book in run.books}
    await run.until("every trade there was is in a file", partial(asyncio.to_thread, _reached, reader, marks))
    program.held = True
    program.signal(signal.SIGTERM)
    run.expect(await program.ended(), "The archive did not end when told to.")
    compared = [await _compare(run, reader, book) for book in run.books]
    run.facts["rows_archived"] = sum(compared)


def _reached(reader: ArchiveReader, marks: Mapping[Book, int]) -> bool:
    return all(_last_archived(reader, book) >= mark for book, mark in marks.items())


def _last_archived(reader: ArchiveReader, book: Book) -> int:
    ends = reader.ends(_source(book))
    return ends[1].sequence if ends else 0


def _files(reader: ArchiveReader, books: list[Book]) -> int:
    sources = [_source(book) for book in books]
    return sum(len(reader.files(source, day)) for source in sources for day in reader.days(source))


def _source(book: Book) -> Source:
    return Source(book.context.name, book.symbol, "trades")


def _rows(reader: ArchiveReader, book: Book) -> list[tuple[object, ...]]:
    source = _source(book)
    places = [POSITIONS["trades"][name] for name in COMPARED]
    return [
        tuple(row[place] for place in places)
        for day in reader.days(source)
        for row in reader.rows_of(source, day)
    ]


async def _compare(run: FleetRun, reader: ArchiveReader, book: Book) -> int:
    """Compare the archived trades of a book with those there were; the rows compared."""
    held = await asyncio.to_thread(_rows, reader, book)
    if not held:
        return 0
    first, last = int(str(held[0][0])), int(str(held[-1][0]))
    truth = await run.world.source_of(book).trades(book.context.settings.market, book.symbol, first)
    real = [
        (
            trade.trade_id,
            Decimal(trade.price),
            Decimal(trade.quantity),
            trade.first_trade_id,
            trade.last_trade_id,
            trade.time,
        )
        for trade in truth[: last - first + 1]
    ]
    found = [(row[0], Decimal(str(row[1])), Decimal(str(row[2])), *row[3:]) for row in held]
    for archived, true in zip(found, real, strict=False):
        if archived != true:
            run.problem(f"The archive of {book.name} holds {archived}; really it was {true}.")
            break
    run.expect(
        len(found) == len(real),
        f"The archive of {book.name} holds {len(found)} trades; there were {len(real)}.",
    )
    return len(found)
