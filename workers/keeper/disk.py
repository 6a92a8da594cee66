"""Saying that the disk of the run directory fills, before it is full: then Redis refuses every write."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog
from prometheus_client import Gauge

log = structlog.get_logger()

FREE = Gauge("fleet_disk_free_bytes", "Free space on the disk of the run directory")
LOW = Gauge("fleet_disk_low", "1 while less than keeper.disk_low_mb is free there")


class DiskWatch:
    """Looks at one disk.

    Args:
        folder: on the disk.
        low_mb: what is too little; 0 never is.
    """

    def __init__(self, folder: Path, low_mb: int) -> None:
        self._folder = folder
        self._low_bytes = low_mb * 2**20
        self.low = False

    def look(self) -> dict[str, str | int | float]:
        """Measure, tell once when it becomes low and when it is no more; what the heartbeat shows of it."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:  # the folder is gone: nothing can be said of its disk
            log.debug("disk_unknown", folder=str(self._folder), error=str(error))
            return {}
        FREE.set(free)
        low = free < self._low_bytes
        LOW.set(low)
        if low and not self.low:
            log.error(
                "disk_low", folder=str(self._folder), free_mb=free // 2**20, low_mb=self._low_bytes // 2**20
            )
        elif self.low and not low:
            log.info("disk_enough", folder=str(self._folder), free_mb=free // 2**20)
        self.low = low
        return {"disk_free_mb": free // 2**20, "disk_low": int(low)}
