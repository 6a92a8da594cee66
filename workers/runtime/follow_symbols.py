"""Keeping a role's lists of followed symbols up to date while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from redis.exceptions import RedisError

from workers.errors import StateUnreadable
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.process import Process
from workers.runtime.unreadable import UnreadableKeys
from workers.store.fleet.followed import Changed

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
    unreadable, waits = UnreadableKeys(process.role), Backoff("symbols")
    while True:
        try:
            for context in contexts:
                found = await refreshed(process, context, unreadable)
                if changed is not None and (found.added or found.removed):
                    changed(context, found)
            waits.accepted()
        except (RedisError, OSError) as error:
            waits.refused(error)
        await asyncio.sleep(POLL_S)


async def refreshed(process: Process, context: VenueContext, unreadable: UnreadableKeys) -> Changed:
    """What has changed of a venue's list; nothing while what is published cannot be read.

    Raises:
        RedisError: the list is as it was.
    """
    try:
        found = await context.symbols.refresh(process.client)
    except StateUnreadable as error:
        unreadable.looked(context.name, [error])
        return Changed([], [])
    unreadable.looked(context.name, [])
    return found
