"""Holes in the log's own numbers, where a venue's ids tell of none: what the log lacks, and what ingest says it missed.

Such a hole cannot be asked for: REST knows the venue's ids, and those say nothing of how many trades are missing.
"""

from __future__ import annotations

from typing import Final

import structlog
from prometheus_client import Counter

from workers.store.trades.fold import TradeStore
from workers.trades.repair import MISSING
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

BREAKS = Counter(
    "fleet_trades_breaks_total",
    "Times the trades of a symbol were not received, of a venue that does not tell which",
    ["venue"],
)
CONNECTION: Final = "connection"
"""Why trades are missing: nobody was connected, or the connection lost some."""
NOT_IN_LOG: Final = "the log does not have them"


class LogHoles:
    """Passes over holes for one venue whose trade ids are not consecutive."""

    def __init__(self, store: TradeStore) -> None:
        self._store = store

    async def pass_over(self, tape: OwnedTape, expected: int, seen: int) -> None:
        """Accept that the numbers `expected`..`seen - 1` are no trades that can be had.

        Raises:
            LeaseLost: the symbol is another worker's.
            RedisError: Redis went away; the hole is found again by the next batch.
        """
        first = expected
        for number in sorted(number for number in tape.breaks if expected <= number < seen):
            await self._missing(tape, first, number - 1)
            await self._store.skip(
                tape.claim.symbol, number, number, tape.token, reason=CONNECTION, is_break=True
            )
            BREAKS.labels(tape.claim.context.name).inc()
            log.error("trades_break", venue=tape.claim.context.name, symbol=tape.claim.symbol, number=number)
            first = number + 1
        await self._missing(tape, first, seen - 1)

    async def _missing(self, tape: OwnedTape, first: int, last: int) -> None:
        if last < first:
            return
        done = await self._store.skip(tape.claim.symbol, first, last, tape.token, reason=NOT_IN_LOG)
        MISSING.labels(tape.claim.context.name).inc(done.missing)
        tape.figures.missing(done.missing)
        log.error("trades_missing", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first,
                  last=last, reason=NOT_IN_LOG)  # fmt: skip
