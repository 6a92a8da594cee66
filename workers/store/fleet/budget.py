"""The request-weight budget of a REST pool, shared by every process of the fleet (`lua/fleet/budget.lua`)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from math import ceil
from typing import Final

from redis.asyncio import Redis

from workers.store.keys import budget
from workers.store.scripts import Scripts

MOST_BLOCK_S: Final = 259_200.0
"""The longest ban the exchange gives (three days); whoever tells of a longer one is not believed."""
MOST_WEIGHT: Final = 10_000_000
"""No minute's weight is more."""


class Urgency(IntEnum):
    """How much of the limit a request may draw on, in thousandths of the share the settings allow."""

    AUDIT = 500
    DEPTH = 750
    """More levels of a book that is shown: books that were never in sync come before them."""
    START = 800
    BROKEN = 1000


class Budget:
    """Asks for leave to send a request.

    Minutes and bans are kept by the server's clock, which all who ask have in common, so that one machine whose clock
    is wrong, or steps, holds nobody up.

    Args:
        pool: requests that share an exchange limit share a pool (`spot`; `um+cm`).
        assumed_limit: weight a minute while the exchange's own limit is not known.
        share: part of the limit the fleet may use.
        fixed_limit: a limit from the settings that overrides what the exchange says; 0: none.
        spacing_ms: what must lie between two requests of weight 1, if all of the limit were the fleet's; 0: nothing.
        clock: ms to count by instead of the server's clock.
    """

    def __init__(
        self,
        client: Redis,
        pool: str,
        *,
        assumed_limit: int,
        share: float,
        fixed_limit: int = 0,
        spacing_ms: float = 0.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._scripts = Scripts(client)
        self.pool = pool
        self._key = budget(pool)
        self._assumed = fixed_limit or assumed_limit
        self._share = share
        self._fixed = fixed_limit
        self._clock = clock
        self.spacing_ms = ceil(min(spacing_ms, 60_000 / fixed_limit) if fixed_limit else spacing_ms / share)

    async def _run(self, action: str, *arguments: str | int) -> int:
        now = self._clock() if self._clock else 0
        return int(await self._scripts.run("fleet/budget", [self._key], [action, now, *arguments]))

    async def ask(self, weight: int, urgency: Urgency, spared: int = 0) -> int:
        """0 when a request of this weight may be sent now, else the ms to wait before asking again.

        Args:
            spared: weight that is to be left in this minute for others of the same urgency.
        """
        thousandths = int(urgency * (1.0 if self._fixed else self._share))
        return await self._run("ask", weight, self._assumed, thousandths, spared, self.spacing_ms)

    async def report_used(self, used: int, elapsed_ms: int = 0, exchange_ms: int = 0) -> None:
        """Take in the used weight the exchange reported for the minute of its reply.

        Args:
            used: what it reported.
            elapsed_ms: time since the request was granted.
            exchange_ms: the exchange's time in the reply, to the second; 0: not told. Without it a value that may be
                of the last minute is left out.
        """
        await self._run("told", max(0, min(used, MOST_WEIGHT)), elapsed_ms, exchange_ms)

    async def learn(self, limit: int) -> bool:
        """Take in the limit the exchange gives; one fixed by the settings stands instead. False: it can be none."""
        return await self._run("limit", self._fixed or limit) == 0

    async def block(self, seconds: float) -> None:
        """Nobody may ask for this long (429, 418); three days at the most."""
        await self._run("block", int(max(0.001, min(seconds, MOST_BLOCK_S)) * 1000))
