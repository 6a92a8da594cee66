"""What came of a scenario on one of the levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from workers.settings.exchanges import DEFAULT

Level = Literal["model", "fleet"]
LEVELS: Final[tuple[Level, ...]] = ("model", "fleet")


@dataclass
class Result:
    """What came of one scenario on one level."""

    name: str
    level: Level
    expected: str
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    venues: list[str] = field(default_factory=lambda: [DEFAULT])
    """What it ran on: the exchange that everything runs on, or markets of others."""

    @property
    def passed(self) -> bool:
        """Whether nothing differed."""
        return not self.problems

    def as_object(self) -> dict[str, Any]:
        """The result as the JSON report has it."""
        return {
            "name": self.name,
            "level": self.level,
            "venues": self.venues,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "expected": self.expected,
            "problems": self.problems,
            "facts": self.facts,
        }
