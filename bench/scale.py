"""What a message costs with more symbols, and with more processes.

    python bench/scale.py [--symbols 10,100,300] [--processes 1,2,3] [--rate 2000] [--seconds 8] [--json]

First one process of each role with so many symbols, then so many processes of each role with the second of those
numbers of symbols; always the same messages a second over all of them. Of each run: CPU per 1,000 messages by role (of
all its processes together), memory by role, delays until the log and until a book is published without the pacing wait.
Exit code 1 when a book or trade was not what was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from workers.bench.fleet import FleetPlant
from workers.bench.plant import Plant
from workers.bench.run import Measured, measure

LINE = "ingest-a"


def fleet_of(symbols: int, processes: int, home: Path, exchange: int, api: int) -> Plant:
    """A fleet with one line, and so many processes of it, of books and of trades."""
    roles = [("keeper", 0)]
    roles += [(role, number) for role in ("books", "trades") for number in range(processes)]
    plant = FleetPlant(home, exchange, api, symbols, roles)
    lines = [plant.processes.add_role(LINE, number, processes).name for number in range(processes)]
    plant.roles = [*plant.roles, *lines]
    return plant


def by_role(figures: Mapping[str, float]) -> dict[str, float]:
    """Of all processes of a role together."""
    found: dict[str, float] = {}
    for name, figure in figures.items():
        role = name.partition("-")[0]
        found[role] = round(found.get(role, 0.0) + figure, 1)
    return found


def row(processes: int, one: Measured) -> dict[str, Any]:
    """What is told of one run."""
    delays = {stage: one.delays_ms[stage] for stage in ("log", "book")}
    return {
        "symbols": one.symbols,
        "processes": processes,
        "cpu_ms_per_1000": by_role(one.cpu_ms_per_1000),
        "mb": by_role(one.resident_mb),
        "delays_ms": {stage: found and (found.p50, found.p99) for stage, found in delays.items()},
        "kept_up": one.kept_up,
        "differences": one.differences,
    }


async def run(symbols: list[int], processes: list[int], rate: float, seconds: float) -> list[dict[str, Any]]:
    """All runs, one after the other."""
    runs = [(count, 1) for count in symbols]
    runs += [(symbols[min(1, len(symbols) - 1)], number) for number in processes if number > 1]
    rows = []
    for count, number in runs:
        make = partial(fleet_of, count, number)
        rows.append(row(number, await measure(make, rate, count, seconds, partial(print, file=sys.stderr))))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", default="10,100,300")
    parser.add_argument("--processes", default="1,2,3")
    parser.add_argument("--rate", type=float, default=2_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    symbols, processes = (
        [int(word) for word in text.split(",")] for text in (arguments.symbols, arguments.processes)
    )
    rows = asyncio.run(run(symbols, processes, arguments.rate, arguments.seconds))
    if arguments.json:
        print(json.dumps(rows))
    else:
        for one in rows:
            cost = ", ".join(f"{role} {ms:g}" for role, ms in one["cpu_ms_per_1000"].items())
            total = sum(one["cpu_ms_per_1000"].values()) - one["cpu_ms_per_1000"]["exchange"]
            print(
                f"{one['symbols']} symbols, {one['processes']} processes: {total:.0f} ms per 1,000 messages ({cost})"
            )
    sys.exit(any(one["differences"] for one in rows))


if __name__ == "__main__":
    main()
