"""Which of several processes of one line follows a symbol: by rendezvous hashing, so that each knows it alone.

No process asks another one, and a symbol's place depends on nothing but its name and the number of processes: a list
that changes moves no other symbol, and one process more moves only those that it takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

MOST_PROCESSES: Final = 30
"""Of one role: their metrics have ports of their own."""
KNOWN: Final = 20_000
"""Places of symbols that are remembered: a hash takes a microsecond for each process."""


@lru_cache(KNOWN)
def process_of(symbol: str, processes: int) -> int:
    """The number, from 0, of the process that follows a symbol. Cost: O(processes), remembered."""
    return max(range(processes), key=lambda number: _weight(number, symbol))


def _weight(number: int, symbol: str) -> bytes:
    return hashlib.blake2b(f"{number}\0{symbol}".encode(), digest_size=8).digest()


class Share(NamedTuple):
    """The part of a line's symbols that one of its processes follows."""

    number: int = 0
    processes: int = 1

    def has(self, symbol: str) -> bool:
        """Whether a symbol belongs to it. Cost: O(1) for those asked for before."""
        if self.processes <= 1:
            return self.processes == 1
        return process_of(symbol, self.processes) == self.number

    @classmethod
    def from_heartbeat(cls, details: Mapping[str, str]) -> Share:
        """That of a heartbeat (`process`, `processes`): of one that tells none every symbol, of rubbish no symbol."""
        number = _small(details.get("process", "0"))
        processes = _small(details.get("processes", "1"))
        return cls(number, processes) if 0 <= number < processes <= MOST_PROCESSES else cls(0, 0)


WHOLE: Final = Share()
"""That of a process that shares with none."""


def _small(text: str) -> int:
    """A number of at most two digits; -1 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else -1
