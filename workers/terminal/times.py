"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import typer

LATEST_MS: Final = 253_402_300_800_000
"""The year 10000: later than everything."""
_LONGEST_YEAR: Final = 8
"""Digits of a date such as 20261120; what has more is a number of milliseconds."""


def time_ms(text: str, option: str) -> int:
    """A time as people write it, in ms: ISO 8601 (UTC unless it says otherwise) or ms since 1970.

    Raises:
        BadParameter: it is neither.
    """
    text = text.strip()
    try:
        if text.isdigit() and len(text) > _LONGEST_YEAR:
            time = int(text)
        else:
            read = datetime.fromisoformat(text)
            time = round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
    except ValueError as error:
        problem = f"{text!r} is no time; write one like 2026-11-20T12:00 or 1790000000000."
        raise typer.BadParameter(problem, param_hint=option) from error
    if not 0 <= time < LATEST_MS:
        raise typer.BadParameter(f"{text!r} is not in milliseconds since 1970.", param_hint=option)
    return time


def clock_text(time_ms: int) -> str:
    """A time in ms for people, UTC: `2026-11-20 12:00:00.250`."""
    when = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03d}"
