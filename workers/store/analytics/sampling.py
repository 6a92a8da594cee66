"""The figures of symbols as they are now and then, for somebody who keeps elsewhere which he has had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.store.log.tail import AT_ONCE, Place, Read, fingerprint
from workers.store.refusals import refusal_of


class Samples:
    """Reads hashes `analytics:{S}`.

    Args:
        client: for reads, which may be repeated.
    """

    def __init__(self, client: Redis) -> None:
        self._client: Any = client

    async def read(self, keys: Sequence[str]) -> tuple[dict[str, Read], dict[str, Exception]]:
        """What hashes say now, of those that are there; and which keys cannot be used, and why.

        A sample is an entry with the ms at which it was written for its id.

        Cost: one round trip for 64 hashes.
        """
        found: dict[str, Read] = {}
        refused: dict[str, Exception] = {}
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            pipe = self._client.pipeline(transaction=False)
            for key in some:
                pipe.hgetall(key)
            for key, fields in zip(some, await pipe.execute(raise_on_error=False), strict=True):
                if isinstance(fields, ResponseError) and not refusal_of(fields).of_server:
                    refused[key] = fields
                elif isinstance(fields, Exception):
                    raise fields
                elif fields:
                    told = fields.get(b"told_ms", b"")
                    if told.isdigit() and len(told) < 16:
                        place = Place(f"{int(told)}-0", fingerprint(fields))
                        found[key] = Read([(place.stream_id.encode(), fields)], place)
                    else:
                        refused[key] = StateUnreadable(key, "it has no time at which it was written")
        return found, refused
