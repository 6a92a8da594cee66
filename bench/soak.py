"""The fleet under load while workers are killed, frozen and starved and rubbish is put into keys, at random.

    python bench/soak.py [--minutes 5] [--symbols 20] [--rate 2] [--seed 1] [--events kill,freeze,starve,rubbish,redis]
                         [--keep FOLDER]

The whole fleet on its own server and the simulated exchange, each worker started again when it has ended, as
supervisord would. Every few seconds something happens (bench/chaos.py); what and when is drawn from the seed. Books are
compared with the exchange's truth all the while, and at the end everything is: every book, trade and bar. Two symbols
take the rubbish: of those only the books are compared, at the end. Prints one JSON object; exit code 1 when anything
disagrees, when a role ended that nobody killed, or when a book does not come back. `--keep` leaves the logs there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from chaos import Chaos
from running_fleet import RunningFleet, running_fleet, symbols_named

from workers.cli.demo import FAILED
from workers.verification.fleet import Verification
from workers.verification.stored import Book, FleetReader

START_S = 90.0
QUIET_S = 20.0
"""At the end nothing happens any more, so that the verdict is of a fleet at rest."""
BACK_S = 60.0
KINDS = ("kill", "freeze", "starve", "rubbish", "redis")
VICTIMS = ("VICTIM0USDT", "VICTIM1USDT")


class Others(FleetReader):
    """What the fleet holds of all symbols but the victims."""

    async def refresh(self) -> None:
        """As always, without the victims."""
        await super().refresh()
        self.books = [book for book in self.books if book.symbol not in VICTIMS]


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


async def not_back(fleet: RunningFleet, victims: list[Book]) -> list[str]:
    """The victims whose books are not shown a while after the last rubbish was removed."""
    deadline = time.monotonic() + BACK_S
    while True:
        shown = await fleet.reader.shown(victims[0].context)
        missing = [book for book in victims if book.symbol not in shown]
        if not missing or time.monotonic() > deadline:
            return [f"{book.name} did not come back: {await fleet.reader.status(book)}" for book in missing]
        await asyncio.sleep(0.5)


async def bench(
    symbols: list[str], seconds: float, seed: int, rate: float, kinds: list[str], keep: Path | None
) -> dict[str, Any]:
    """One run."""
    async with running_fleet([*symbols, *VICTIMS], rate_scale=rate) as fleet:
        others = Others(fleet.client, fleet.settings)
        verification = Verification(others, fleet.source)
        stop = asyncio.Event()
        if not await verification.wait_until_synced(START_S, stop):
            return {"problems": verification.findings.sentences()}
        before = fleet.snapshots()
        victims = [book for book in fleet.reader.books if book.symbol in VICTIMS]
        chaos = Chaos(fleet, victims, kinds, random.Random(seed))
        happening = asyncio.create_task(chaos.run(time.monotonic() + max(0.0, seconds - QUIET_S)))
        await verification.run(seconds, stop)
        await happening
        missing = await not_back(fleet, victims)
        await verification.finish()
        report = await verification.report()
        report["problems"] += missing
        if problem := await api_problem(fleet):
            report["problems"].append(problem)
        ended = {
            program.name: program.starts - 1 - chaos.kills[program.name]
            for program in fleet.processes.named("")
            if program.starts - 1 > chaos.kills[program.name]
        }
        if ended:
            report["problems"].append(f"processes ended by themselves: {ended}")
        if keep is not None:
            shutil.copytree(fleet.logs, keep, dirs_exist_ok=True)
        lines = sum(len(file.read_bytes().splitlines()) for file in fleet.logs.glob("*.log"))
        return {
            "seed": seed,
            "events": dict(sorted(chaos.counts.items())),
            "killed": dict(sorted(chaos.kills.items())),
            "log_lines_a_minute": round(lines / (seconds / 60)),
            "snapshots_requested": fleet.snapshots() - before,
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
    parser.add_argument("--events", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the logs there")
    arguments = parser.parse_args()
    names = symbols_named(arguments.symbols)
    kinds = arguments.events.split(",")
    result = asyncio.run(
        bench(names, arguments.minutes * 60, arguments.seed, arguments.rate, kinds, arguments.keep)
    )
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["problems"] or any(result[name] for name in FAILED) else 0)


if __name__ == "__main__":
    main()
