"""A disk that is full for a while costs what could not be written, and nothing else; it was said before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_sync
from demo_runs import wait_for_books
from fleet_runs import plain_environment

from workers.errors import CommandError
from workers.keeper.disk import FREE, LOW, DiskWatch
from workers.operations.foreground import ForegroundFleet
from workers.operations.supervision import Supervisor
from workers.runtime.logs import LOST, UnfailingStream
from workers.terminal.output import note

PATIENCE_S = 120


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 48 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a small file system")
    folder = tmp_path_factory.mktemp("d")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing more fits."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def until(what: str, condition: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def refuses(client: redis_sync.Redis) -> bool:
    try:
        client.set("full", "1")
    except redis_sync.ResponseError:
        return True
    except redis_sync.ConnectionError:
        return False
    return False


def newest(client: redis_sync.Redis) -> int:
    try:
        entry = client.xrevrange("book:{BTCUSDT}:top", count=1)
    except redis_sync.RedisError:
        return 0
    return int(entry[0][0].split(b"-")[0]) if entry else 0


def runs(supervisor: Supervisor, name: str) -> bool:
    try:
        return any(row["name"] == name and row["statename"] == "RUNNING" for row in supervisor.processes())
    except CommandError:
        return False


@pytest.mark.e2e
@pytest.mark.xdist_group("fleets")
def test_a_fleet_outlives_a_full_disk(small_disk: Path):
    home = small_disk / "home"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.cli", "demo"],
        env=plain_environment(
            FLEET_HOME=str(home),
            FLEET_VENUES__USDM__SYMBOLS="BTCUSDT",
            FLEET_VENUES__SPOT__SYMBOLS="ETHUSDT",
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        client = wait_for_books(home, 1)
        until("disk_low was logged", lambda: "disk_low" in (home / "log" / "keeper.log").read_text())
        supervisor = Supervisor(home)
        pid = supervisor.pid()
        ballast = fill(small_disk)
        until("Redis refuses writes", lambda: refuses(client))
        for _ in range(3):  # supervisord has to say this in its own log
            supervisor.call("stopProcess", "keeper")
            supervisor.call("startProcess", "keeper", False)
            # a signal that comes while supervisord has forked and not yet executed it is lost, and stopping takes 30 s
            until("the keeper runs for the moment", lambda: runs(supervisor, "keeper"))
        time.sleep(3)
        assert supervisor.pid() == pid
        ballast.unlink()
        freed = int(time.time() * 1000)
        until("books are published again", lambda: newest(client) > freed)
        until("the keeper runs again", lambda: runs(supervisor, "keeper"))
        assert supervisor.pid() == pid
        os.kill(pid or 0, signal.SIGKILL)
        until("supervisord was started again", lambda: supervisor.pid() not in (None, pid))
        until("the keeper was, too", lambda: runs(supervisor, "keeper"))
        killed = int(time.time() * 1000)
        until("books are published once more", lambda: newest(client) > killed)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors


class Full:
    """A stream on a full disk."""

    full = True

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        self.text += text
        return len(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")

    def isatty(self) -> bool:
        return False


def test_a_log_that_cannot_be_written_ends_nothing():
    disk = Full()
    stream, before = UnfailingStream(disk), LOST._value.get()  # type: ignore[arg-type]
    print("lost", file=stream, flush=True)
    assert LOST._value.get() > before
    disk.full = False
    print("kept", file=stream, flush=True)
    assert disk.text == "kept\n"


def test_what_cannot_be_said_ends_no_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Child:
        def wait(self, seconds: float) -> int:
            return 0

    fleet = ForegroundFleet(None, {"FLEET_HOME": str(tmp_path), "FLEET_API__PORT": "0"})
    monkeypatch.setattr(fleet.supervisor, "start_child", lambda *_: Child())
    monkeypatch.setattr(fleet.supervisor, "call", lambda *_, seconds=0.0: None)
    monkeypatch.setattr(fleet.supervisor, "stop", lambda: True)
    monkeypatch.setattr(sys, "stderr", Full())
    with fleet.running():
        note("what supervisord does")
    note("Stopped.")


def test_the_keeper_says_that_the_disk_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    free = 10 * 2**30
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())
    watch = DiskWatch(tmp_path, 1024)
    assert watch.look() == {"disk_free_mb": 10_240, "disk_low": 0}
    free = 1023 * 2**20
    assert watch.look() == {"disk_free_mb": 1023, "disk_low": 1}
    assert (FREE._value.get(), LOW._value.get()) == (free, 1)
    free = 2**31
    watch.look()
    assert not watch.low
