"""Running scenarios on the fleet level: those that keep to their own books together, the others one by one."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from workers.cli.conformance.fleet_run import FleetRun
from workers.cli.conformance.fleet_world import FleetWorld
from workers.cli.conformance.scenario import Result, Scenario
from workers.cli.held import Book
from workers.errors import FleetError

FRESH_S: Final = 4.0
"""How long the last status of a book may be under way."""
SCRIPT_S: Final = 120.0


async def run_fleet(scenarios: Sequence[Scenario], calm: Sequence[str]) -> AsyncIterator[Result]:
    """Start a fleet, run the scenarios on it, end it.

    Args:
        calm: the books to which nothing happens; a scenario without books of its own looks at these.

    Raises:
        CommandError: the fleet did not start.
    """
    wanted = [scenario for scenario in scenarios if scenario.fleet is not None]
    if not wanted:
        return
    parts = [scenario.fleet for scenario in wanted if scenario.fleet is not None]
    names = list(dict.fromkeys([*calm, *(name for part in parts for name in part.books)]))
    unlisted = [name for part in parts for name in part.unlisted]
    with tempfile.TemporaryDirectory(prefix="fleet-conform-") as folder:
        world = FleetWorld(Path(folder), names, unlisted, [text for part in parts for text in from_start(part)])
        async with world.running():
            together = [one for one in wanted if one.fleet is not None and not one.fleet.alone]
            alone = [one for one in wanted if one.fleet is not None and one.fleet.alone]
            for group in ([together] if together else []) + [[one] for one in alone]:
                for result in await _run_group(world, group, [world.book(name) for name in calm]):
                    yield result
