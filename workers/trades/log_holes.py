"""Holes in the log's own numbers, where a venue's ids tell of none: what the log lacks, and what ingest says it missed.

Of the first nothing can be asked for; for the stretch that ingest missed REST is asked (see `backfill`).
"""

from __future__ import annotations

from typing import Final

import structlog

from workers.model.trades.numbering import BREAK_ROOM
from workers.store.trades.fold import TradeStore
from workers.trades.backfill import CONNECTION, Backfill, tell_break
from workers.trades.repair import MISSING
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

NOT_IN_LOG: Final = "the log does not have them"


class LogHoles:
    """Passes over holes for one venue whose trade ids are not consecutive."""

    def __init__(self, store: TradeStore, backfill: Backfill) -> None:
        self._store = store
        self._backfill = backfill

    async def pass_over(self, tape: OwnedTape, expected: int, seen: int) -> None:
        """Fill what can be had of the numbers `expected`..`seen - 1`, and accept that the others are no trades.

        Raises:
            LeaseLost: the symbol is another worker's.
            RedisError: Redis went away; the hole is found again by the next batch.
        """
        first = await self._backfill.go_on(tape, expected)
        breaks = sorted(number for number in tape.breaks if first <= number < seen)
        for number, following in zip(breaks, [*breaks, seen][1:], strict=True):
            await self._missing(tape, first, number - 1)
            first = number + 1
            if following - number > BREAK_ROOM:
                await self._backfill.fill(tape, number)
                first += BREAK_ROOM
                continue
            await self._store.skip(
                tape.claim.symbol, number, number, tape.token, reason=CONNECTION, passing="break"
            )
            tell_break(tape, number, "the log left no numbers free for them")
        await self._missing(tape, first, seen - 1)

    async def _missing(self, tape: OwnedTape, first: int, last: int) -> None:
        if last < first:
            return
        done = await self._store.skip(tape.claim.symbol, first, last, tape.token, reason=NOT_IN_LOG)
        MISSING.labels(tape.claim.context.name).inc(done.missing)
        tape.figures.missing(done.missing)
        log.error("trades_missing", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first,
                  last=last, reason=NOT_IN_LOG)  # fmt: skip
