"""Ending with the parent: no worker outlives a supervisord that was killed."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1


def end_with_parent() -> None:
    """Have this process terminated when its parent dies (Linux; elsewhere nothing happens).

    It survives an exec, and is what keeps a `kill -9` of supervisord from leaving a second fleet behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))
