"""A demo as a user starts it, for the tests that need one to be there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import redis as redis_sync
from fleet_runs import plain_environment


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", "demo", *arguments],
        env=plain_environment(FLEET_HOME=str(home)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_books(home: Path, wanted: int, seconds: float = 240) -> redis_sync.Redis:
    """A client of the demo's server, once that many books of the first venue are shown."""
    client = redis_sync.Redis(unix_socket_path=str(home / "run" / "redis.sock"))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if client.hlen("LIVE_ORDERBOOK") >= wanted:
                return client
        except redis_sync.ConnectionError:
            pass
        time.sleep(0.1)
    raise AssertionError("the demo did not start")
