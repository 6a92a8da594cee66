"""What the doctor finds."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    level: Level
    found: str
    """What is there."""
    means: str = ""
    """What follows from it; empty when it is fine."""
    do: str = ""
    """What to do about it."""
    details: dict[str, Any] | None = None
    """Figures, for `--json`."""


def megabytes(size: float) -> str:
    """Bytes for people."""
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size / 1e3:,.0f} kB"
