"""Ids of trades that cannot be believed at once, because they are far beyond the last.

Ids of a symbol's trades are consecutive. A jump of a million is a day of the busiest market, or an absurd number in one
message. What follows tells them apart: a stream goes on where it really is.
"""

from __future__ import annotations

from typing import Final

MOST_JUMP: Final = 1_000_000
"""An id further beyond the last one is believed only when it is confirmed. The busiest symbol has about 1.4 million
aggregate trades a day, and no line is away for so long without having been restarted."""
CONFIRMING: Final = 3
"""Messages in a row, one from another, that confirm each other."""


def is_far(expected: int, seen: int) -> bool:
    """Whether an id is too far beyond the one expected to be believed at once."""
    return seen - expected > MOST_JUMP
