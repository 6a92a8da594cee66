"""Where raw streams end, and whether their readers have been given all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.exceptions import ResponseError


class StreamEnds:
    """The ends of raw streams, as the second parts of their last ids: update ids, or numbers of the log."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def last(self, keys: Iterable[str]) -> dict[str, int]:
        """By key, where it ends; streams that are not there are left out: nothing was accepted for them."""
        ends = {}
        for key in keys:
            try:
                info = await self._client.xinfo_stream(key)
            except ResponseError:
                continue
            ends[key] = int(info["last-generated-id"].partition(b"-")[2])
        return ends

    async def delivered(self, key: str) -> int:
        """The end of a stream whose groups have been given everything in it; else -1."""
        last = (await self._client.xinfo_stream(key))["last-generated-id"]
        groups = await self._client.xinfo_groups(key)
        if all(group["last-delivered-id"] == last for group in groups):
            return int(last.partition(b"-")[2])
        return -1
