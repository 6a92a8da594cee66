"""Watching the memory of Redis, and whether it deletes keys of its choice when that is full."""

from __future__ import annotations

from typing import Final

import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis

from workers.store.server import memory_of

log = structlog.get_logger()

USED = Gauge("fleet_redis_memory_bytes", "Memory Redis uses for data")
LIMIT = Gauge("fleet_redis_memory_limit_bytes", "maxmemory; 0: none")
EVICTS = Gauge("fleet_redis_evicts", "1 while Redis deletes keys of its choice when maxmemory is reached")

EVERY: Final = 5
"""Rounds between two looks: telling it costs both sides more than the rest of a round."""


class MemoryWatch:
    """Looks at one server."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._rounds = 0
        self._told = ""
        self._shown: dict[str, str | int | float] = {}

    async def look(self) -> dict[str, str | int | float]:
        """Measure now and then, tell once of a policy that deletes; what the heartbeat shows of it.

        Raises:
            RedisError: the next round looks.
        """
        if self._rounds % EVERY == 0:
            memory = await memory_of(self._client)
            USED.set(memory.used)
            LIMIT.set(memory.limit)
            EVICTS.set(bool(memory.evicts))
            if memory.evicts and memory.evicts != self._told:
                log.error("redis_evicts", policy=memory.evicts, cure="CONFIG SET maxmemory-policy noeviction")
            self._told = memory.evicts
            self._shown = {"redis_memory_bytes": memory.used, "redis_evicts": int(bool(memory.evicts))}
        self._rounds += 1
        return self._shown
