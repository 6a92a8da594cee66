"""Which symbols are this worker's: by number until loads are known, then by what the symbols cost.

One of the role's live workers, the first by name, measures how many messages each stream gets and plans who has what
(`workers.model.symbols.balance`); all of them read the plan and give and take accordingly. What the plan does not say,
because somebody has died or a symbol was listed since, each worker computes for itself, all with the same result. A
plan is made anew when that happened, and once in a period where one worker has much more than it should; then a few
symbols move at a time, since each is recovered from its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from workers.errors import StateUnreadable
from workers.model.symbols.balance import Item, balance, deal, standing
from workers.runtime.context import VenueContext
from workers.runtime.process import Process
from workers.runtime.unreadable import UnreadableKeys
from workers.store.fleet.leases import share_of
from workers.store.fleet.plan import Plan, entries_added, generation_of, read_plan, write_plan

log = structlog.get_logger()

SMOOTHING: Final = 0.3
"""How much the last period counts against those before."""
FEWEST_MOVED, PART_MOVED = 8, 0.1
"""At a time so many symbols move at most, or this part of all: they are withheld for a moment."""

MOVED = Counter("fleet_symbols_moved_total", "Symbols given to another worker to even out the load", ["role"])
SKEW = Gauge(
    "fleet_load_skew", "By how much the busiest worker of a role is above the best possible split", ["role"]
)


class Sharing:
    """The share of one worker in a role, over all venues.

    Args:
        channel: by whose messages a symbol is weighed; empty: by number alone.
    """

    def __init__(self, process: Process, role: str, contexts: Sequence[VenueContext], channel: str) -> None:
        self._process = process
        self._role = role
        self._contexts = contexts
        self._period_s = process.settings.processes.balance_s if channel else 0.0
        self._streams = {
            context.name: lambda symbol, keys=context.keys: keys.raw(symbol, channel) for context in contexts
        }
        self._unreadable = UnreadableKeys(f"{role}: plan")
        self._plan: Plan | None = None
        self._owners: dict[Item, str] = {}
        self._loads: dict[Item, float] = {}
        self._counts: dict[Item, int] = {}
        self._counted_at = 0.0
        self._pending: dict[Item, str] = {}
        """Moves that were decided and wait for their turn."""

    async def look(self, live: Sequence[str]) -> None:
        """Take in the plan, and make a new one where that is this worker's part.

        Raises:
            RedisError: what was known before counts.
        """
        if not self._period_s:
            return
        await self._read()
        items = [(context.name, symbol) for context in self._contexts for symbol in context.symbols]
        if self._plan is not None:
            self._owners = deal(items, self._plan.owners, self._plan.loads, live)
        if live and live[0] == self._process.name and (len(live) > 1 or self._plan is not None):
            await self._keep(items, live)
        else:
            self._counts, self._pending = {}, {}

    def share(self, context: VenueContext, live: Sequence[str]) -> set[str]:
        """The symbols of a venue that this worker should own."""
        if self._plan is None:
            return share_of(self._process.name, context.symbols, live)
        return {
            symbol
            for symbol in context.symbols
            if self._owners.get((context.name, symbol)) == self._process.name
        }

    async def _read(self) -> None:
        try:
            generation = await generation_of(self._process.client, self._role)
            if generation != (self._plan.generation if self._plan else 0):
                self._plan = await read_plan(self._process.client, self._role)
            self._unreadable.looked("plan", [])
        except StateUnreadable as error:
            self._unreadable.looked("plan", [error])
            self._plan = None

    async def _keep(self, items: Sequence[Item], live: Sequence[str]) -> None:
        """Make a new plan where the last one does not fit any more, or the loads want it."""
        if self._plan is not None:
            self._loads = self._loads or dict(self._plan.loads)
            if not self._plan.workers.issuperset(live):
                # somebody has come: it gets its part at once, by the loads as they were
                await self._write(self._owners | balance(self._owners, self._loads, live), live)
                return
            if self._owners != self._plan.owners:
                await self._write(self._owners, live)
                return
        if await self._measure(items):
            await self._even_out(items, live)

    async def _measure(self, items: Sequence[Item]) -> bool:
        """Count messages once in a period; whether a period has passed that says something."""
        now = time.monotonic()
        if self._counts and now - self._counted_at < self._period_s:
            return False
        keys = [self._streams[venue](symbol) for venue, symbol in items]
        found = await entries_added(self._process.client, keys)
        before, seconds = self._counts, now - self._counted_at
        self._counts = {item: count for item, count in zip(items, found, strict=True) if count is not None}
        self._counted_at = now
        for item, count in self._counts.items():
            if count >= before.get(item, count + 1):  # one that was made anew begins anew
                rate = (count - before[item]) / seconds
                last = self._loads.get(item, rate)
                self._loads[item] = last + SMOOTHING * (rate - last)
        self._loads = {item: self._loads[item] for item in items if item in self._loads}
        return bool(before)

    async def _even_out(self, items: Sequence[Item], live: Sequence[str]) -> None:
        if self._plan is None:
            self._owners = {
                (context.name, symbol): worker
                for context in self._contexts
                for worker in live
                for symbol in share_of(worker, context.symbols, live)
            }
        before = standing(self._owners, self._loads, live)
        SKEW.labels(self._role).set(before.skew)
        self._pending = {
            item: worker for item, worker in self._pending.items() if item in self._owners and worker in live
        } or balance(self._owners, self._loads, live)
        most = max(FEWEST_MOVED, int(PART_MOVED * len(items)))
        moves = dict(list(self._pending.items())[:most])
        for item in moves:
            del self._pending[item]
        if not moves and self._plan is not None:
            return
        owners = self._owners | moves
        if moves:
            MOVED.labels(self._role).inc(len(moves))
            after = standing(owners, self._loads, live)
            log.info("symbols_moved", role=self._role, moved=len(moves), left=len(self._pending),
                     skew=round(before.skew, 2), skew_after=round(after.skew, 2))  # fmt: skip
        await self._write(owners, live)

    async def _write(self, owners: dict[Item, str], live: Sequence[str]) -> None:
        await write_plan(self._process.client, self._role, owners, self._loads)
        await self._read()
        self._owners = deal(owners, owners, self._loads, live)
