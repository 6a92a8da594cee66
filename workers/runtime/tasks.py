"""Ending asyncio tasks for sure, and seeing how those end that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

FAILED = Counter(
    "fleet_task_failed_total", "Tasks beside the main work that ended with an error nobody foresaw"
)
T = TypeVar("T")


def seen(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Have the error with which a task ends that nobody waits for logged at once, with the task's name."""
    task.add_done_callback(_look)
    return task


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        FAILED.inc()
        log.error("task_failed", task=task.get_name(), exc_info=error)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is dropped.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which redis-py uses, loses a cancellation that comes
    just when its inner wait is done (cpython#86296), and the task would go on for ever. A caller that is cancelled
    itself meanwhile is told so when they have ended.
    """
    left = {task for task in tasks if not task.done()}
    cancelled = False
    while left:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=0.5)
        except asyncio.CancelledError:
            cancelled = True  # whoever cancels us waits for us: what we are to end must end first
        left = {task for task in left if not task.done()}
    if cancelled:
        raise asyncio.CancelledError
