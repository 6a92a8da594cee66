"""Running scenarios on the fleet level: those that keep to their own books together, the others one by one.

Each kind has a fleet of its own, so that none folds books which only the others need.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from workers.conformance.fleet.run import FleetRun
from workers.conformance.fleet.world import FleetWorld
from workers.conformance.result import Result
from workers.conformance.scenario import FleetScript, Scenario
from workers.errors import FleetError
from workers.runtime.tasks import end
from workers.verification.stored import Book

FRESH_S: Final = 8.0
"""How long the last status of a book may be under way."""
SCRIPT_S: Final = 400.0
TOGETHER: Final = "together"
ALONE: Final = "alone"
CROWD: Final = "crowd"
MANY_BOOKS: Final = 10
"""Books of one scenario that are so many that others would suffer from them."""
STAGGER_S: Final = 0.1
"""Between the beginnings of scenarios that run together: they share the fleet's few REST connections."""


def fleets(scenarios: Sequence[Scenario]) -> dict[str, list[Scenario]]:
    """The scenarios of the fleet level by the fleet they run on.

    One is for all that run together, one for those that happen to everybody, one for those that need many books.
    """
    found: dict[str, list[Scenario]] = {TOGETHER: [], ALONE: [], CROWD: []}
    for scenario in scenarios:
        if scenario.fleet is not None:
            alone = CROWD if len(scenario.fleet.books) >= MANY_BOOKS else ALONE
            found[alone if scenario.fleet.alone else TOGETHER].append(scenario)
    return {name: kept for name, kept in found.items() if kept}


async def run_fleet(
    scenarios: Sequence[Scenario], calm: Sequence[str], home: Path, cpu_share: float = 1.0
) -> AsyncIterator[Result]:
    """Start the fleets, run the scenarios on them, end them.

    Those of the last two fleets mostly wait, so these run side by side where their workers are not held to a share.

    Args:
        calm: the books to which nothing happens; a scenario without books of its own looks at these.
        home: each fleet's run directory is in there.
        cpu_share: of a core, to which every worker is held once all books are shown.

    Raises:
        CommandError: a fleet did not start.
    """
    wanted = fleets(scenarios)
    steps = [[TOGETHER], [ALONE, CROWD]] if cpu_share >= 1 else [[TOGETHER], [ALONE], [CROWD]]
    for names in steps:
        running = [_run_fleet(home / name, wanted[name], calm, cpu_share) for name in names if name in wanted]
        async for result in _side_by_side(running):
            yield result


async def _side_by_side(sources: Sequence[AsyncIterator[Result]]) -> AsyncIterator[Result]:
    """What several sources give, as it comes; the first error of one ends all."""
    given: asyncio.Queue[Result | None] = asyncio.Queue()

    async def pass_on(source: AsyncIterator[Result]) -> None:
        try:
            async for result in source:
                given.put_nowait(result)
        finally:
            given.put_nowait(None)

    tasks = [asyncio.create_task(pass_on(source), name="conformance: fleet") for source in sources]
    try:
        for _ in tasks:
            while (result := await given.get()) is not None:
                yield result
            for over in [task for task in tasks if task.done()]:
                over.result()
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def _run_fleet(
    home: Path, scenarios: Sequence[Scenario], calm: Sequence[str], cpu_share: float
) -> AsyncIterator[Result]:
    """Run scenarios on one fleet: those that need not be alone together, the others one by one."""
    parts = [scenario.fleet for scenario in scenarios if scenario.fleet is not None]
    names = list(dict.fromkeys([*calm, *(name for part in parts for name in part.books)]))
    unlisted = [name for part in parts for name in part.unlisted]
    faults = [text for part in parts for text in part.start_faults()]
    patient = home.name != ALONE
    world = FleetWorld(home, names, unlisted, faults, cpu_share, patient=patient)
    together = [one for one in scenarios if one.fleet is not None and not one.fleet.alone]
    alone = [one for one in scenarios if one.fleet is not None and one.fleet.alone]
    async with world.running():
        for group in ([together] if together else []) + [[one] for one in alone]:
            for result in await _run_group(world, group, [world.book(name) for name in calm]):
                yield result


async def _run_group(world: FleetWorld, group: Sequence[Scenario], calm: Sequence[Book]) -> list[Result]:
    runs: list[FleetRun] = []
    scripts: list[FleetScript] = []
    for scenario in group:
        assert scenario.fleet is not None
        result = Result(scenario.name, "fleet", scenario.reader)
        books = [world.book(name) for name in scenario.fleet.books] or calm
        runs.append(FleetRun(world, result, books, calm=scenario.fleet.undisturbed))
        scripts.append(scenario.fleet.script)
    for run in runs:
        await run.begin()
    after_s = [STAGGER_S * place for place in range(len(runs))]
    await asyncio.gather(*map(_play, runs, scripts, after_s))
    await _settle(world, runs)
    return [run.result for run in runs]


async def _play(run: FleetRun, script: FleetScript, after_s: float) -> None:
    await asyncio.sleep(after_s)
    try:
        async with asyncio.timeout(SCRIPT_S):
            await script(run)
    except TimeoutError:
        run.problem(f"The scenario was not over after {SCRIPT_S:g} s.")
    except (FleetError, RedisError, OSError) as error:
        run.problem(f"The scenario could not be played to its end: {error}")
    except Exception as error:
        run.problem(f"The scenario's script failed: {error!r}")


async def _settle(world: FleetWorld, runs: Sequence[FleetRun]) -> None:
    """Stop the markets, compare everything, let them go on."""
    for run in runs:
        await run.remove()
    stopped_ms = int(time.time() * 1000)
    await asyncio.gather(*(_compared(run) for run in runs))
    books = {book for run in runs for book in run.books}
    await _until_fresh(world, books, stopped_ms)
    for run in runs:
        await run.conclude()
    if not await world.reconnected():
        runs[-1].problem("Not all sockets deliver again.")
    await world.control.resume()
    if await world.brief.ready():
        await world.brief.resume()


async def _compared(run: FleetRun) -> None:
    try:
        await run.settle()
    except (FleetError, RedisError, OSError) as error:
        run.problem(f"The end could not be compared: {error}")


async def _until_fresh(world: FleetWorld, books: set[Book], since_ms: int) -> None:
    """Wait until everything published was looked at and each status was written after the markets stopped."""
    deadline = time.monotonic() + FRESH_S
    while time.monotonic() < deadline:
        with contextlib.suppress(RedisError, OSError):
            await world.observer.look()
        if all(world.observer.sights[book].number("updated") > since_ms for book in books):
            break
        await asyncio.sleep(0.05)
    await world.observer.compared_all()
