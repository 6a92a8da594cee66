"""The process runner: what dies is started again, what is held stays down, nothing outlives the suite."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from workers.conformance.fleet.processes import Processes, Program, plain_environment
from workers.errors import CommandError

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    (tmp_path / "log").mkdir()
    return Processes(tmp_path, plain_environment())


async def running_as_another(program: Program, pid: int) -> int:
    for _ in range(3000):
        if program.running and program.pid != pid:
            return program.pid
        await asyncio.sleep(0.02)
    raise AssertionError("it was not started again")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_killed_program_is_started_again_and_ends_with_the_suite(processes: Processes):
    program = processes.add("sleeper", SLEEP)
    async with processes.watched():
        program.start()
        first = program.pid
        program.signal(signal.SIGKILL)
        second = await running_as_another(program, first)
        assert program.starts == 2
    assert not alive(second)
    with pytest.raises(CommandError, match="does not run"):
        _ = program.pid


async def test_a_held_program_stays_down_until_it_is_started(processes: Processes):
    program = processes.add("sleeper", SLEEP)
    async with processes.watched():
        program.start()
        program.held = True
        program.signal(signal.SIGTERM)
        assert await program.ended()
        await asyncio.sleep(0.6)
        assert not program.running
        program.start()
        assert program.running


async def test_a_stopped_and_stubborn_program_ends_too(processes: Processes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workers.conformance.fleet.processes.STOP_S", 0.3)
    program = processes.add("stubborn", STUBBORN)
    async with processes.watched():
        program.start()
        log = processes._logs / "stubborn.log"
        while "up" not in log.read_text():
            await asyncio.sleep(0.02)
        program.signal(signal.SIGSTOP)
        pid = program.pid
    assert not alive(pid)


def test_what_configures_a_fleet_is_not_inherited():
    found = plain_environment({"FLEET_HOME": "x", "REDIS_URL": "y", "PATH": "z"}, FLEET_CONFIG="c")
    assert found == {"PATH": "z", "FLEET_CONFIG": "c"}


def test_roles_are_named_as_supervisord_names_them(processes: Processes):
    assert processes.add_role("books", 1).name == "books-1"
    assert processes.add_role("ingest-a").name == "ingest-a"
    assert [program.name for program in processes.named("books")] == ["books-1"]
