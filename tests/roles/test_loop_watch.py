"""A process whose loop is stuck in code that never awaits is ended; one that only takes long is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, gc, sys, time
from workers.runtime import process
from workers.settings.loading import parse

process.CPU_S = 0.5
settings = parse('[venues.usdm]\\nmarket = "usdm"\\nsymbols = ["A"]\\n', "t", {}).settings
settings.metrics.base_port = 0


def spins():
    while True:
        pass


def for_cpu(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


async def stuck(process):
    spins()


async def contained(process):
    while True:
        try:
            spins()
        except BaseException:
            continue


async def slow(process):
    assert gc.get_freeze_count() > 10_000  # what was imported is looked through no more
    time.sleep(2)  # no CPU
    for _ in range(40):
        for_cpu(0.05)
        await asyncio.sleep(0.01)


sys.exit(process.run_role("books", settings, 0, sys.argv[1], globals()[sys.argv[2]]))
"""


def run(url: str, work: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, url, work]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("work", ["stuck", "contained"])
def test_a_loop_that_never_awaits_is_told_and_ended(spare_server: str, work: str) -> None:
    done = run(spare_server, work)
    assert done.returncode == 1
    assert '"loop_stuck"' in done.stderr
    assert "<string>:" in done.stderr


def test_one_that_takes_long_is_left_alone(spare_server: str) -> None:
    done = run(spare_server, "slow")
    assert done.returncode == 0, done.stderr
    assert "loop_stuck" not in done.stderr
