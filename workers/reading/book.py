"""`fleet book`: the book of one symbol."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from workers.client import Book, FleetClient
from workers.reading.opening import archive_of, fleet_of, reaching, refuse_unknown, symbol_name
from workers.settings.loading import Effective
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import out
from workers.terminal.saying import say_json
from workers.terminal.times import clock_text


def run_book(symbol: str, depth: int, at_ms: int | None, config: Path | None, *, as_json: bool) -> int:
    """Show the book now, or of a second; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, symbol)
    with reaching(effective) as url:
        book = asyncio.run(_read(effective, url, name, at_ms))
    if as_json:
        say_json(book_row(book, next(iter(effective.settings.venues)), depth))
    else:
        out.print(escape(_headline(book)), highlight=False, soft_wrap=True)
        out.print(ladder(book, depth))
    return EXIT_FINE


async def _read(effective: Effective, url: str, name: str, at_ms: int | None) -> Book:
    await refuse_unknown(effective, url, [name])
    async with FleetClient(url, archive=archive_of(effective)) as fleet:
        return await fleet.get_book(name, None if at_ms is None else at_ms // 1000)


def book_row(book: Book, first_venue: str, depth: int) -> dict[str, Any]:
    """The book as the HTTP API gives it."""
    venue, _, symbol = book.symbol.rpartition(":")
    age_ms = int(time.time() * 1000) - book.event_time_ms
    times = {"event_time_ms": book.event_time_ms, "age_ms": age_ms, "synced_at_ms": book.synced_at_ms}
    return {
        "venue": venue or first_venue,
        "symbol": symbol,
        "last_update_id": book.update_id,
        **(times if book.at_s is None else {"timestamp": book.at_s}),
        "known_low": book.known_low,
        "known_high": book.known_high,
        "bids": book.bids[:depth],
        "asks": book.asks[:depth],
    }


def _headline(book: Book) -> str:
    when = f"{time.time() - book.event_time_ms / 1000:.1f} s ago"
    if book.at_s is not None:
        when = f"at {clock_text(book.at_s * 1000)}"
    return (
        f"{book.symbol}  update id {book.update_id}, {when}  "
        f"known from {book.known_low} to {book.known_high}  {len(book.bids)} bids, {len(book.asks)} asks"
    )


def ladder(book: Book, depth: int) -> Table:
    """Bids and asks side by side, the best first."""
    table = Table()
    for name in ("bid quantity", "bid", "ask", "ask quantity"):
        table.add_column(name, justify="right")
    for number in range(min(depth, max(len(book.bids), len(book.asks)))):
        bid = book.bids[number] if number < len(book.bids) else ("", "")
        ask = book.asks[number] if number < len(book.asks) else ("", "")
        table.add_row(str(bid[1]), f"[green]{bid[0]}[/]", f"[red]{ask[0]}[/]", str(ask[1]))
    return table
