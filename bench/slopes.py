"""Whether anything grows: memory of every process and of the server under an even load, as slopes with their intervals.

    python bench/slopes.py [--minutes 15] [--symbols 20] [--rate 500] [--run-in 180] [--json]

Everything that is kept for a time is kept for a minute or so, so that what the server holds is even after the run-in.
Every five seconds the resident memory of each process and what the server says it uses are noted. Printed: of each the
mean of every twelfth of the time, the slope in MB an hour, and its 95 % confidence interval. Samples of five seconds
hang together, so the interval is that of the means of those twelfths: what moves up and down within one does not make
it narrower. A leak rises in each of them; what a burst needed at once, and the allocator keeps, is a step. A minute at
least. Exit code 1 when a book or trade was not what was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from workers.bench.fleet import FleetPlant, one_of_each
from workers.bench.plant import Plant
from workers.bench.run import RUN_DRY_S, running
from workers.bench.usage import usage_of
from workers.store.connection import connect

EVERY_S = 5.0
STRETCHES = 12
STUDENT_T = 2.228
"""97.5 % of Student's t with ten degrees of freedom: twelve means less two parameters."""
KEPT = """
[streams]
depth_ms = 60000
trades_ms = 60000
snapshots = 1
[trades]
retention_ms = 60000
bars_kept = { "100ms" = 600, "1m" = 5, "5m" = 5, "15m" = 5, "1h" = 5, "4h" = 5, "1d" = 5 }
[history]
hours = 0.03
[keeper]
audit_s = 0
"""


def slope_of(samples: Sequence[tuple[float, float]]) -> tuple[list[float], float, float]:
    """Means of the stretches, slope an hour, and half of the width of its 95 % interval, of (seconds, value)."""
    size = len(samples) // STRETCHES
    parts = [samples[place * size : (place + 1) * size] for place in range(STRETCHES)]
    times = [fmean(at for at, _ in part) / 3600 for part in parts]
    values = [fmean(value for _, value in part) for part in parts]
    middle, mean = fmean(times), fmean(values)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True)) / spread
    left = sum((value - mean - slope * (at - middle)) ** 2 for at, value in zip(times, values, strict=True))
    return values, slope, STUDENT_T * (left / (STRETCHES - 2) / spread) ** 0.5


def fleet_of(symbols: int, home: Path, exchange: int, api: int) -> Plant:
    """A fleet with both lines that keeps everything for a short time."""
    return FleetPlant(home, exchange, api, symbols, one_of_each(2), KEPT)


async def measure(symbols: int, rate: float, minutes: float, run_in_s: float) -> dict[str, Any]:
    """One run."""
    samples: dict[str, list[tuple[float, float]]] = {}
    tell = partial(print, file=sys.stderr)
    async with running(partial(fleet_of, symbols), rate, symbols, tell) as (plant, exchange):
        client: Any = connect(plant.url)
        await exchange.set_rate(rate)
        await asyncio.sleep(run_in_s)
        pids = {name: plant.processes[name].pid for name in plant.roles}
        began = time.monotonic()
        before = await exchange.state()
        while (at := time.monotonic() - began) < minutes * 60:
            used = int((await client.info("memory"))["used_memory"])
            found = {name: usage_of(pid).resident_bytes for name, pid in pids.items()} | {"used_memory": used}
            for name, number in found.items():
                samples.setdefault(name, []).append((at, number / 2**20))
            await asyncio.sleep(EVERY_S)
        after = await exchange.state()
        await exchange.set_rate(0)
        sent, deadline = await exchange.sent(), time.monotonic() + RUN_DRY_S
        while any((await plant.lacking(sent)).values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        lacking = await plant.lacking(sent)
        await client.aclose()
        figures = {name: slope_of(of_name) for name, of_name in samples.items()}
        return {
            "minutes": round((time.monotonic() - began) / 60, 1),
            "messages": after.messages - before.messages,
            "lacking": lacking,
            "mb": {
                name: {
                    "means": [round(value, 1) for value in values],
                    "per_hour": round(slope, 2),
                    "interval": round(half, 2),
                }
                for name, (values, slope, half) in figures.items()
            },
        }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--run-in", type=float, default=180)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.symbols, arguments.rate, arguments.minutes, arguments.run_in))
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['messages']:,} messages in {result['minutes']} minutes; lacking at the end: {result['lacking']}"
        )
        for name, found in result["mb"].items():
            means = " ".join(f"{mean:.0f}" for mean in found["means"])
            print(f"{name:12} {means} MB, {found['per_hour']:+7.2f} ± {found['interval']:.2f} MB an hour")
    sys.exit(any(result["lacking"].values()))


if __name__ == "__main__":
    main()
