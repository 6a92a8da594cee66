"""The request-weight budget of a REST pool, shared by every process of the fleet (`lua/budget.lua`)."""

from __future__ import annotations

import time
from enum import IntEnum

from redis.asyncio import Redis

from workers.store.keys import budget
from workers.store.scripts import Scripts


class Urgency(IntEnum):
    """How much of the limit a request may draw on, in thousandths of the share the settings allow."""

    AUDIT = 500
    START = 800
    BROKEN = 1000


class Budget:
    """Asks for leave to send a request.

    Args:
        pool: requests that share an exchange limit share a pool (`spot`; `um+cm`).
        assumed_limit: weight a minute while the exchange's own limit is not known.
        share: part of the limit the fleet may use.
        fixed_limit: a limit from the settings that overrides what the exchange says; 0: none.
    """

    def __init__(
        self, client: Redis, pool: str, *, assumed_limit: int, share: float, fixed_limit: int = 0
    ) -> None:
        self._scripts = Scripts(client)
        self.pool = pool
        self._key = budget(pool)
        self._assumed = fixed_limit or assumed_limit
        self._share = share
        self._fixed = fixed_limit

    async def _run(self, action: str, *arguments: str | int) -> int:
        now = int(time.time() * 1000)
        return int(await self._scripts.run("budget", [self._key], [action, now, *arguments]))

    async def ask(self, weight: int, urgency: Urgency) -> int:
        """0 when a request of this weight may be sent now, else the ms to wait before asking again."""
        thousandths = int(urgency * (1.0 if self._fixed else self._share))
        return await self._run("ask", weight, self._assumed, thousandths)

    async def told(self, used: int) -> None:
        """Take in the used weight the exchange reported for this minute."""
        await self._run("told", used)

    async def learn(self, limit: int) -> None:
        """Take in the limit the exchange gives; one fixed by the settings stands instead."""
        await self._run("limit", self._fixed or limit)

    async def block(self, seconds: float) -> None:
        """Nobody may ask for this long (429, 418)."""
        await self._run("block", int(time.time() * 1000 + seconds * 1000))
