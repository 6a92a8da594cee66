"""Running the export command."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Literal, NamedTuple

from workers.archive.files.layout import Kind, Source, iso_text
from workers.errors import CommandError
from workers.operations.running import running_fleet
from workers.runtime.context import VenueContext
from workers.settings.loading import Effective
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import note, out
from workers.terminal.row_writers import row_writer
from workers.terminal.saying import SoFar
from workers.terminal.times import LATEST_MS
from workers.verification.stored_sources import SourceName, held_rows, symbol_meant, venue_held

SUFFIXES = (".csv", ".parquet", ".arrow")


class Request(NamedTuple):
    """The command line."""

    kind: Kind
    symbol: str
    venue: str
    from_ms: int
    to_ms: int
    interval: str
    form: Literal["csv", "parquet", "arrow"] | None
    output: str
    source: SourceName
    versions: Literal["newest", "all"] = "newest"
    channel: str = ""

    @property
    def format(self) -> str:
        """The format: asked for, or what the file's name ends in."""
        suffix = Path(self.output).suffix
        return self.form or (suffix.removeprefix(".") if suffix in SUFFIXES else "csv")


def run_export(request: Request, config: Path | None) -> int:
    """Export; the exit code."""
    effective, _ = running_fleet(config)
    named, symbol = symbol_meant(effective, request.symbol, request.venue)
    request = request._replace(symbol=symbol)
    venue = venue_held(effective, named)
    name = venue if isinstance(venue, str) else venue.name
    started = time.monotonic()
    try:
        rows = asyncio.run(_export(effective, venue, request))
    except BrokenPipeError:
        out.forget()  # whoever read has enough
        return EXIT_FINE
    where = "standard output" if request.output == "-" else request.output
    within = f" {request.interval or request.channel}".rstrip()
    what = f"{request.kind}{within} of {name} {request.symbol}"
    passed = max(time.monotonic() - started, 1e-3)
    note(f"{rows:,} rows: {what} to {where} in {passed:.1f} s ({rows / passed:,.0f} a second).")
    return EXIT_FINE


async def _export(effective: Effective, venue: VenueContext | str, request: Request) -> int:
    name = venue if isinstance(venue, str) else venue.name
    source = Source(name, request.symbol, request.kind, request.interval, request.channel)
    count, so_far = 0, SoFar()
    with row_writer(request.output, request.format, source) as writer:
        async with held_rows(effective, venue, request.source) as held:
            newest = request.kind == "bars" and request.versions == "newest"
            read = held.newest_bars if newest else held.rows
            async for rows in read(source, request.from_ms, request.to_ms):
                writer.rows(rows)
                count += len(rows)
                so_far(count)
        if not count:
            since = f" from {iso_text(request.from_ms)}" if request.from_ms else ""
            until = f" until {iso_text(request.to_ms)}" if request.to_ms < LATEST_MS else ""
            what = f"{request.kind} of {name} {request.symbol}{since}{until}"
            raise CommandError(f"Nothing is held of the {what}.")
    return count
