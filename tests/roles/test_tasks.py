"""Tasks end, also those that lose a cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from workers.tasks import end


async def test_a_task_that_swallows_its_first_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end([task])
    assert task.cancelled()
    assert swallowed == 2


async def test_what_has_ended_or_failed_is_fine() -> None:
    async def fails() -> None:
        raise ValueError

    done = asyncio.create_task(asyncio.sleep(0))
    failing = asyncio.create_task(fails())
    await asyncio.wait([done, failing])
    await end([done, failing])
    await end([])


async def test_tasks_that_end_tasks_of_their_own_leave_none_behind_however_often_they_are_cancelled() -> None:
    closed = asyncio.Event()

    async def slow_to_close() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            while not closed.is_set():
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)

    inner: list[asyncio.Task[None]] = []

    async def outer() -> None:
        inner.append(asyncio.create_task(slow_to_close()))
        try:
            await asyncio.sleep(100)
        finally:
            await end(inner)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0.01)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    closed.set()
    await end([task])
    assert inner[0].done()
    assert task.cancelled()
