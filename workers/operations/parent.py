"""Ending with the parent: no worker outlives a supervisord that was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1
_INIT: Final = 1
"""Process id of what takes in those whose parent has died."""


def end_with_parent() -> None:
    """Have this process terminated when its parent dies (Linux; elsewhere nothing happens).

    It survives an exec, and is what keeps a `kill -9` of supervisord from leaving a second fleet behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))


def has_lost_supervisord(environ: Mapping[str, str]) -> bool:
    """Whether the supervisord that started this process died before `end_with_parent` was called.

    Of that death no signal tells: a worker that was just starting would be left for ever. In a container
    supervisord may itself be the process that takes in orphans.
    """
    if "SUPERVISOR_ENABLED" not in environ or os.getppid() != _INIT:
        return False
    try:
        return b"supervisord" not in Path(f"/proc/{_INIT}/cmdline").read_bytes()
    except OSError:
        return False
