"""The system's own list of processes: a fleet is found and ended by pid, whatever became of its files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
POLL_S: Final = 0.05
SUPERVISORD: Final = "workers.operations.supervisord_program"


class Running(NamedTuple):
    """A process; `started` tells it from a later one that was given the same pid."""

    pid: int
    parent: int
    started: str
    command: tuple[str, ...]


def processes() -> list[Running]:
    """Every process that can be seen. Cost: one or two small files each, or one call of `ps`."""
    if not (PROC / "self" / "stat").exists():
        return _listed_by_ps()
    found = (_read(int(folder.name)) for folder in PROC.glob("[0-9]*"))
    return [process for process in found if process is not None]


def _read(pid: int) -> Running | None:
    try:
        # the name, in brackets, may hold anything
        fields = (
            (PROC / str(pid) / "stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        command = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    return Running(pid, int(fields[1]), fields[19], tuple(command.split("\0")[:-1]))


def _listed_by_ps() -> list[Running]:
    columns = ["ps", "-axww", "-o", "pid=", "-o", "ppid=", "-o", "lstart=", "-o", "args="]
    try:
        done = subprocess.run(columns, capture_output=True, text=True, check=False)  # noqa: S603 -- nothing of others in it
    except OSError:
        return []
    rows = (line.split(None, 7) for line in done.stdout.splitlines())
    return [
        Running(int(row[0]), int(row[1]), " ".join(row[2:7]), tuple(row[7].split()))
        for row in rows
        if len(row) == 8
    ]


def supervisord_of(conf: Path) -> int | None:
    """The process id of the supervisord that runs a conf file, also when the file is gone."""
    arguments = [SUPERVISORD, "-c", *str(conf).split()]
    for process in processes():
        words = [part for word in process.command for part in word.split()]
        if any(words[place : place + len(arguments)] == arguments for place in range(len(words))):
            return process.pid
    return None


def family(pid: int) -> list[Running]:
    """A process and everything that descends from it, parents first."""
    everything = processes()
    found = [process for process in everything if process.pid == pid]
    for parent in found:
        found += [process for process in everything if process.parent == parent.pid]
    return found


def foreground_of(supervisord: Running) -> list[Running]:
    """The `fleet demo` or `fleet live` that has started a supervisord, if one has."""
    return [
        process
        for process in processes()
        if process.pid == supervisord.parent
        and any("workers.cli" in word or word.endswith("fleet") for word in process.command)
    ]


def is_alive(process: Running) -> bool:
    """Whether it runs; a child of ours that has ended is collected on the way."""
    with suppress(ChildProcessError):
        if os.waitpid(process.pid, os.WNOHANG)[0] == process.pid:
            return False
    if (PROC / "self" / "stat").exists():
        now = _read(process.pid)
        return now is not None and now.started == process.started
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def wait_for_end(members: Iterable[Running], seconds: float) -> list[Running]:
    """Wait until all have ended; those that have not after so many seconds."""
    deadline = time.monotonic() + seconds
    left = list(members)
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return left


def send(members: Sequence[Running], number: signal.Signals) -> None:
    """Send a signal to those that still run."""
    for process in members:
        if is_alive(process):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
