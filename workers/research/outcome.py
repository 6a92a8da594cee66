"""What became of an imported file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

TOLD: Final = 20
"""Problems and holes of a file that are told one by one; all are counted."""


@dataclass
class Imported:
    """One file.

    Args:
        kind: a dataset of Tardis, or a kind of official file.
    """

    file: str
    kind: str
    venue: str
    symbols: list[str] = field(default_factory=list)
    rows: int = 0
    """Read."""
    written: int = 0
    """Rows of the archive; of a book each is a message of several rows."""
    present: int = 0
    """The same, that the archive had already."""
    files: int = 0
    repeated: int = 0
    """Rows of an id that came before."""
    ignored: int = 0
    """Changes of a book before its first whole one; windows of klines without a trade."""
    holes: int = 0
    """Whole books in the middle: messages are missing before them."""
    unordered: int = 0
    """Trades whose local time, or whose id in an official file, is before that of the row above; they are filed."""
    other_day: int = 0
    """Trades of another day than the official file's name says; they are filed."""
    crossed: int = 0
    """Messages after which a book's best bid was at or above its best ask."""
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    """The first of them, with file and line."""
    notes: list[str] = field(default_factory=list)
    """The first holes."""

    def problem(self, text: str) -> None:
        """A row that could not be used."""
        self.problem_count += 1
        if len(self.problems) < TOLD:
            self.problems.append(text)

    def note(self, text: str) -> None:
        """Something to know of it."""
        if len(self.notes) < TOLD:
            self.notes.append(text)

    def back_in_time(self, line: int) -> None:
        """A row that is used, but stands in the wrong place."""
        if not self.unordered:
            self.note(f"{self.file}, line {line}: its local_timestamp is before that of the row above.")
        self.unordered += 1

    def rename(self, file: str, name: str) -> None:
        """Call the file by what it is a copy of."""
        self.file = name
        self.problems = [text.replace(file, name) for text in self.problems]
        self.notes = [text.replace(file, name) for text in self.notes]

    @property
    def fine(self) -> bool:
        """Whether every row was used, and every book was one."""
        return not (self.problem_count or self.crossed)

    def count(self, filings: Any) -> None:
        """Take over what was filed."""
        for filing in filings:
            self.written += filing.written
            self.present += filing.present
            self.files += filing.files
