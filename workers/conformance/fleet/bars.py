"""Fleet-level scripts of bars that the clock closes before their trades have come.

That no version of a bar changes what one before called complete is compared at the end of every scenario; these see to
it that there is something to compare.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

from workers.conformance.fleet.run import FleetRun
from workers.verification.stored import Book
from workers.verification.truth import Bar

LATE_MS: Final = 3000
BEFORE_END_S: Final = 2.0
"""How long before the end of the minute the sockets are stalled: less than a line waits for a silent one."""
MINUTE_S: Final = 60


async def _versions(run: FleetRun, book: Book, interval: str, from_ms: int) -> dict[int, list[Bar]]:
    """All versions of each closed window that begins then or later, by its start."""
    found: dict[int, list[Bar]] = {}
    for bar in (await run.world.reader.bars(book, interval)).closed:
        if int(bar["start"]) >= from_ms:
            found.setdefault(int(bar["start"]), []).append(bar)
    return found


async def _proven_later(run: FleetRun, interval: str, from_ms: int, windows: int) -> bool:
    """Whether of every book so many windows were unproven first, and were proven then."""
    for book in run.books:
        versions = (await _versions(run, book, interval, from_ms)).values()
        proven = [
            bars for bars in versions if bars[0]["reason"] == "unproven" and bars[-1]["complete"] == "1"
        ]
        if len(proven) < windows:
            return False
    return True


async def trades_late(run: FleetRun) -> None:
    """Trades come three seconds after the depth events of the same moment."""
    began = int(time.time() * 1000)
    numbers = await run.fault(f"delay stream=*@aggTrade value={LATE_MS}")
    await run.until(
        "windows that the clock closed were unproven until a later trade had come",
        partial(_proven_later, run, "100ms", began, 5),
    )
    await run.remove(numbers)


async def stalled(run: FleetRun) -> None:
    """All sockets stand still over the end of a minute."""

    async def seen_from_its_beginning() -> bool:
        left_s = MINUTE_S - time.time() % MINUTE_S
        if not BEFORE_END_S < left_s < BEFORE_END_S + 1:
            return False
        windows = [(await run.world.reader.bars(book, "1m")).stats for book in run.books]
        return all(window.get("complete") == "1" for window in windows)

    await run.until("a minute ends that every book was there for", seen_from_its_beginning, 3 * MINUTE_S)
    minute_ms = int(time.time()) // MINUTE_S * MINUTE_S * 1000
    numbers = await run.fault("stall", of_books=False)

    async def closed() -> bool:
        return all([minute_ms in await _versions(run, book, "1m", minute_ms) for book in run.books])

    await run.until("the minute's bars are closed", closed)
    early = [(await _versions(run, book, "1m", minute_ms))[minute_ms][0] for book in run.books]
    await run.remove(numbers)
    unproven = sum(bar["reason"] == "unproven" for bar in early)
    run.facts["unproven"] = unproven
    run.expect(unproven > 0, "No bar was closed by the clock.")

    async def complete() -> bool:
        bars = [(await _versions(run, book, "1m", minute_ms))[minute_ms] for book in run.books]
        return all(versions[-1]["complete"] == "1" for versions in bars)

    await run.until("the minute's bars are complete", complete)
    await run.until("every book is shown again", run.shown)
    await asyncio.sleep(1.0)
