"""Running the verify-archive command."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from rich.markup import escape
from rich.table import Table

from workers.archive.files.comparison import Claim, Comparison
from workers.archive.files.kept import HeldRows
from workers.archive.files.layout import Source, iso_text
from workers.archive.files.rows import POSITIONS, trade_of
from workers.errors import CommandError, RecordingError, WrongArgument
from workers.model.symbols.names import fold_symbol
from workers.operations.running import running_fleet
from workers.recordings.official import FileKind, OfficialFile
from workers.recordings.records import Market, Period
from workers.recordings.sorting import TradeSorter
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.loading import Effective
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE, EXIT_SETTINGS
from workers.terminal.output import note, out
from workers.terminal.saying import SoFar
from workers.verification.klines import verify_klines
from workers.verification.stored_sources import SourceName, held_rows, venue_named

EDGE_MS: Final = 600_000
"""How far the time of a trade held may lie from that in the file for them to be compared at all."""
OF_EXCHANGE: Final = "binance"
"""The only exchange that publishes such files."""
COUNTS = (
    ("official", "in the file"),
    ("held", "held of them"),
    ("equal", "equal"),
    ("missing", "missing (in the file, not held)"),
    ("extra", "extra (held, not in the file)"),
    ("different", "different"),
    ("contradictory", "contradictory rows of the file"),
    ("repeated", "repeated rows of the file"),
    ("unordered", "rows of the file out of order"),
    ("other_day", "rows of the file that are of another day"),
    ("not_market", "rows of the file that are no trade (price or quantity 0)"),
    ("incomplete", "held as incomplete, so not compared"),
    ("empty", "windows of the file without a trade"),
    ("not_held", "outside what is held at all"),
)


class Request(NamedTuple):
    """The command line."""

    file: Path
    symbol: str
    market: Market | None
    venue: str
    source: SourceName


def run_verify(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Compare; the exit code."""
    effective, _ = running_fleet(config)
    official = OfficialFile(request.file)
    if request.symbol:
        official.symbol = fold_symbol(request.symbol)
    if not official.symbol:
        raise WrongArgument(f"The name {request.file.name!r} does not tell the symbol: give --symbol")
    try:
        found = asyncio.run(_verify(effective, official, request))
    except RecordingError as error:
        note(str(error))
        return EXIT_SETTINGS
    if as_json:
        out.write_json(found)
    else:
        table, lines = _report(found)
        out.print(table)
        for line in lines:  # not wrapped: an example is one JSON object a line
            out.print(escape(line), highlight=False, soft_wrap=True)
    return EXIT_FINE if found["same"] else EXIT_DISAGREEMENT


def venue_of_file(
    effective: Effective, official: OfficialFile, venue: str, market: Market | None
) -> VenueContext:
    """The venue that the file is of.

    Raises:
        CommandError: there is none.
        WrongArgument: the venue asked for is of another exchange.
    """
    if venue:
        context = venue_named(effective, venue)
        if context.settings.exchange != OF_EXCHANGE:
            raise WrongArgument(
                f"Official files are Binance's, and venue {context.name} is of {context.settings.exchange}: "
                "its rows are of another market"
            )
        return context
    market = market or official.market()
    for context in venue_contexts(effective.settings):
        if (context.settings.exchange, context.settings.market) == (OF_EXCHANGE, market):
            return context
    raise CommandError(
        f"The file is of the {market} market of Binance, which no venue of the settings is: give --venue."
    )


async def _verify(effective: Effective, official: OfficialFile, request: Request) -> dict[str, Any]:
    checked = official.verify_checksum()
    context = venue_of_file(effective, official, request.venue, request.market)
    kind = official.kind()
    async with held_rows(effective, context, request.source) as held:
        if kind == "klines":
            found = await verify_klines(official, context, held)
        else:
            refuse_other_ids(kind, context)
            found = await _verify_trades(official, context, held)
    return {
        "file": str(request.file),
        "kind": kind,
        "checksum": "verified" if checked else "none",
        "venue": context.name,
        "symbol": official.symbol,
        "source": request.source,
        **found,
    }


def refuse_other_ids(kind: FileKind, context: VenueContext) -> None:
    """Aggregate ids and the ids of single trades count different things.

    Raises:
        WrongArgument: the file has the ones, the venue the others.
    """
    ours = context.settings.trades
    if (kind == "aggTrades") != (ours == "aggTrade"):
        raise WrongArgument(
            f"The venue {context.name} follows {ours}, whose ids are others than those of a file of {kind}: "
            f"compare it with the file named …-{'aggTrades' if ours == 'aggTrade' else 'trades'}-…"
        )


async def _verify_trades(official: OfficialFile, context: VenueContext, held: HeldRows) -> dict[str, Any]:
    source, name = Source(context.name, official.symbol, "trades"), f"{context.name} {official.symbol}"
    ids = await held.trade_ids(source)
    if ids is None:
        raise CommandError(f"Nothing is held of the trades of {name}.")
    claim, stretch = _claim(official)
    rows = TradeSorter()
    rows.put(official.trades())
    oddities = official.oddities
    ours, so_far = TradeSorter(), SoFar("trades read")
    undecoded, trade_id = POSITIONS["trades"]["undecoded"], POSITIONS["trades"]["agg_trade_id"]
    count = 0
    async for batch in held.rows(source, *stretch):
        decoded = [
            trade_of(official.symbol, row)
            for row in batch
            if row[undecoded] is None and row[trade_id] is not None
        ]
        ours.put(decoded)
        count += len(decoded)
        so_far(count)
    comparison = Comparison(rows.in_order(), claim, min(ids), max(ids))
    for trade in ours.in_order():
        comparison.held(trade)
    result = comparison.finish()
    if result.official and result.not_held == result.official and not result.held:
        raise CommandError(
            f"Of {name} the trades {ids[0]} to {ids[1]} are held, none of which is in the file."
        )
    return {
        "from": claim.start_ms if official.period else stretch.start_ms + EDGE_MS,
        "to": claim.end_ms if official.period else stretch.end_ms - EDGE_MS,
        "held_first_id": ids[0],
        "held_last_id": ids[1],
        "same": result.differences == 0,
        **asdict(result),
        "unordered": oddities.unordered,
        "other_day": oddities.other_day,
        "rows": oddities.named,
    }


def _claim(official: OfficialFile) -> tuple[Claim, Period]:
    """What the file claims to hold, and the stretch in which something of it may be held.

    A file whose name tells its days holds all trades of them, and some of the neighbouring days.
    """
    first = last = start = end = None
    for trade in official.trades():
        first = trade.trade_id if first is None else min(first, trade.trade_id)
        last = trade.trade_id if last is None else max(last, trade.trade_id)
        start = trade.trade_time if start is None else min(start, trade.trade_time)
        end = trade.trade_time if end is None else max(end, trade.trade_time)
    if first is None or last is None or start is None or end is None:
        raise RecordingError(str(official.path), 0, "it holds no trades")
    named = official.period
    claim = Claim(*(named or (0, 0)), first, last)
    if named:
        start, end = min(start, named.start_ms), max(end, named.end_ms - 1)
    return claim, Period(start - EDGE_MS, end + 1 + EDGE_MS)


def _report(found: dict[str, Any]) -> tuple[Table, list[str]]:
    """The counts, and the lines below them."""
    table = Table(
        title=escape(f"{found['venue']} {found['symbol']}: held against {Path(found['file']).name}")
    )
    table.add_column("windows" if found["kind"] == "klines" else "trades")
    table.add_column("", justify="right")
    for name, label in COUNTS:
        if found.get(name) or name in ("official", "held", "equal", "missing", "extra", "different"):
            table.add_row(label, f"{found[name]:,}")
    lines = [f"period    {iso_text(found['from'])} to {iso_text(found['to'])}"]
    if found["kind"] != "klines":
        lines.append(f"held ids  {found['held_first_id']} to {found['held_last_id']}, from {found['source']}")
    lines.append(f"checksum  {found['checksum']}")
    for what, examples in found["examples"].items():
        lines += [f"{what:10}{msgspec.json.encode(example).decode()}" for example in examples]
    lines += [f"row       {text}" for text in found.get("rows", ())]
    lines.append("The same." if found["same"] else "Not the same.")
    return table, lines
