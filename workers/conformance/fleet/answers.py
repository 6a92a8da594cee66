"""Fleet-level scripts of snapshots and REST: what is wrong with the answers after a gap."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final, cast

from workers.conformance.fleet.run import POLL_S, FleetRun
from workers.conformance.fleet.settings import auditing
from workers.conformance.fleet.streams import DEPTH
from workers.sim.engine.rest_faults import RETRY_AFTER_S
from workers.verification.stored import Book

DEPTH_PATH: Final = "path=*/depth"


async def resync_against(run: FleetRun, *faults: str, most_requests: int, struck: int = 1) -> None:
    """Set faults of the answers, lose an event, and expect a resync that asks for few snapshots."""
    numbers = [number for text in faults for number in await run.fault(text)]
    await run.fault(f"lose {DEPTH} count=1")
    await run.struck(numbers, struck)
    await run.one_gap_resynced(most_requests)


async def stale(run: FleetRun) -> None:
    """Two answers are older than the gap."""
    await resync_against(run, "snapshot_stale value=9000 count=2", most_requests=4, struck=2)


async def ahead(run: FleetRun) -> None:
    """The answer is a second and a half ahead of the stream."""
    late = await run.fault(f"delay {DEPTH} value=1500")
    await resync_against(run, "snapshot_ahead count=1", most_requests=2)
    await run.remove(late)


async def minus_one(run: FleetRun) -> None:
    """Two answers have no levels and lastUpdateId -1."""
    await resync_against(run, "snapshot_empty count=2", most_requests=4, struck=2)


async def minus_one_at_start(run: FleetRun) -> None:
    """The first answers ever are empty with lastUpdateId -1, though the symbol trades."""
    await run.until("the book is shown", run.shown)
    for book in run.books:
        asked = await run.world.requests(book)
        run.expect(3 < asked <= 9, f"{book.name} asked for {asked} snapshots until one was good; 4 suffice.")


@contextlib.asynccontextmanager
async def _audited(run: FleetRun) -> AsyncIterator[None]:
    """With the audits on; what was shown until they found it is forgiven."""
    keeper = run.world.processes["keeper"]
    usual = dict(keeper.environment)
    names = [f"{book.context.name}:{book.symbol}" for book in run.books]
    await run.world.restart(keeper, {**usual, **auditing(names)})
    await run.until("the keeper audits", lambda: _audits(run))
    try:
        yield
    finally:
        await run.world.restart(keeper, usual)
    await run.until("every book is shown again", run.shown)
    for book in run.books:
        outcomes = await _outcomes(run, book)
        run.expect(b"mismatch" in outcomes, f"The mismatch of {book.name} is not in its audit stream.")
    await run.forgive()
    await run.remove()
    await run.overtaken()


async def _outcomes(run: FleetRun, book: Book, after: bytes = b"-") -> list[bytes]:
    found = await run.world.client.xrange(book.context.keys.audit(book.symbol), min=after)
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], found)
    return [fields[b"outcome"] for _, fields in entries]


async def _audits(run: FleetRun) -> bool:
    return all([await _outcomes(run, book) for book in run.books])


async def _last_audits(run: FleetRun) -> dict[Book, bytes]:
    """From where to read what later audits find: past the last entry of each book's audit stream."""
    last = {}
    for book in run.books:
        entries = cast(
            list[tuple[bytes, dict[bytes, bytes]]],
            await run.world.client.xrevrange(book.context.keys.audit(book.symbol), count=1),
        )
        last[book] = b"(" + entries[0][0] if entries else b"-"
    return last


async def _judged(run: FleetRun, after: dict[Book, bytes]) -> bool:
    """Whether audits since then took every book out of sync, or found it right: the market had mended it before."""
    return _found(run) or await _right(run, after)


async def _right(run: FleetRun, after: dict[Book, bytes]) -> bool:
    """Whether audits since then found every book right."""
    return all([b"match" in await _outcomes(run, book, last) for book, last in after.items()])


def _found(run: FleetRun) -> bool:
    sights = [run.world.observer.sights[book] for book in run.books]
    return all(sight.status.get("reason") == "audit mismatch" for sight in sights)


def _lost(run: FleetRun, gaps: dict[Book, int]) -> bool:
    """Whether every book has had another gap since it had so many."""
    return all(run.gaps(book) > before for book, before in gaps.items())


async def wrong_level(run: FleetRun) -> None:
    """A snapshot whose id fits has a wrong bid, farther from the market than the second snapshot reaches.

    The market may put the level right before anybody looks, and the book may be in sync again before the snapshot is
    spoiled (not earlier, or an audit gets it), so there are several tries.
    """
    async with _audited(run):
        for _ in range(5):
            gaps = {book: run.gaps(book) for book in run.books}
            await run.fault(f"lose {DEPTH} count=1")
            await run.until("the book left sync", partial(_lost, run, gaps))
            wrong = await run.fault("snapshot_wrong value=90 count=1")
            await run.until("the book is in sync again", run.shown)
            if not await run.hits(wrong):
                await run.remove(wrong)
                continue
            await run.until("an audit has judged the book", partial(_judged, run, await _last_audits(run)))
            if _found(run):
                return
        run.problem("No audit took the book out of sync.")


async def wrong_snapshot(run: FleetRun) -> None:
    """A snapshot whose id fits has a wrong bid near the market: whatever was published is compared with the truth.

    The market may put the level right before the second snapshot is taken, so there are several tries. None is so deep
    that the market could rise past the levels that are compared until then.
    """
    refused = 0
    for place in (2, 9, 20, 30, 35):
        syncs = {book: run.syncs(book) for book in run.books}
        wrong = await run.fault(f"snapshot_wrong value={place} count=1")
        await run.fault(f"lose {DEPTH} count=1")
        await run.struck(wrong)

        def again(before: dict[Book, int] = syncs) -> bool:
            return run.shown() and all(run.syncs(book) > before[book] for book in run.books)

        await run.until("every book is in sync again and shown", again)
        sights = [run.world.observer.sights[book] for book in run.books]
        refused += sum(sight.status.get("reason") == "snapshot mismatch" for sight in sights)
    run.facts["refused"] = refused
    run.expect(refused > 0, "No second snapshot contradicted a wrong one.")


async def wrong_quantity(run: FleetRun) -> None:
    """Depth events have wrong quantities."""
    async with _audited(run):
        numbers = await run.fault(f"corrupt {DEPTH} count=20")
        await run.struck(numbers, 8)
        await run.remove(numbers)
        await run.until("an audit took every book out of sync", lambda: _found(run))
        # it may have done so while events were still being spoiled
        await run.until("an audit finds every book right", partial(_right, run, await _last_audits(run)))


async def forbidden(run: FleetRun) -> None:
    """A firewall's HTML page instead of JSON, twice."""
    await resync_against(run, f"rest_status value=403 {DEPTH_PATH} count=2", most_requests=4, struck=2)


async def server_errors(run: FleetRun) -> None:
    """500, 503 and 504."""
    texts = [f"rest_status value={status} {DEPTH_PATH} count=1" for status in (500, 503, 504)]
    await resync_against(run, *texts, most_requests=5)


async def slow(run: FleetRun) -> None:
    """The answer takes longer than anybody waits."""
    for book in run.books:  # the probe counts by a slow answer of 0 s, and only one of a kind strikes
        await run.world.control.remove_fault(run.world.probes.pop(book))
    numbers = await run.fault(f"rest_slow value=8 {DEPTH_PATH} count=1")
    await run.fault(f"lose {DEPTH} count=1")
    await run.struck(numbers)
    await run.resynced()


async def truncated(run: FleetRun) -> None:
    """The JSON text ends in the middle, twice."""
    await resync_against(run, f"rest_truncated {DEPTH_PATH} count=2", most_requests=4, struck=2)


async def reset(run: FleetRun) -> None:
    """The connection is cut instead of an answer, twice."""
    await resync_against(run, f"rest_reset {DEPTH_PATH} count=2", most_requests=4, struck=2)


async def _everybody_waits(run: FleetRun, status: int) -> None:
    """One request is refused; until Retry-After is over no other is sent, though other books want theirs meanwhile."""
    books = run.books = [book for book in run.books if book.context.settings.market == "usdm"]
    first, others = books[0], books[1:]
    run.books = [first]
    refused = await run.fault(f"rest_status value={status} {DEPTH_PATH} count=1")
    before = time.monotonic()
    await run.struck(await run.fault(f"lose {DEPTH} count=1"))
    over = await _struck_at(run, refused, before) + RETRY_AFTER_S[status]
    run.books = others
    lost = await run.fault(f"lose {DEPTH} count=1")  # they want their snapshots more than half a second later
    sent = 0
    while not sent:
        now_sent = sum([await run.requests(book) for book in others])
        if time.monotonic() >= over:
            break
        sent = now_sent
        await asyncio.sleep(POLL_S)
    run.expect(not sent, f"{sent} requests were sent though everybody had to wait.")
    run.books = books
    await run.remove(refused)
    await run.struck(lost)
    await run.resynced()
    run.facts["snapshots"] = sum([await run.requests(book) for book in run.books])
    for book in run.books:  # one begins the book, one is compared with it, one was refused
        await run.few_snapshots(book, 3 if book is first else 2)


async def _struck_at(run: FleetRun, numbers: Sequence[int], before: float) -> float:
    """Wait until a fault has struck; when it had not yet, which it had not `before` either (monotonic seconds)."""
    looked = time.monotonic()
    while not await run.hits(numbers):
        before, looked = looked, time.monotonic()
        await asyncio.sleep(POLL_S)
        looked = time.monotonic()
    return before


async def too_many(run: FleetRun) -> None:
    """429 with Retry-After."""
    await _everybody_waits(run, 429)


async def banned(run: FleetRun) -> None:
    """418 with Retry-After."""
    await _everybody_waits(run, 418)
