"""Telling what the trades fold lacks where Redis lost it, and it began anew.

Only a worker that had the symbol before knows how far the fold was. Whoever takes it after the loss may be another,
which folds on from nothing; so the one that knows looks at what it does not own any more, until it is seen whether
something is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import StateUnreadable
from workers.runtime.tasks import seen
from workers.store.keys import TRADES
from workers.store.log.streams import gap_recorded
from workers.store.trades.fold import TradesState, TradeStore
from workers.trades.repair import Repair
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

REASON: Final = "redis lost its data"


class LostData:
    """Knows how far the folds were, and records the trades between one that was lost and the new one.

    Args:
        stores: by venue.
        repairs: by venue.
    """

    def __init__(
        self, client: Redis, stores: Mapping[str, TradeStore], repairs: Mapping[str, Repair]
    ) -> None:
        self._client = client
        self._stores = stores
        self._repairs = repairs
        self._last_ids: dict[str, int] = {}
        """By raw stream key, the last id this worker knows to be applied: it outlives what Redis may lose."""
        self._left: dict[str, OwnedTape] = {}
        """By raw stream key, tapes given up of which it is not known yet whether the fold went on."""
        self._recording: set[asyncio.Task[None]] = set()

    def restored(self, tape: OwnedTape, state: TradesState) -> None:
        """A tape was taken up, and its fold is there."""
        self._left.pop(tape.key, None)
        if state.last_id < 0:
            tape.lost_after = self._last_ids.get(tape.key)
        else:
            tape.lost_after = None
            self._compare(tape, state)
            self._last_ids[tape.key] = state.last_id

    def applied(self, tape: OwnedTape, last_id: int) -> None:
        """The fold has come to this id; to be told before the trades are taken off the tape."""
        if tape.lost_after is not None:
            self._start(tape, tape.lost_after + 1, tape.waiting[0][1].trade_id - 1)
            tape.lost_after = None
        self._last_ids[tape.key] = last_id

    def left(self, tape: OwnedTape) -> None:
        """A tape is not this worker's any more."""
        if tape.key in self._last_ids:
            self._left[tape.key] = tape

    def retired(self, key: str) -> None:
        """The symbol of a raw stream is followed no more: if it is listed again, that is no loss of data."""
        self._last_ids.pop(key, None)
        self._left.pop(key, None)

    async def look(self) -> None:
        """See whether the folds given up went on. Cost: one round trip for each, until that is seen."""
        for key, tape in list(self._left.items()):
            try:
                state = await self._stores[tape.claim.context.name].state(tape.claim.symbol)
            except StateUnreadable:
                continue
            if state.last_id >= 0 and self._left.get(key) is tape:
                del self._left[key]
                self._compare(tape, state)

    def _compare(self, tape: OwnedTape, state: TradesState) -> None:
        """Another worker, which knew nothing of before, may have begun the fold anew; or a server lost its end."""
        known = self._last_ids.get(tape.key, -1)
        if tape.is_numbered:  # a break leaves numbers free, so they do not tell where the fold began
            if state.last_id < known:
                self._start(tape, known + 1, state.last_id)
        elif 0 <= known < state.began_id - 1:
            self._start(tape, known + 1, state.began_id - 1)

    def _start(self, tape: OwnedTape, first: int, last: int) -> None:
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
