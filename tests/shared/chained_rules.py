"""The rules by which the ids of events show that one is missing; those that only order have tests of their own."""

from __future__ import annotations

from typing import Final

from workers.model.books.sequence import SequenceRule

CHAINED: Final = [SequenceRule.SPOT, SequenceRule.FUTURES]
