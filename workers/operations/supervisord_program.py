"""supervisord as the fleet runs it: what its logs cannot write, on a full disk, never ends it.

The package's own handlers raise out of a rotation that fails, and report every other failure on standard error, which
may lie on the same disk; either ends supervisord, and with it the fleet, for good.
"""

from __future__ import annotations

import sys
from typing import Any

from supervisor import loggers, supervisord

from workers.runtime.logs import UnfailingStream


class PatientFileHandler(loggers.RotatingFileHandler):  # type: ignore[misc]  # the package has no types
    """A log file that loses what cannot be written, and goes on when it can."""

    stream: Any

    def emit(self, record: Any) -> None:
        """Write a record, if that is possible now."""
        try:
            if self.stream.closed:  # a rotation failed half-way
                self.stream = open(self.baseFilename, "ab")  # noqa: SIM115 -- closed by the handler
            super().emit(record)
        except (OSError, ValueError):
            return

    def handleError(self) -> None:  # noqa: N802 -- the package's name
        """Say nothing: there is no place to say it."""


def main() -> None:
    """Run supervisord with the arguments of this process."""
    loggers.RotatingFileHandler = PatientFileHandler
    sys.stdout, sys.stderr = UnfailingStream(sys.stdout), UnfailingStream(sys.stderr)
    supervisord.main()


if __name__ == "__main__":
    main()
