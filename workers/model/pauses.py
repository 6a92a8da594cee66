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


class Relapses:
    """The pauses before one thing that was lost is made anew, which costs something: longer while it does not last.

    Args:
        first_s, longest_s: as of `Pauses`.
        steady_s: what has lasted so long, seconds, was no relapse when it is lost.
    """

    __slots__ = ("_began", "_pauses", "_steady_s")

    def __init__(self, first_s: float, longest_s: float, steady_s: float) -> None:
        self._pauses, self._steady_s = Pauses(first_s, longest_s), steady_s
        self._began = float("-inf")

    def began(self, now: float) -> None:
        """It is there again (seconds of any clock)."""
        self._began = now

    def lost(self, now: float) -> float:
        """It is lost: the pause to make now, seconds; none where it had lasted."""
        if now - self._began < self._steady_s:
            return self._pauses.take()
        self._pauses.reset()
        return 0.0
