"""`fleet bars`: the bars of one symbol, held and as they close."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from workers.client import Bar, FleetClient
from workers.reading.opening import NOTICES, archive_of, fleet_of, run_reading, symbol_name, tell_notice
from workers.terminal.output import out
from workers.terminal.saying import say, say_json, say_nothing
from workers.terminal.times import clock_text


class Request(NamedTuple):
    """The command line."""

    symbol: str
    interval: str
    from_ms: int | None
    to_ms: int | None
    limit: int
    follow: bool
    seconds: float | None


def run_bars(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Show bars; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, request.symbol)

    async def read(url: str) -> None:
        async with FleetClient(url, archive=archive_of(effective)) as fleet:
            if request.follow:
                await _follow(fleet, name, request, as_json=as_json)
                return
            found = await fleet.get_bars(
                name, request.interval, from_ms=request.from_ms, to_ms=request.to_ms, limit=request.limit
            )
        if as_json:
            rows = [bar._asdict() for bar in found]
            say_json({"symbol": name, "interval": request.interval, "bars": rows})
        elif found:
            out.print(bars_table(found))
        else:
            say_nothing(f"{request.interval} bars of {name}", request.from_ms, request.to_ms)

    return run_reading(effective, [name], read, request.seconds)


async def _follow(fleet: FleetClient, name: str, request: Request, *, as_json: bool) -> None:
    async with fleet.bars([name], request.interval, from_ms=request.from_ms) as feed:
        async for record in feed:
            if isinstance(record, NOTICES):
                tell_notice(record, as_json=as_json)
            elif isinstance(record, Bar):
                if request.to_ms is not None and record.start_ms >= request.to_ms:
                    return
                if as_json:
                    say_json(record._asdict())
                else:
                    say("  ".join(_cells(record)))


_NOTHING_KNOWN = ("unproven", "not provable")
"""Reasons of bars of which no trade is known to be missing."""


def _state(bar: Bar) -> str:
    words = [] if bar.closed else ["open"]
    words += [] if bar.complete else [bar.reason if bar.reason in _NOTHING_KNOWN else "incomplete"]
    words += [f"revision {bar.revision}"] if bar.revision else []
    return ", ".join(words)


def _cells(bar: Bar) -> list[str]:
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    return [clock_text(bar.start_ms), *map(str, numbers), str(bar.trades_count), _state(bar)]


def bars_table(bars: Sequence[Bar]) -> Table:
    """Bars for people."""
    table = Table()
    for name in ("start", "open", "high", "low", "close", "volume", "trades", ""):
        table.add_column(name, justify="left" if name in ("start", "") else "right")
    for bar in bars:
        table.add_row(*_cells(bar))
    return table
