"""How late this process does what is due: starved of CPU, stopped for a while, or busy for too long in one go.

Leases and heartbeats of a late worker are given more time, so that it is not taken for dead while it works: the symbols
of a worker that loses them for its slowness would go to others that then are slower still, and back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Gauge

LATE = Gauge("fleet_loop_late_seconds", "How late this worker does what is due, at worst in the last seconds")

EVERY_S: Final = 0.1
FORGOTTEN: Final = 0.97
"""Of a lateness, what is left of it a tenth of a second later: half is gone after 2.3 s."""
TIMES: Final = 3
"""A pause may be followed by two more before something due is done."""
MOST: Final = 5
"""Times its usual length, a lease or heartbeat lasts at most: a dead worker's symbols wait for their end."""


class Pulse:
    """Measures the lateness of one event loop. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self.beat: Callable[[], None] = lambda: None
        """Called ten times a second, as long as the loop comes round."""

    def observe(self, late_s: float) -> None:
        """Something that was due was done so much later. O(1)."""
        self.late_s = max(late_s, self.late_s * FORGOTTEN, 0.0)

    def extra_ms(self, usual_ms: int) -> int:
        """How much longer than usual something of this worker must be waited for."""
        return min(int(self.late_s * 1000 * TIMES), (MOST - 1) * usual_ms)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self.beat()
            began = time.monotonic()
            await asyncio.sleep(EVERY_S)
            self.observe(time.monotonic() - began - EVERY_S)
            LATE.set(self.late_s)


class Breath:
    """Lets the other tasks of a process, its leases and heartbeat, run between the pieces of long work."""

    def __init__(self, longest_s: float = 0.005) -> None:
        self._longest_s = longest_s
        self._since = time.monotonic()

    async def taken(self) -> None:
        """Let others run if this task has run for long."""
        if time.monotonic() - self._since >= self._longest_s:
            await asyncio.sleep(0)
            self._since = time.monotonic()
