"""What came of comparing what is held with an official file, whatever its rows are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

EXAMPLES: Final = 10


@dataclass
class Outcome:
    """Counts of rows: trades by id, or windows by start; examples are the first that came up."""

    official: int = 0
    """Different ones in the official file."""
    held: int = 0
    """Different ones held of those the file holds or claims to hold."""
    equal: int = 0
    missing: int = 0
    """In the file, within our range, and not held."""
    extra: int = 0
    """Held, and not in the file though it covers them."""
    different: int = 0
    not_held: int = 0
    """In the file, but before the first or after the last that we have at all."""
    repeated: int = 0
    """Rows of the file that repeat an earlier one."""
    contradictory: int = 0
    """Rows of the file with the id, or the start, of an earlier one and other content."""
    fields: dict[str, int] = field(default_factory=dict)
    """How often each field differs."""
    examples: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def differences(self) -> int:
        """What keeps the two from being the same."""
        return self.missing + self.extra + self.different + self.contradictory

    def note(self, what: str, example: Any) -> None:
        """Count something and keep the first examples of it."""
        setattr(self, what, getattr(self, what) + 1)
        kept = self.examples.setdefault(what, [])
        if len(kept) < EXAMPLES:
            kept.append(example)

    def note_different(self, official: dict[str, Any], held: dict[str, Any], fields: Iterable[str]) -> None:
        """Count a row that is held otherwise than the file has it, and the fields in which it is."""
        names = list(fields)
        for name in names:
            self.fields[name] = self.fields.get(name, 0) + 1
        self.note("different", {"official": official, "held": held, "fields": names})
