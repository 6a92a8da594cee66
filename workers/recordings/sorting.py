"""Trades in any order, in order of their ids: in memory as long as they are few, else in a temporary file."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Final

import msgspec

from workers.model.events import Trade
from workers.model.trades.reordering import Reordering

IN_MEMORY: Final = 200_000
"""Trades kept in memory, about 100 MB."""
MOST_RUNS: Final = 64
"""Temporary files; where disorder needs more, two become one."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Trade).decode


def _id_of(trade: Trade) -> int:
    return trade.trade_id


class _Run:
    """Trades in order, in a file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="fleet-trades-")  # noqa: SIM115 -- ends with the run
        self.last = -1

    def append(self, trade: Trade) -> None:
        self._file.write(_encode(trade) + b"\n")
        self.last = trade.trade_id

    def read(self) -> Iterator[Trade]:
        self._file.seek(0)
        with self._file:
            yield from map(_decode, self._file)


class TradeSorter:
    """Takes trades in any order and gives them out by id.

    Cost: O(log n) a trade for a list that is nearly in order, or made of a few that are. Memory: `IN_MEMORY` trades.
    """

    def __init__(self, in_memory: int = IN_MEMORY, most_runs: int = MOST_RUNS) -> None:
        self._most_runs = most_runs
        self._reordering: Reordering[Trade] = Reordering(_id_of, in_memory)
        self._runs: list[_Run] = []

    def put(self, trades: Iterable[Trade]) -> None:
        """Take trades in."""
        for trade in self._reordering.put(trades):
            self._file(trade)

    def _file(self, trade: Trade) -> None:
        """Append to the run whose end is nearest below: every run stays in order, and there are as few as can be."""
        fitting = [run for run in self._runs if run.last <= trade.trade_id]
        if fitting:
            run = max(fitting, key=lambda one: one.last)
        else:
            if len(self._runs) >= self._most_runs:
                self._runs = [_joined(self._runs)]
            run = _Run()
            self._runs.append(run)
        run.append(trade)

    def in_order(self) -> Iterator[Trade]:
        """All that was put, once."""
        yield from heapq.merge(*(run.read() for run in self._runs), self._reordering.rest(), key=_id_of)


def _joined(runs: list[_Run]) -> _Run:
    joined = _Run()
    for trade in heapq.merge(*(run.read() for run in runs), key=_id_of):
        joined.append(trade)
    return joined
