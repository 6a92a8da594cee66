"""Telling what the trades fold lacks where Redis lost it, and it began anew."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.runtime.tasks import seen
from workers.store.keys import TRADES
from workers.store.log.streams import gap_recorded
from workers.trades.repair import Repair
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

REASON: Final = "redis lost its data"


class LostData:
    """Records the trades between the fold that was lost and the new one, beside the worker's loop.

    Args:
        repairs: by venue.
    """

    def __init__(self, client: Redis, repairs: Mapping[str, Repair]) -> None:
        self._client = client
        self._repairs = repairs
        self._recording: set[asyncio.Task[None]] = set()

    def start(self, tape: OwnedTape, first: int, last: int) -> None:
        """Redis lost the fold, which began anew: say which trades it lacks between the two."""
        log.error("trades_state_lost", venue=tape.claim.context.name, symbol=tape.claim.symbol, first=first,
                  last=last)  # fmt: skip
        if last >= first or tape.is_numbered:  # the log's numbers may have begun anew, and tell nothing then
            recording = self._record(tape, first, last)
            task = seen(asyncio.create_task(recording, name=f"trades: loss of {tape.claim.symbol}"))
            self._recording.add(task)
            task.add_done_callback(self._recording.discard)

    async def _record(self, tape: OwnedTape, first: int, last: int) -> None:
        gaps = tape.claim.context.keys.gaps(tape.claim.symbol)
        try:
            if await gap_recorded(self._client, gaps, TRADES, REASON, last):
                return  # by another owner, which knew of it too
            await self._repairs[tape.claim.context.name].record(tape, first, last, REASON, "no")
        except (RedisError, OSError) as error:
            log.error("gap_not_recorded", symbol=tape.claim.symbol, first=first, error=str(error))
