"""Fleet-level scripts of sockets: they happen to a whole line, or to both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from workers.conformance.fleet.run import FleetRun

LINE_A: Final = "marketfleet line-a"
LINE_B: Final = "marketfleet line-b"
OLD_ROOT: Final = "/usdm/stream"


async def of_line(run: FleetRun, agent: str, market: str = "") -> list[dict[str, Any]]:
    """The open connections of a line."""
    rows = await run.world.control.connections()
    return [row for row in rows if row["agent"] == agent and market in ("", row["market"])]


async def replaced(run: FleetRun, before: list[dict[str, Any]], agent: str, market: str = "") -> None:
    """Wait until none of some connections is left and others are subscribed to all that they were."""

    async def done() -> bool:
        return succeeded(before, await of_line(run, agent, market))

    await run.until(f"all {len(before)} sockets of {agent} were replaced", done)


def succeeded(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> bool:
    """Whether of some connections none is left, and others are subscribed to every stream that they were.

    Their number does not count: while one succeeds another there are two.
    """

    def streams(rows: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
        return {(row["agent"], row["path"], stream) for row in rows for stream in row["streams"]}

    return not ids(before) & ids(now) and streams(before) <= streams(now)


def ids(rows: list[dict[str, Any]]) -> set[int]:
    """The numbers of connections."""
    return {row["id"] for row in rows}


async def tried_anew(run: FleetRun, before: list[dict[str, Any]], agent: str, market: str = "") -> None:
    """Wait until a line has opened another socket on each root on which it had some."""
    newest = max(row["id"] for row in before)
    wanted = {row["path"] for row in before}

    async def tried() -> bool:
        return wanted <= {row["path"] for row in await of_line(run, agent, market) if row["id"] > newest}

    await run.until(f"{agent} tried new sockets", tried)


async def silent_line(run: FleetRun) -> None:
    """Line a gets no data though its sockets stay open and answer."""
    before = await of_line(run, LINE_A, "usdm")
    numbers = await run.fault("silence agent=*line-a*", of_books=False)
    await replaced(run, before, LINE_A, "usdm")
    await run.remove(numbers)
    await asyncio.sleep(1.0)


async def silent_line_with_pings(run: FleetRun) -> None:
    """Spot sockets of line a get pings and no data."""
    before = await of_line(run, LINE_A, "spot")
    numbers = await run.fault("silence agent=*line-a* market=spot", of_books=False)
    await tried_anew(run, before, LINE_A, "spot")
    await run.remove(numbers)
    await asyncio.sleep(2.0)


async def silent_exchange(run: FleetRun) -> None:
    """Nobody gets data until every book is withdrawn as stale."""
    numbers = await run.fault("silence", of_books=False)

    def withdrawn() -> bool:
        sights = [run.world.observer.sights[book] for book in run.books]
        return all(sight.shown is None for sight in sights)

    await run.until("every book is withdrawn", withdrawn)
    states = {run.world.observer.sights[book].status.get("state") for book in run.books}
    run.expect("stale" in states, f"No book is called stale; they are {states}.")
    await run.remove(numbers)
    await run.overtaken()


async def acknowledged_and_silent(run: FleetRun) -> None:
    """New sockets of line b acknowledge the subscription and bring nothing."""
    before = await of_line(run, LINE_B)
    numbers = await run.fault("silence agent=*line-b*", of_books=False)
    await run.fault("reset agent=*line-b*", of_books=False)
    await replaced(run, before, LINE_B)
    await replaced(run, await of_line(run, LINE_B), LINE_B)
    await run.remove(numbers)
    await asyncio.sleep(1.0)


async def half_open(run: FleetRun) -> None:
    """The sockets of line a stay open and nothing comes, not even a pong."""
    # The old root has two sockets, one of which is replaced all the time for being silent anyway.
    before = [row for row in await of_line(run, LINE_A) if row["path"] != OLD_ROOT]
    numbers = await run.fault("stall agent=*line-a*", of_books=False)

    async def given_up() -> bool:
        return not ids(before) & ids(await of_line(run, LINE_A))

    # Every one of them: what is heard of again before it was given up need not be replaced.
    await run.until("all sockets that stood still were given up", given_up)
    await run.remove(numbers)
    await replaced(run, before, LINE_A)


async def reset_line(run: FleetRun) -> None:
    """The TCP connections of line a are cut."""
    before = await of_line(run, LINE_A)
    await run.fault("reset agent=*line-a*", of_books=False)
    await replaced(run, before, LINE_A)
    await asyncio.sleep(1.0)


async def reset_both(run: FleetRun) -> None:
    """All TCP connections are cut at once."""
    lines = {agent: await of_line(run, agent) for agent in (LINE_A, LINE_B)}
    await run.fault("reset", of_books=False)
    for agent, before in lines.items():
        await replaced(run, before, agent)
    await run.overtaken()


async def refused(run: FleetRun) -> None:
    """Line a is cut off and refused for a while."""
    before = await of_line(run, LINE_A)
    numbers = await run.fault("refuse value=503 agent=*line-a*", of_books=False)
    await run.fault("reset agent=*line-a*", of_books=False)
    await asyncio.sleep(3.0)
    await run.remove(numbers)
    await replaced(run, before, LINE_A)


async def shutdown_notice(run: FleetRun) -> None:
    """The exchange announces the end of every connection and closes it a little later."""
    lines = {agent: await of_line(run, agent) for agent in (LINE_A, LINE_B)}
    await run.fault("shutdown", of_books=False)
    for agent, before in lines.items():
        await replaced(run, before, agent)
    await asyncio.sleep(1.0)


async def legacy_path(run: FleetRun) -> None:
    """The aggTrade socket of a USD-M venue goes to the old root, which acknowledges and stays silent."""

    async def told() -> bool:
        text = (run.world.home / "log" / "ingest-a.log").read_text(encoding="utf-8")
        return any('"stream_silent"' in line and '"legacy"' in line for line in text.splitlines())

    await run.until("line a reports the silent streams", told)
    await run.until("the books are shown nevertheless", run.shown)


async def day_over(run: FleetRun) -> None:
    """The exchange closes every connection at the end of its day, both lines at about the same time."""
    run.world.processes["exchange-brief"].start()
    await run.until("the exchange is there and the book is shown", run.shown)
    await run.until("every connection has ended and has a successor", await _all_new(run))
    await run.overtaken()


async def _all_new(run: FleetRun) -> Callable[[], Awaitable[bool]]:
    """What tells whether all connections to the other exchange have been opened after this call."""
    before = await run.world.brief.connections()

    async def all_new() -> bool:
        return succeeded(before, await run.world.brief.connections())

    return all_new


async def _delivering(run: FleetRun, agent: str) -> set[tuple[str, str]]:
    """The roots on which a line gets data, of both exchanges."""
    found = set()
    for source in (run.world.control, run.world.brief):
        for row in await source.connections() if await source.ready() else ():
            if row["agent"] == agent and row["delivering"]:
                found.add((source.url, row["path"]))
    return found


async def restart_lines(run: FleetRun, **changes: str) -> None:
    """Restart one line after the other; the second when the first delivers again."""
    for line, agent in (("ingest-a", LINE_A), ("ingest-b", LINE_B)):
        before = await _delivering(run, agent)
        program = run.world.processes[line]
        await run.world.restart(program, {**program.environment, **changes})
        await run.until(f"{line} delivers again", partial(_delivers, run, agent, before))
        await asyncio.sleep(1.0)


async def _delivers(run: FleetRun, agent: str, wanted: set[tuple[str, str]]) -> bool:
    return await _delivering(run, agent) >= wanted


async def day_with_rotation(run: FleetRun) -> None:
    """The same exchange, with sockets replaced before its day is over, at different times for each line."""
    if not await run.world.brief.ready():
        run.world.processes["exchange-brief"].start()
        await run.until("the exchange is there", run.world.brief.ready)
    await restart_lines(run, FLEET_INGEST__ROTATE_S="3", FLEET_INGEST__ROTATE_STAGGER_S="1")
    await run.until("every book is shown", run.shown)
    await run.overtaken()
    await run.begin()
    await asyncio.sleep(10.0)
    for number in await run.world.brief.faults():  # without rotation each day's end would be a gap again
        await run.world.brief.remove_fault(number)
    await run.until("no connection has a short life any more", await _all_new(run))
    await restart_lines(run, FLEET_INGEST__ROTATE_S="100000", FLEET_INGEST__ROTATE_STAGGER_S="0")
