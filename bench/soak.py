"""Kill -9 at random moments, of any worker, while the fleet runs: nothing missing, nothing doubled, nothing wrong.

    python bench/soak.py [--minutes 5] [--symbols 20] [--rate 2] [--seed 1]

The whole fleet on its own server and the simulated exchange, each worker started again when it has ended, as
supervisord would. One worker of any role, sometimes two at once, is killed every few seconds; which and when is drawn
from the seed. Books are compared with the exchange's truth all the while, and at the end everything is: every book,
trade and bar. Prints one JSON object; exit code 1 when anything disagrees.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from typing import Any

import aiohttp
from running_fleet import RunningFleet, running_fleet, symbols_named

from workers.cli.demo import FAILED
from workers.cli.verification import Verification

START_S = 90.0
PAUSE_S = (0.5, 6.0)
"""Least and longest pause between two kills."""
PAIR_SHARE = 0.15
"""Of the kills, those that strike two workers at once."""
QUIET_S = 10.0
"""At the end nobody is killed, so that the verdict is of a fleet at rest."""


async def kill(fleet: RunningFleet, rng: random.Random, until: float) -> Counter[str]:
    """Kill workers until a moment (monotonic seconds); how often each was struck."""
    victims = [
        program for program in fleet.processes.named("") if not program.name.startswith(("exchange", "redis"))
    ]
    kills: Counter[str] = Counter()
    while True:
        await asyncio.sleep(rng.uniform(*PAUSE_S))
        if time.monotonic() >= until:
            return kills
        for program in rng.sample(victims, 2 if rng.random() < PAIR_SHARE else 1):
            if program.running:
                program.signal(signal.SIGKILL)
                kills[program.name] += 1


async def api_problem(fleet: RunningFleet) -> str:
    """What is wrong with the API's answer; empty when nothing is."""
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{fleet.api}/status") as response,
        ):
            return "" if response.status == 200 else f"the API answers with {response.status}"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"the API does not answer: {error!r}"


async def bench(symbols: list[str], seconds: float, seed: int, rate: float) -> dict[str, Any]:
    """One run."""
    async with running_fleet(symbols, rate_scale=rate) as fleet:
        verification = Verification(fleet.held, fleet.source)
        stop = asyncio.Event()
        if not await verification.wait_until_synced(START_S, stop):
            return {"problems": verification.findings.sentences()}
        before = fleet.snapshots()
        until = time.monotonic() + max(0.0, seconds - QUIET_S)
        killing = asyncio.create_task(kill(fleet, random.Random(seed), until))
        await verification.run(seconds, stop)
        kills = await killing
        await verification.finish()
        report = await verification.report()
        if problem := await api_problem(fleet):
            report["problems"].append(problem)
        return {
            "seed": seed,
            "kills": sum(kills.values()),
            "killed": dict(sorted(kills.items())),
            "snapshots_asked": fleet.snapshots() - before,
            "trade_holes_repaired": len(fleet.logged("trade_hole_closed")),
            **report,
        }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2.0, help="events of the exchange, of its usual number")
    arguments = parser.parse_args()
    result = asyncio.run(
        bench(symbols_named(arguments.symbols), arguments.minutes * 60, arguments.seed, arguments.rate)
    )
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["problems"] or any(result[name] for name in FAILED) else 0)


if __name__ == "__main__":
    main()
