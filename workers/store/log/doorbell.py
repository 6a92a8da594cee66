"""Hearing of new entries of streams, without taking one of them from whoever owns the stream next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis

from workers.store.log.streams import Delivered, unparsed

_READ: Final = b"XREAD"
"""As bytes, redis-py knows no parser for it and leaves the reply as it came."""
LONGEST_MS: Final = 1_000
"""Of one call; well below the time after which a client gives its connection up (`RESPONSE_S`)."""


async def new_entries(client: Redis, places: Mapping[str, bytes], count: int) -> dict[str, list[Delivered]]:
    """Wait until a stream has an entry after its place; by stream, the first of those, of all that have some.

    Empty: none had for `LONGEST_MS`. A plain read: no group gives anything away for it, so a worker that has lost a
    symbol meanwhile takes nothing from its next owner, and a reply that is lost, or a call that is cancelled, loses
    nothing.

    Cost: one round trip; the server looks at each stream when the call begins, and forgets each when it answers.

    Raises:
        RedisError: a key is no stream, or the server refuses.
    """
    connection: Any = client
    reply = await connection.execute_command(
        _READ, "COUNT", count, "BLOCK", LONGEST_MS, "STREAMS", *places, *places.values()
    )
    return {key.decode(): unparsed(entries) for key, entries in reply or ()}
