"""Which keys of a symbol the fleet cannot write to: Redis says why (another type, no id left), but not where."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.store.keys import Keys
from workers.store.stream_places import far_streams

NAMES: Final = {
    "string": "a string",
    "list": "a list",
    "set": "a set",
    "zset": "a sorted set",
    "hash": "a hash",
    "stream": "a stream",
}


async def keys_of_other_types(client: Redis, keys: Keys, symbol: str) -> list[StateUnreadable]:
    """Those of one symbol, each with what it is and what it must be. Cost: one round trip, one TYPE a key."""
    expected = keys.types(symbol)
    pipe: Any = client.pipeline(transaction=False)
    for key in expected:
        pipe.type(key)
    found = []
    for (key, expected_type), reply in zip(expected.items(), await pipe.execute(), strict=True):
        kind = reply.decode() if isinstance(reply, bytes) else str(reply)
        if kind not in ("none", expected_type):
            found.append(StateUnreadable(key, f"it is {NAMES.get(kind, kind)}, not {NAMES[expected_type]}"))
    return found


async def streams_that_are_full(client: Redis, keys: Keys, symbol: str) -> list[StateUnreadable]:
    """Those of one symbol after whose newest id no other has room. Cost: one round trip, two commands a stream."""
    return await far_streams(client, [key for key, kind in keys.types(symbol).items() if kind == "stream"])
