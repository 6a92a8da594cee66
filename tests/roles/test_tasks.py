"""Tasks end, also those that lose a cancellation."""

from __future__ import annotations

import asyncio

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
