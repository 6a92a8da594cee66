"""Holding programs to a share of a core: they get it and little more, and what is stopped stays so."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.conformance.fleet.processes import Processes, Program, plain_environment
from workers.conformance.fleet.quota import Quota
from workers.errors import WrongArgument

BUSY = [sys.executable, "-c", "while True: pass"]
SUITE = """
import asyncio, sys
from pathlib import Path
from workers.conformance.fleet.processes import Processes, plain_environment
from workers.conformance.fleet.quota import Quota

async def main():
    processes = Processes(Path(sys.argv[1]), plain_environment())
    program = processes.add("busy", [sys.executable, "-c", "while True: pass"])
    async with processes.watched():
        program.start()
        with Quota([program], 0.05, 1.0):
            print(program.pid, flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    (tmp_path / "log").mkdir()
    return Processes(tmp_path, plain_environment())


def state_in(stat: Path) -> str:
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def state_of(program: Program) -> str:
    return state_in(Path(f"/proc/{program.pid}/stat"))


def used_s(program: Program) -> float:
    fields = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until_state(program: Program, states: str) -> None:
    async with asyncio.timeout(30):
        while state_of(program) not in states:
            await asyncio.sleep(0.01)


async def test_each_program_gets_its_share_and_all_of_them_go_on(processes: Processes):
    programs = [processes.add(f"busy-{number}", BUSY) for number in range(2)]
    async with processes.watched():
        for program in programs:
            program.start()
        with Quota(programs, 0.1):
            await asyncio.sleep(0.5)
            before, began = [used_s(program) for program in programs], time.monotonic()
            await asyncio.sleep(3)
            passed = time.monotonic() - began
            for program, used in zip(programs, before, strict=True):
                # a loaded machine may give less; it gives much more only to one that is not held
                assert 0 < used_s(program) - used < 0.3 * passed
        for program in programs:
            await until_state(program, "RS")


async def test_a_share_is_tightened_for_a_while(processes: Processes):
    busy, free = processes.add("busy", BUSY), processes.add("free", BUSY)
    async with processes.watched():
        busy.start()
        free.start()
        with Quota([busy, free], 1.0) as quota:
            with quota.tightened([busy], 0.02):
                await until_state(busy, "T")
                assert state_of(free) != "T"
            await until_state(busy, "RS")
            await asyncio.sleep(0.5)
            assert state_of(busy) != "T"


async def test_what_a_script_has_stopped_stays_so(processes: Processes):
    program = processes.add("busy", BUSY)
    async with processes.watched():
        program.start()
        with Quota([program], 0.5, 0.02):
            program.signal(signal.SIGSTOP)
            await until_state(program, "T")
            for _ in range(20):
                await asyncio.sleep(0.01)
                assert state_of(program) == "T"
            program.signal(signal.SIGCONT)
            await until_state(program, "RS")
            program.signal(signal.SIGSTOP)
        await asyncio.sleep(0.05)
        assert state_of(program) == "T"


async def test_a_program_started_again_is_held_too(processes: Processes):
    program = processes.add("busy", BUSY)
    async with processes.watched():
        program.start()
        with Quota([program], 0.05, 0.5):
            program.signal(signal.SIGKILL)
            async with asyncio.timeout(30):
                while not program.running or program.starts < 2:
                    await asyncio.sleep(0.02)
            await until_state(program, "T")


def test_nothing_stands_still_for_good_when_the_suite_is_killed(tmp_path: Path):
    (tmp_path / "log").mkdir()
    suite = subprocess.Popen([sys.executable, "-c", SUITE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert suite.stdout is not None
    stat = Path(f"/proc/{int(suite.stdout.readline())}/stat")
    suite.stdout.close()
    deadline = time.monotonic() + 30
    while state_in(stat) != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    suite.kill()
    suite.wait()
    while stat.exists() and state_in(stat) != "Z":  # process 1 may reap nothing
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("share", [0, -0.1, 0.001, 1.1, float("nan")])
def test_a_share_is_a_part_of_a_core(share: float):
    with pytest.raises(WrongArgument, match="share of a core"):
        Quota([], share)
