"""Tasks end, also those that lose a cancellation."""

from __future__ import annotations

import ast
import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY

import workers
from workers.runtime.process import Process
from workers.runtime.tasks import end, seen
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings

SETTINGS = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT"])})


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


async def test_the_error_of_a_task_nobody_waits_for_is_told_with_its_name() -> None:
    async def fails() -> None:
        raise ValueError("unforeseen")

    async def waits() -> None:
        await asyncio.sleep(100)

    before = REGISTRY.get_sample_value("fleet_task_failed_total") or 0.0
    with structlog.testing.capture_logs() as said:
        tasks = [seen(asyncio.create_task(work(), name=work.__name__)) for work in (fails, waits)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await end(tasks)
        await asyncio.sleep(0)
    assert [(line["event"], line["task"]) for line in said] == [("task_failed", "fails")]
    assert REGISTRY.get_sample_value("fleet_task_failed_total") == before + 1


async def test_a_worker_ends_when_its_heartbeat_does(real_server: str) -> None:
    process = Process("books", SETTINGS, 0, real_server)
    ended = asyncio.Event()

    async def main(_: Process) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.set()

    async def fails() -> None:
        raise ValueError("unforeseen")

    process._beat = fails  # type: ignore[method-assign]
    try:
        with pytest.raises(ValueError, match="unforeseen"):
            async with asyncio.timeout(60):
                await process.serve(main)
    finally:
        await process.client.aclose()
    assert ended.is_set()


def nameless(path: Path) -> list[str]:
    return [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_task"
        and not any(keyword.arg == "name" for keyword in node.keywords)
    ]


def test_every_task_of_a_role_has_a_name() -> None:
    package = Path(workers.__file__).parent
    of_roles = [
        path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in ("cli", "sim")
    ]
    assert len(of_roles) > 100
    assert [place for path in of_roles for place in nameless(path)] == []
