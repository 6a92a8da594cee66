"""Fleet-level scripts of single subscriptions: one dies, is refused or is quiet, and must not cost the others."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from workers.conformance.fleet.run import FleetRun
from workers.conformance.fleet.sockets import LINE_A, LINE_B, ids, of_line, replaced, restart_lines
from workers.store.fleet.leases import Registry
from workers.verification.stored import Book

LINES: Final = {"ingest-a": LINE_A, "ingest-b": LINE_B}
MANY: Final = tuple(f"MANY{number}USDT" for number in range(100))
"""Symbols the exchange does not list: their streams are acknowledged and silent, and cost nothing but a place."""
REFUSED: Final = MANY[41]
LONG_S: Final = 15.0
"""Longer than a book may be silent while no line lives."""


async def dead_depth(run: FleetRun) -> None:
    """The depth stream of a symbol dies on both lines: trades show that the market goes on."""
    began = time.monotonic()
    # subscribed anew it brings nothing yet, so that the moment at which it is called dead lasts until it was seen
    silent = await run.fault("silence stream=*@depth*")
    await run.fault("mute stream=*@depth*")
    called_dead: set[Book] = set()

    def withheld() -> bool:
        for book in run.books:
            sight = run.world.observer.sights[book]
            if sight.shown is None and sight.status.get("reason") == "stream dead":
                called_dead.add(book)
        return len(called_dead) == len(run.books)

    await run.until("every book was withheld because its stream is dead", withheld)
    run.facts["withheld_after_s"] = round(time.monotonic() - began, 1)
    await run.remove(silent)
    # on a busy machine this lasts until the books are stale: those ask for one more, to be compared with
    await run.one_gap_resynced(2)
    run.facts["shown_after_s"] = round(time.monotonic() - began, 1)
    await run.overtaken()


async def dead_trades(run: FleetRun) -> None:
    """The aggTrade stream of a symbol dies on both lines while its depth goes on."""
    await run.fault("mute stream=*@aggTrade")

    async def repaired() -> bool:
        return all([await run.world.reader.gaps(book) > 0 for book in run.books])

    await run.until("the missed trades are in the gaps stream", repaired)
    await run.overtaken()


async def refused_among_many(run: FleetRun) -> None:
    """The exchange refuses one of more than 200 streams on one socket, to both lines."""
    spot = run.world.settings.venues["spot"]
    numbers = await run.fault(f"refuse_stream market=spot stream={REFUSED.lower()}@depth*", of_books=False)
    await restart_lines(
        run,
        FLEET_VENUES__SPOT__SYMBOLS=",".join([*spot.symbols, *MANY]),
        FLEET_VENUES__SPOT__STREAMS_PER_SOCKET="1024",
        FLEET_INGEST__REFUSED_RETRY_S="1",
    )
    name = f"spot:{REFUSED}@depth"
    await run.until("both lines name the stream that is refused", lambda: _both_refused(run, name))
    await run.until("all others are subscribed on one socket of each line", lambda: _many_subscribed(run))
    before = {agent: await of_line(run, agent, "spot") for agent in LINES.values()}
    await asyncio.sleep(LONG_S)  # a silent stream is looked after every few seconds
    for agent, rows in before.items():
        now = ids(await of_line(run, agent, "spot"))
        run.expect(now == ids(rows), f"The sockets of {agent} were replaced: {ids(rows)} became {now}.")
    await run.struck(numbers, 4)  # once by each line, and again
    await run.remove(numbers)
    await run.until("both lines have the stream", lambda: _both_refused(run, ""))
    await restart_lines(
        run,
        FLEET_VENUES__SPOT__SYMBOLS=",".join(spot.symbols),
        FLEET_VENUES__SPOT__STREAMS_PER_SOCKET=str(spot.streams_per_socket),
    )


async def _many_subscribed(run: FleetRun) -> bool:
    of_lines = [await of_line(run, agent, "spot") for agent in LINES.values()]
    return all(len(rows) == 1 and len(rows[0]["streams"]) > 2 * len(MANY) for rows in of_lines)


async def _both_refused(run: FleetRun, name: str) -> bool:
    """Whether both lines say that this is all that is refused to them."""
    found = await Registry(run.world.client, run.world.settings.fleet).workers(LINES)
    told = {worker["role"]: worker.get("refused") for worker in found if int(worker.get("beat_ms", 0))}
    return [told.get(line) for line in LINES] == [name, name]


async def _both_alive(run: FleetRun, venues: set[str]) -> bool:
    found = await Registry(run.world.client, run.world.settings.fleet).workers(LINES)
    alive = {worker["role"]: worker.get("alive", "").split(",") for worker in found}
    return all(venues <= set(alive.get(line, ())) for line in LINES)


async def shutdown_with_quiet_symbol(run: FleetRun) -> None:
    """The exchange ends all connections twice in a row, while a symbol of each market is halted."""
    await restart_lines(run, FLEET_INGEST__FIRST_MESSAGE_S="60")
    await run.fault("halt")
    await asyncio.sleep(1.0)
    for _ in range(2):  # the second notice comes to sockets that have only just taken over
        before = {agent: await of_line(run, agent) for agent in LINES.values()}
        await run.fault("shutdown", of_books=False)
        for agent, rows in before.items():
            await replaced(run, rows, agent)
    await asyncio.sleep(LONG_S)
    for book in run.books:
        run.expect(not run.absent(book), f"{book.name} was withheld though both lines lived.")
    await run.until("both lines count as living", lambda: _both_alive(run, {"usdm", "spot"}))
    await run.remove()
    await restart_lines(run, FLEET_INGEST__FIRST_MESSAGE_S="3")
