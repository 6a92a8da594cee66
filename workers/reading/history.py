"""`fleet history`: what is held of a book's past, and the quantity at a price in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

from workers.client import FleetClient
from workers.reading.opening import archive_of, fleet_of, run_reading, symbol_name
from workers.store.history.writing import HistoryStatistics
from workers.terminal.saying import say, say_json
from workers.terminal.times import clock_text

LAST_S: Final = 60
"""Seconds shown where none are named."""
GAPS_SHOWN: Final = 20


class Request(NamedTuple):
    """The command line."""

    symbol: str
    price: str
    from_ms: int | None
    to_ms: int | None


def run_history(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Show it; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, request.symbol)
    venue, _, symbol = name.rpartition(":")
    place = {"venue": venue or next(iter(effective.settings.venues)), "symbol": symbol}

    async def read(url: str) -> None:
        async with FleetClient(url, archive=archive_of(effective)) as fleet:
            if not request.price:
                statistics = await fleet.get_history(name)
                if as_json:
                    gaps = [
                        {"from": gap.first, "to": gap.last, "reason": gap.reason} for gap in statistics.gaps
                    ]
                    row = {
                        "from": statistics.first,
                        "to": statistics.last,
                        "seconds_held": statistics.seconds_held,
                    }
                    say_json(
                        {**place, **row, "blocks": statistics.blocks, "bytes": statistics.bytes, "gaps": gaps}
                    )
                else:
                    _tell(name, statistics)
                return
            to_s = int(time.time()) if request.to_ms is None else request.to_ms // 1000
            from_s = to_s - LAST_S + 1 if request.from_ms is None else request.from_ms // 1000
            seconds = await fleet.get_quantities(name, request.price, from_s, to_s)
        if as_json:
            say_json({**place, "price": request.price, "from": from_s, "to": to_s, "seconds": seconds})
        for second, quantity in () if as_json else seconds:
            say(f"{clock_text(second * 1000)[:-4]}  {'unknown' if quantity is None else quantity}")

    return run_reading(effective, [name], read, None)


def _tell(name: str, statistics: HistoryStatistics) -> None:
    if statistics.first is None or statistics.last is None:
        say(f"{name}: nothing is held")
        return
    say(f"{name}: {_second(statistics.first)} to {_second(statistics.last)}")
    span = statistics.last - statistics.first + 1
    say(
        f"{statistics.seconds_held:,} of {span:,} seconds known, {statistics.blocks:,} blocks, "
        f"{statistics.bytes:,} bytes"
    )
    for gap in statistics.gaps[-GAPS_SHOWN:]:
        say(f"unknown  {_second(gap.first)} to {_second(gap.last)}  {gap.reason}")
    if len(statistics.gaps) > GAPS_SHOWN:
        say(f"and {len(statistics.gaps) - GAPS_SHOWN} gaps before; --json has them all")


def _second(second: int) -> str:
    return clock_text(second * 1000)[:-4]
