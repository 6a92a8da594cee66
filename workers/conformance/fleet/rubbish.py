"""Fleet-level scripts of rubbish: in the exchange's lists, and in the keys of one symbol."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from workers.conformance.fleet.run import FleetRun
from workers.conformance.fleet.streams import status_of
from workers.verification.stored import Book

RUBBISH_S: Final = 1.5
"""How long each key holds rubbish."""
LINES_A_MINUTE: Final = 100


async def list_with_one_bad_symbol(run: FleetRun) -> None:
    """What the exchange says of one symbol cannot be read, and of the others it says something new meanwhile."""
    bad, good = run.books
    spoiled = await run.fault(f"bad_listing {_scope(bad)}", of_books=False)
    await run.until(f"{bad.name} is told unreadable", lambda: _says(run, bad, "UNREADABLE"))
    before = await status_of(run, good, "tick_size")
    await run.fault(f"tick_size value=5 {_scope(good)}", of_books=False)

    async def other_grid() -> bool:
        return await status_of(run, good, "tick_size") not in (before, "")

    await run.until(f"the new tick size of {good.name} is known", other_grid)
    await run.remove(spoiled)
    await run.until(f"{bad.name} is told as the exchange says", lambda: _says(run, bad, "TRADING"))
    await run.overtaken()


def _scope(book: Book) -> str:
    return f"market={book.context.settings.market} symbol={book.symbol}"


async def _says(run: FleetRun, book: Book, status: str) -> bool:
    return await status_of(run, book, "status") == status


async def rubbish_in_every_key(run: FleetRun) -> None:
    """One key family of one symbol after the other holds rubbish for a moment, of its own type and of others."""
    victim, *others = run.books
    client: Any = run.world.client
    starts = _starts(run)
    lines = _log_lines(run.world.home / "log")
    began = time.monotonic()
    await _spoil_each(run, victim)
    await _others_are_current(run, others)
    minutes = max((time.monotonic() - began) / 60, 1.0)
    grown = _log_lines(run.world.home / "log") - lines
    run.facts["log_lines"] = grown
    run.expect(
        grown < LINES_A_MINUTE * minutes,
        f"The log grew by {grown} lines in {minutes:.1f} minutes; {LINES_A_MINUTE} a minute are enough.",
    )
    ended = sorted(name for name, times in _starts(run).items() if times != starts[name])
    run.expect(not ended, f"{', '.join(ended)} ended.")
    for key in _keys_of(victim):
        await client.delete(key)
    await run.until(f"{victim.name} is shown again", run.shown)
    await run.until(f"the trades of {victim.name} are folded again", lambda: _folds(run, victim))
    problems, compared = run.world.observer.problems[victim], run.world.observer.compared
    told, looked = len(problems), compared[victim]
    await run.overtaken()
    await run.world.observer.compared_all()
    run.result.problems += problems[told:]
    run.expect(compared[victim] > looked, f"Nothing of {victim.name} was compared after it was repaired.")
    run.books = others  # what was taken from the victim is gone; of the others nothing is


def _starts(run: FleetRun) -> dict[str, int]:
    programs = run.world.processes.named("keeper", "books", "trades", "api", "ingest")
    return {program.name: program.starts for program in programs}


async def _spoil_each(run: FleetRun, victim: Book) -> None:
    client: Any = run.world.client
    for number, key in enumerate(_keys_of(victim)):
        if number % 2:
            await _spoil_content(client, key)
        else:
            async with client.pipeline() as step:  # in one step: its owner may write it anew at any moment
                step.delete(key)
                if number % 4:
                    step.set(key, b"\xff\xfe")
                else:
                    step.rpush(key, "x")
                await step.execute()
        await asyncio.sleep(RUBBISH_S)
        await client.delete(key)  # the cure that is told


async def _spoil_content(client: Any, key: str) -> None:
    """What a key of its type should never hold."""
    kind = (await client.type(key)).decode()
    if kind == "hash":
        names = await client.hkeys(key)
        await client.hset(key, mapping=dict.fromkeys([*names, b"\xff"], b"\xff 1e400"))
    elif kind == "stream":
        await client.xadd(key, {"data": "{}", "received": "abc"})
    elif kind == "zset":
        await client.zadd(key, {b"\xff": "inf", b"{}": 1})
    else:
        await client.set(key, "{}")


async def _others_are_current(run: FleetRun, others: list[Book]) -> None:
    """Wait until what is shown of the other books was published just now."""
    now_us = time.time_ns() // 1000
    sights = run.world.observer.sights

    def current() -> bool:
        return all((sights[book].shown or {}).get("published", 0) > now_us for book in others)

    await run.until("the other books are those of now", current)


async def _folds(run: FleetRun, book: Book) -> bool:
    return (await run.world.reader.last_trade_id(book)) is not None


def _keys_of(book: Book) -> list[str]:
    keys, symbol = book.context.keys, book.symbol
    owned = [
        name for role in ("books", "trades") for name in (keys.lease(role, symbol), keys.fence(role, symbol))
    ]
    return [*keys.types(symbol), *owned]


def _log_lines(folder: Path) -> int:
    """Warnings and errors that the fleet has logged."""
    return sum(
        text.count('"level": "warning"') + text.count('"level": "error"')
        for text in (path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.log"))
    )
