"""Ends a process whose event loop is stuck in code that never awaits: nothing else in it could.

Its leases run out and others take its symbols, but it would burn a core for ever, deaf to TERM, and never be started
again. Counted is the CPU this process has spent, not time: one that is starved, or was stopped, is not stuck.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Final

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

STUCK = Counter("fleet_loop_stuck_total", "Event loops that were stuck in code that never awaits", ["role"])

CPU_S: Final = 30.0
"""CPU spent without once doing what is due; the longest piece of work, a list of 64 MB, takes a few seconds."""
EXIT_CODE: Final = 1
FRAMES: Final = 4
"""Innermost calls that are told."""


class LoopWatch:
    """Watches the event loop of the main thread, by a timer of the kernel (`ITIMER_VIRTUAL`).

    Args:
        role: for metrics and logs.
        cpu_s: CPU the process may spend between two calls of `fed`.
    """

    def __init__(self, role: str, cpu_s: float) -> None:
        self._role = role
        self._cpu_s = cpu_s

    def arm(self) -> None:
        """Begin."""
        signal.signal(signal.SIGVTALRM, self._stuck)
        self.fed()

    def fed(self) -> None:
        """The loop has come round. Cost: one system call."""
        signal.setitimer(signal.ITIMER_VIRTUAL, self._cpu_s)

    def disarm(self) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _stuck(self, _number: int, frame: FrameType | None) -> None:
        STUCK.labels(self._role).inc()
        calls = traceback.extract_stack(frame)[-FRAMES:]
        places = [f"{call.filename.rpartition('/')[2]}:{call.lineno}" for call in calls]
        log.error("loop_stuck", role=self._role, cpu_s=self._cpu_s, at=places)
        sys.stderr.flush()
        os._exit(EXIT_CODE)  # an exception could be caught where the loop goes round
