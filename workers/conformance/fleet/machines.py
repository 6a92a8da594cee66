"""Fleet-level scripts of processes and of the server: they are killed, stopped, starved."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from redis.exceptions import RedisError

from workers.conformance.fleet.processes import Program
from workers.conformance.fleet.run import FleetRun
from workers.store.keys import TRADES
from workers.verification.stored import Book

AFTER_S: Final = 1.5
STOPPED_S: Final = 5.0
FROZEN_S: Final = 4.0
OWNERS: Final = ("books", "trades")


async def _killed(run: FleetRun, *names: str) -> None:
    """kill -9, and start again as supervisord does."""
    programs = [run.world.processes[name] for name in names]
    before = [program.pid for program in programs]
    for program in programs:
        program.signal(signal.SIGKILL)
    await run.until(
        f"{' and '.join(names)} runs again",
        lambda: all(
            program.running and program.pid != pid for program, pid in zip(programs, before, strict=True)
        ),
    )


async def _taken(run: FleetRun, book: Book, role: str, gone: int) -> bool:
    owner = await run.world.reader.owner(book, role)
    return bool(owner) and owner.split("-")[-2:-1] != [str(gone)]


async def _owned_again(run: FleetRun, role: str, gone: int) -> None:
    """Wait until every symbol has an owner that is not the process which is gone."""
    began = time.monotonic()
    latest = 0.0
    for book in run.books:
        await run.until(f"{book.name} has an owner again", partial(_taken, run, book, role, gone))
        latest = time.monotonic() - began
    run.facts["takeover_s"] = round(latest, 2)


async def kill_ingest_a(run: FleetRun) -> None:
    """kill -9 of line a."""
    await _killed(run, "ingest-a")
    await asyncio.sleep(AFTER_S)


async def kill_ingest_b(run: FleetRun) -> None:
    """kill -9 of line b."""
    await _killed(run, "ingest-b")
    await asyncio.sleep(AFTER_S)


async def kill_both_lines(run: FleetRun) -> None:
    """kill -9 of both lines at once."""
    await _killed(run, "ingest-a", "ingest-b")
    await asyncio.sleep(AFTER_S)
    await run.world.reconnected()
    await run.overtaken()


async def kill_books(run: FleetRun) -> None:
    """kill -9 of a books worker."""
    gone = run.world.processes["books-0"].pid
    await _killed(run, "books-0")
    await _owned_again(run, "books", gone)
    await run.until("every book is shown", run.shown)
    await asyncio.sleep(AFTER_S)


async def kill_trades(run: FleetRun) -> None:
    """kill -9 of a trades worker."""
    gone = run.world.processes["trades-0"].pid
    await _killed(run, "trades-0")
    await _owned_again(run, "trades", gone)
    await asyncio.sleep(AFTER_S)


async def kill_all_owners(run: FleetRun) -> None:
    """kill -9 of every worker that owns books or trades."""
    names = ("books-0", "books-1", "trades-0", "trades-1")
    gone = {role: [run.world.processes[name].pid for name in names if role in name] for role in OWNERS}
    await _killed(run, *names)
    for role, pids in gone.items():
        for pid in pids:
            await _owned_again(run, role, pid)
    await run.overtaken()


async def kill_all_workers(run: FleetRun) -> None:
    """kill -9 of every worker."""
    names = [
        program.name for program in run.world.processes.named("keeper", "books", "trades", "api", "ingest")
    ]
    await _killed(run, *names)
    await run.world.reconnected()
    await run.overtaken()


async def stop_line(run: FleetRun) -> None:
    """Line a is stopped, and goes on when the other one is far ahead."""
    with _stopped(run.world.processes["ingest-a"]):
        await asyncio.sleep(STOPPED_S)
    await run.overtaken()


async def kill_keeper(run: FleetRun) -> None:
    """kill -9 of the keeper."""
    await _killed(run, "keeper")
    await asyncio.sleep(AFTER_S)


async def kill_api(run: FleetRun) -> None:
    """kill -9 of the API."""
    await _killed(run, "api")
    await run.until("the API answers again", run.world.api_answers)


@contextlib.contextmanager
def _stopped(program: Program) -> Iterator[None]:
    """Let a process stand still."""
    program.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.signal(signal.SIGCONT)


async def _zombie(run: FleetRun, name: str, role: str) -> None:
    """Stop a worker until others have its symbols, then let it go on as if nothing had been."""
    program = run.world.processes[name]
    pid = program.pid
    with _stopped(program):
        await _owned_again(run, role, pid)
        await asyncio.sleep(AFTER_S)
    await asyncio.sleep(2 * AFTER_S)
    run.expect(program.running and program.pid == pid, f"{name} did not survive being stopped.")
    await run.until("every book is shown", run.shown)


async def zombie_books(run: FleetRun) -> None:
    """A books worker is stopped for longer than its lease."""
    await _zombie(run, "books-0", "books")


async def zombie_trades(run: FleetRun) -> None:
    """A trades worker is stopped for longer than its lease."""
    await _zombie(run, "trades-0", "trades")


async def _back(run: FleetRun) -> None:
    """Wait until the server answers and everything goes on."""
    await run.until("Redis answers", run.world.redis_answers)
    await run.overtaken()


async def restart_redis(run: FleetRun) -> None:
    """The server ends in good order and comes back with what it had stored."""
    server = run.world.processes["redis"]
    server.signal(signal.SIGTERM)
    await server.ended()
    await _back(run)


async def kill_redis(run: FleetRun) -> None:
    """kill -9 of the server; it comes back with its append-only file."""
    server = run.world.processes["redis"]
    server.signal(signal.SIGKILL)
    await server.ended()
    await _back(run)


async def lose_redis_data(run: FleetRun) -> None:
    """The server comes back empty, while trades had come that nobody had applied."""
    with contextlib.ExitStack() as stopped:
        for program in run.world.processes.named("trades"):
            stopped.enter_context(_stopped(program))
        await run.until("trades wait to be applied", partial(_trades_wait, run))
        applied = {book: await run.world.reader.last_trade_id(book) for book in run.books}
        await run.world.lose_data()
    await _back(run)
    run.facts["syncs"] = sum(run.world.observer.sights[book].number("sync_count") for book in run.books)
    for book, last in applied.items():
        held = await run.world.reader.trades(book)
        first = min((int(member["agg_trade_id"]) for _, member in held), default=0)
        if last is not None and first > last + 1:
            run.facts["trades_lost"] = run.facts.get("trades_lost", 0) + first - last - 1
            # the gap is recorded beside the fold that came upon it
            await run.until(
                f"the gaps stream of {book.name} tells that the trades {last + 1} to {first - 1} are lost",
                partial(_told_lost, run, book, last + 1, first - 1),
            )


async def _told_lost(run: FleetRun, book: Book, first: int, last: int) -> bool:
    holes = await run.world.reader.holes(book, TRADES)
    return any(hole.first <= first and hole.last >= last for hole in holes)


async def _trades_wait(run: FleetRun) -> bool:
    groups = [await run.world.reader.group(book, TRADES, "trades") for book in run.books]
    return sum(group.waiting for group in groups) > len(groups)


async def freeze_redis(run: FleetRun) -> None:
    """The server stands still for four seconds, longer than any lease."""
    with _stopped(run.world.processes["redis"]):
        await asyncio.sleep(FROZEN_S)
    await _back(run)


async def starve_redis(run: FleetRun) -> None:
    """The server refuses writes for lack of memory for four seconds."""
    client = run.world.client
    await client.config_set("maxmemory", "1mb")
    refused = False
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        try:
            await client.set("fleet:conform", "1")
        except RedisError:
            refused = True
        await asyncio.sleep(0.2)
    await client.config_set("maxmemory", "0")
    await client.delete("fleet:conform")
    run.expect(refused, "The server refused nothing, so nothing was tried.")
    await _back(run)


async def freeze_exchange(run: FleetRun) -> None:
    """The exchange stands still for three seconds and goes on."""
    with _stopped(run.world.processes["exchange"]):
        await asyncio.sleep(3.0)
    await run.overtaken()
