"""`fleet history`: what is held of a book's past, and the quantity at a price in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

from workers.cli.reading.opening import fleet_of, run_reading, say, say_json, symbol_name
from workers.client import FleetClient
from workers.store.history.writing import HistoryStatistics
from workers.terminal.times import clock_text

LAST_S: Final = 60
"""Seconds shown where none are named."""
GAPS_SHOWN: Final = 20


class Asked(NamedTuple):
    """The command line."""

    symbol: str
    price: str
    from_ms: int | None
    to_ms: int | None


def run_history(asked: Asked, config: Path | None, *, as_json: bool) -> int:
    """Show it; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, asked.symbol)
    venue, _, symbol = name.rpartition(":")
    place = {"venue": venue or next(iter(effective.settings.venues)), "symbol": symbol}

    async def read(url: str) -> None:
        async with FleetClient(url) as fleet:
            if not asked.price:
                held = await fleet.get_history(name)
                if as_json:
                    gaps = [{"from": gap.first, "to": gap.last, "reason": gap.reason} for gap in held.gaps]
                    told = {"from": held.first, "to": held.last, "seconds_held": held.seconds_held}
                    say_json({**place, **told, "blocks": held.blocks, "bytes": held.bytes, "gaps": gaps})
                else:
                    _tell(name, held)
                return
            to_s = int(time.time()) if asked.to_ms is None else asked.to_ms // 1000
            from_s = to_s - LAST_S + 1 if asked.from_ms is None else asked.from_ms // 1000
            seconds = await fleet.get_quantities(name, asked.price, from_s, to_s)
        if as_json:
            say_json({**place, "price": asked.price, "from": from_s, "to": to_s, "seconds": seconds})
        for second, quantity in () if as_json else seconds:
            say(f"{clock_text(second * 1000)[:-4]}  {'unknown' if quantity is None else quantity}")

    return run_reading(effective, [name], read, None)


def _tell(name: str, held: HistoryStatistics) -> None:
    if held.first is None or held.last is None:
        say(f"{name}: nothing is held")
        return
    say(f"{name}: {_second(held.first)} to {_second(held.last)}")
    span = held.last - held.first + 1
    say(f"{held.seconds_held:,} of {span:,} seconds known, {held.blocks:,} blocks, {held.bytes:,} bytes")
    for gap in held.gaps[-GAPS_SHOWN:]:
        say(f"unknown  {_second(gap.first)} to {_second(gap.last)}  {gap.reason}")
    if len(held.gaps) > GAPS_SHOWN:
        say(f"and {len(held.gaps) - GAPS_SHOWN} gaps before; --json has them all")


def _second(second: int) -> str:
    return clock_text(second * 1000)[:-4]
