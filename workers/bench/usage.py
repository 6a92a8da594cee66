"""CPU and memory of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """Of one process at one moment."""

    cpu_s: float
    """CPU spent since its start, by all threads that live."""
    resident_bytes: int


def usage_of(pid: int) -> Usage:
    """What a process has used.

    `schedstat` counts nanoseconds, where `stat` counts ticks of 10 ms: at a few percent of a core, for some seconds,
    those would be coarse.

    Raises:
        FileNotFoundError: it has ended, or this system has no /proc.
    """
    folder = Path(f"/proc/{pid}")
    nanoseconds = 0
    for task in (folder / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            nanoseconds += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
    return Usage(nanoseconds / 1e9, pages * _PAGE_BYTES)


def usage_by_role(pids: Mapping[str, int]) -> dict[str, Usage]:
    """What each of several processes has used."""
    return {name: usage_of(pid) for name, pid in pids.items()}
