"""Running the verify-archive command."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from workers.archive.comparison import Compared, Comparison
from workers.archive.layout import Source, iso_text
from workers.archive.rows import POSITIONS, trade_of
from workers.cli.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE, EXIT_SETTINGS
from workers.cli.held_sources import SourceName, held_rows, venue_named
from workers.cli.output import PLAIN_EVERY_S, err, out
from workers.cli.status import running_fleet
from workers.configuration import Effective
from workers.context import VenueContext, venue_contexts
from workers.errors import CommandError, RecordingError, WrongArgument
from workers.recordings.official import OfficialTrades, Period
from workers.recordings.records import Market

COUNTS = (
    ("official", "in the file"),
    ("held", "held in its period"),
    ("equal", "equal"),
    ("missing", "missing (in the file, not held)"),
    ("extra", "extra (held, not in the file)"),
    ("different", "different"),
    ("contradictory", "contradictory rows of the file"),
    ("unordered", "rows of the file far out of order"),
    ("repeated", "repeated rows of the file"),
    ("not_held", "outside what is held at all"),
)


class Asked(NamedTuple):
    """The command line."""

    file: Path
    symbol: str
    market: Market | None
    venue: str
    source: SourceName


class _Range(NamedTuple):
    """What the file covers: a period by time, and where its name names none, ids."""

    period: Period
    first_id: int
    last_id: int


def run_verify(asked: Asked, config: Path | None, *, as_json: bool) -> int:
    """Compare; the exit code."""
    effective, _ = running_fleet(config)
    official = OfficialTrades(asked.file)
    if asked.symbol:
        official.symbol = asked.symbol
    if not official.symbol:
        raise WrongArgument(f"The name {asked.file.name!r} does not tell the symbol: give --symbol")
    try:
        found = asyncio.run(_verify(effective, official, asked))
    except RecordingError as error:
        err.print(escape(str(error)), highlight=False, soft_wrap=True)
        return EXIT_SETTINGS
    if as_json:
        out.file.write(msgspec.json.encode(found).decode() + "\n")
    else:
        out.print(_report(found))
    return EXIT_FINE if found["same"] else EXIT_DISAGREEMENT


def _venue(effective: Effective, official: OfficialTrades, asked: Asked) -> VenueContext:
    if asked.venue:
        return venue_named(effective, asked.venue)
    market = asked.market or official.market()
    for context in venue_contexts(effective.settings):
        if context.settings.market == market:
            return context
    raise CommandError(
        f"The file is of the {market} market, which no venue of the settings is: give --venue."
    )


async def _verify(effective: Effective, official: OfficialTrades, asked: Asked) -> dict[str, Any]:
    checked = official.verify_checksum()
    context = _venue(effective, official, asked)
    source = Source(context.name, official.symbol, "trades")
    covered = _covered(official)
    async with held_rows(effective, context, asked.source) as held:
        ids = await held.trade_ids(source)
        name = f"{context.name} {official.symbol}"
        if ids is None:
            raise CommandError(f"Nothing is held of the trades of {name}.")
        comparison = Comparison(official.in_order(), *ids)
        said, undecoded = time.monotonic(), POSITIONS["trades"]["undecoded"]
        async for rows in held.rows(source, *covered.period):
            for row in rows:
                trade = trade_of(official.symbol, row) if row[undecoded] is None else None
                if trade and covered.first_id <= trade.trade_id <= covered.last_id:
                    comparison.held(trade)
            if time.monotonic() - said >= PLAIN_EVERY_S:
                said = time.monotonic()
                err.print(f"fleet: {comparison.result.held:,} trades compared", highlight=False)
        result = comparison.finish()
    if result.official and result.not_held == result.official and not result.held:
        raise CommandError(
            f"Of {name} the trades {ids[0]} to {ids[1]} are held, none of which is in the file."
        )
    return _found(asked, context, official, checked, ids, result, covered)


def _covered(official: OfficialTrades) -> _Range:
    """A file whose name tells its days holds all trades of them; another is read once more for what it holds."""
    if official.period:
        return _Range(official.period, 0, 1 << 62)
    first = last = start = end = None
    for trade in official.trades():
        first = trade.trade_id if first is None else min(first, trade.trade_id)
        last = trade.trade_id if last is None else max(last, trade.trade_id)
        start = trade.trade_time if start is None else min(start, trade.trade_time)
        end = trade.trade_time if end is None else max(end, trade.trade_time)
    if first is None or last is None or start is None or end is None:
        raise RecordingError(str(official.path), 0, "it holds no trades")
    return _Range(Period(start, end + 1), first, last)


def _found(
    asked: Asked,
    context: VenueContext,
    official: OfficialTrades,
    checked: bool,
    ids: tuple[int, int],
    result: Compared,
    covered: _Range,
) -> dict[str, Any]:
    return {
        "file": str(asked.file),
        "checksum": "verified" if checked else "none",
        "venue": context.name,
        "symbol": official.symbol,
        "source": asked.source,
        "from": covered.period.start_ms,
        "to": covered.period.end_ms,
        "held_first_id": ids[0],
        "held_last_id": ids[1],
        "same": result.differences == 0,
        **asdict(result),
    }


def _report(found: dict[str, Any]) -> Group:
    table = Table(
        title=escape(f"{found['venue']} {found['symbol']}: held against {Path(found['file']).name}")
    )
    table.add_column("trades")
    table.add_column("", justify="right")
    for name, label in COUNTS:
        if found[name] or name in ("official", "held", "equal", "missing", "extra", "different"):
            table.add_row(label, f"{found[name]:,}")
    lines = [f"period    {iso_text(found['from'])} to {iso_text(found['to'])}"]
    lines.append(f"held ids  {found['held_first_id']} to {found['held_last_id']}, from {found['source']}")
    lines.append(f"checksum  {found['checksum']}")
    for what, examples in found["examples"].items():
        lines += [f"{what:10}{msgspec.json.encode(example).decode()}" for example in examples]
    lines.append("The same." if found["same"] else "Not the same.")
    return Group(table, *(escape(line) for line in lines))
