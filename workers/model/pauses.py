"""Pauses between tries that fail: each is twice as long as the one before, up to a longest one."""

from __future__ import annotations


class Pauses:
    """The pauses of one thing that is tried again.

    Args:
        first_s: the first pause, seconds.
        longest_s: the longest, seconds.
    """

    __slots__ = ("_first_s", "_longest_s", "is_first", "next_s")

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self.next_s = self._first_s
        self.is_first = True

    def take(self) -> float:
        """The pause to make now, seconds; the next one is twice as long."""
        pause_s, self.is_first = self.next_s, False
        self.next_s = min(pause_s * 2, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """It succeeded: the next failure is the first again."""
        self.is_first, self.next_s = True, self._first_s
