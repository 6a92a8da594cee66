"""No worker outlives its supervisord, not even one that was just starting when that died."""

from __future__ import annotations

import subprocess
import sys

import pytest

BETWEEN = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=sys.stdout)
"""
STARTING = """
import os, sys, time
while os.getppid() == int(sys.argv[1]):
    time.sleep(0.01)
if os.getppid() != 1:
    sys.exit(print("taken in by", os.getppid()))
from workers.operations.role import main
sys.exit(print("ended with", main(["books"])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells of a parent")
def test_a_worker_whose_supervisord_died_while_it_started_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUPERVISOR_ENABLED", "1")
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, STARTING], capture_output=True, text=True, timeout=60, check=True
    )
    if done.stdout.startswith("taken in"):
        pytest.skip("on this machine another process than the first takes in orphans")
    assert done.stdout == "ended with 0\n"
