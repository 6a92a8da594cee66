"""Which books a worker serves while its streams bring more than it can fold: few that are right, not all too late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SLOW: Final = 0.5
"""Of the lag that is allowed: a round that takes longer makes some books late, the next one perhaps all."""
QUICK: Final = 0.1
LEFT_AT_ONCE: Final = 0.25
"""Of the books served, those that are left behind by a slow round."""
SLOW_ROUNDS: Final = 2
"""In a row: one alone may have waited for Redis."""
QUICK_ROUNDS: Final = 3
"""Quick rounds in a row before one that was left behind is taken back."""


class Attention:
    """Leaves the least important books behind while rounds are slow, and takes them back one by one.

    Args:
        behind_s: how far a book may be behind its stream and still be shown.

    A round serves `served` and then, if there is one, `returning`, which is read until it has come to the end of its
    stream. Keys are always given in the order of their importance; at least one is served. O(keys) a round.
    """

    def __init__(self, behind_s: float) -> None:
        self._behind_s = behind_s
        self._left: set[str] = set()
        self._quick = self._slow = 0
        self.returning: str | None = None

    def served(self, keys: Sequence[str]) -> list[str]:
        """Those to be read in this round."""
        self._left.intersection_update(keys)
        if self.returning not in self._left:
            self.returning = None
        return [key for key in keys if key not in self._left]

    @property
    def left(self) -> frozenset[str]:
        """Those that wait for better times."""
        return frozenset(self._left)

    def returned(self) -> None:
        """`returning` has come to the end of its stream: it is served like the others."""
        if self.returning is not None:
            self._left.discard(self.returning)
            self.returning = None

    def round_took(self, keys: Sequence[str], seconds: float) -> list[str]:
        """A round over these keys took so long (what `returning` took aside); those left behind because of it."""
        served = self.served(keys)
        self._slow = self._slow + 1 if seconds > SLOW * self._behind_s else 0
        if self._slow >= SLOW_ROUNDS:
            self._quick = 0
            spared = served[-max(1, int(len(served) * LEFT_AT_ONCE)) :] if len(served) > 1 else []
            self._left.update(spared)
            self.returning = None
            return spared
        self._quick = self._quick + 1 if seconds < QUICK * self._behind_s else 0
        if self._left and self.returning is None and self._quick >= QUICK_ROUNDS:
            self.returning = next(key for key in keys if key in self._left)
        return []

    def check(self) -> None:
        """Assert every invariant."""
        assert self.returning is None or self.returning in self._left
