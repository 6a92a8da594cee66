"""What differs in a world from what was to be, in sentences."""

from __future__ import annotations

from typing import Final

MOST_PROBLEMS: Final = 5


class Problems:
    """The first few problems of one world.

    Args:
        name: begins each of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.problems: list[str] = []

    def problem(self, sentence: str) -> None:
        """Note what differs."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{self._name}: {sentence}")

    def expect(self, held: bool, sentence: str) -> None:
        """Note a problem unless something holds."""
        if not held:
            self.problem(sentence)
