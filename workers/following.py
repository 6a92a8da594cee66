"""Keeping a role's lists of followed symbols up to date while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from redis.exceptions import RedisError

from workers.context import VenueContext
from workers.process import Process
from workers.store.followed import Changed

log = structlog.get_logger()

POLL_S = 1.0


async def follow(
    process: Process,
    contexts: Sequence[VenueContext],
    changed: Callable[[VenueContext, Changed], None] | None = None,
) -> None:
    """Look every second which symbols are followed, until cancelled.

    Args:
        changed: called with a venue whose list has just changed.
    """
    while True:
        try:
            for context in contexts:
                found = await context.symbols.refresh(process.client)
                if changed is not None and (found.added or found.removed):
                    changed(context, found)
        except (RedisError, OSError) as error:
            log.warning("redis_trouble", role=process.role, error=str(error))
        await asyncio.sleep(POLL_S)
