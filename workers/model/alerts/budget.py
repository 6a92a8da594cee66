"""How many messages were sent in an hour, and how many were withheld. Time is an argument."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

HOUR_MS: Final = 3_600_000
_STORED: Final = re.compile(r"([0-9]{1,15}) ([0-9]{1,15}) ([0-9]{1,15})")


class Budget(NamedTuple):
    """The messages of an hour; its text is how it is stored."""

    hour: int
    """Since 1970."""
    sent: int = 0
    """Those that count: all but those that say an alert is over."""
    withheld: int = 0
    """Not sent, and nobody was told yet how many they are."""

    def __str__(self) -> str:
        """As it is stored."""
        return f"{self.hour} {self.sent} {self.withheld}"


def budget_at(now_ms: int, stored: str) -> Budget:
    """What was stored, as it is now: in another hour nothing was sent yet."""
    hour, found = now_ms // HOUR_MS, _STORED.fullmatch(stored)
    if found is None:
        return Budget(hour)
    before = Budget(*map(int, found.groups()))
    return before if before.hour == hour else Budget(hour, 0, before.withheld)
