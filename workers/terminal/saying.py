"""Lines of an answer, written one by one as they come."""

from __future__ import annotations

import sys
import time
from typing import Any

from workers.terminal.output import PLAIN_EVERY_S, json_line, note, visible
from workers.terminal.times import clock_text


def say_nothing(what: str, from_ms: int | None, to_ms: int | None) -> None:
    """Say that there is nothing to show, and of which stretch, on standard error."""
    since = f" from {clock_text(from_ms)}" if from_ms is not None else ""
    until = f" until {clock_text(to_ms)}" if to_ms is not None else ""
    future = " That is in the future." if from_ms is not None and from_ms > time.time() * 1000 else ""
    note(f"No {what}{since}{until} are held.{future}")


def say(line: str) -> None:
    """One line of the answer, at once."""
    sys.stdout.write(visible(line) + "\n")
    sys.stdout.flush()


def say_json(row: Any) -> None:
    """One JSON object of the answer, at once."""
    say(json_line(row).rstrip("\n"))


class SoFar:
    """Says now and then, on standard error, how far something has come.

    Args:
        what: is counted, such as `rows so far`.
        of: begins the line.
    """

    def __init__(self, what: str = "rows so far", of: str = "") -> None:
        self._what = what
        self._of = f"{of}: " if of else ""
        self._said = time.monotonic()

    def __call__(self, count: int) -> None:
        if time.monotonic() - self._said >= PLAIN_EVERY_S:
            self._said = time.monotonic()
            note(f"fleet: {self._of}{count:,} {self._what}")
