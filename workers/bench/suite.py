"""All measurements of one call of `fleet bench`, and what they come to."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from workers.bench.fleet import WHOLE, FleetPlant, one_of_each
from workers.bench.peer import PeerPlant, make_venv
from workers.bench.plant import Plant
from workers.bench.run import Measured, Tell, measure, measure_idle

IDLE_SYMBOLS: Final = 6
"""As the shipped settings follow."""
PEERS: Final = ("cryptofeed",)


class Plan(NamedTuple):
    """What is to be measured."""

    rates: Sequence[float]
    """Messages a second, over all symbols."""
    symbols: int
    seconds: float
    lines: int
    """Ingest lines of the fleet: 1, or 2."""
    idle: bool
    """Whether to measure a whole fleet without messages first."""
    peer: str
    """What is measured after the fleet, at each rate; empty: nothing."""
    cache: Path
    """Where the peer's venv is kept."""
    burst: float = 0.0
    """After each rate so many times of it for a while; 0: nothing."""


class Machine(NamedTuple):
    """Where it was measured."""

    cores: int
    processor: str
    load_before: float
    """Processes that wanted to run in the minute before: others' as well."""


class Outcome(NamedTuple):
    """What was measured."""

    machine: Machine
    idle_percent: dict[str, float] | None
    """Of one core, by process."""
    measured: list[Measured]

    def falls_behind(self) -> dict[str, dict[str, float | None]]:
        """By plant: the highest rate it kept up with, the lowest it did not, and what it handled a second there."""
        found: dict[str, dict[str, float | None]] = {}
        for plant in dict.fromkeys(one.plant for one in self.measured):
            of_plant = [one for one in self.measured if one.plant == plant]
            behind = min((one for one in of_plant if not one.kept_up), key=lambda one: one.rate, default=None)
            limit = behind.rate if behind else float("inf")
            found[plant] = {
                "keeps_up_at": max((one.rate for one in of_plant if one.rate < limit), default=None),
                "behind_at": behind.rate if behind else None,
                "handled_per_s": behind.handled_per_s if behind else None,
            }
        return found

    @property
    def is_right(self) -> bool:
        """Whether the fleet held in the end what was sent, at every rate."""
        return not any(one.differences for one in self.measured if one.plant == FleetPlant.name)


async def run(plan: Plan, tell: Tell, measured: Callable[[Measured], None]) -> Outcome:
    """Measure everything, one plant after the other at each rate.

    Args:
        tell: called with what is under way.
        measured: called with each result.

    Raises:
        CommandError: a plant cannot be started.
    """
    machine = Machine(os.cpu_count() or 0, _processor(), round(os.getloadavg()[0], 2))
    python = await make_venv(plan.cache, tell) if plan.peer else None
    idle = None
    if plan.idle:
        idle = await measure_idle(
            partial(_fleet, symbols=IDLE_SYMBOLS, roles=WHOLE), IDLE_SYMBOLS, plan.seconds, tell
        )
    found = []
    for rate in plan.rates:
        makes: list[Any] = [partial(_fleet, symbols=plan.symbols, roles=one_of_each(plan.lines))]
        if python is not None:
            makes.append(partial(_cryptofeed, symbols=plan.symbols, python=python))
        for make in makes:
            found.append(await measure(make, rate, plan.symbols, plan.seconds, tell, plan.burst))
            measured(found[-1])
    return Outcome(machine, idle, found)


def _fleet(home: Path, exchange: int, api: int, symbols: int, roles: Sequence[tuple[str, int]]) -> Plant:
    return FleetPlant(home, exchange, api, symbols, roles)


def _cryptofeed(home: Path, exchange: int, redis: int, symbols: int, python: Path) -> Plant:
    return PeerPlant(home, exchange, redis, symbols, python)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
