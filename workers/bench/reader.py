"""A reader of what a plant writes into Redis: it notes when entries come, and looks into them afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

BLOCK_MS: Final = 200
COUNT: Final = 1_000

Fields = dict[bytes, bytes]


class Reader:
    """Follows streams from their present ends, until stopped.

    Args:
        client: of its own; a blocked read holds its connection.
    """

    def __init__(self, client: Any, streams: Sequence[str]) -> None:
        self.entries: dict[str, list[tuple[int, Fields]]] = {stream: [] for stream in streams}
        """By stream: when an entry was read (µs), and its fields."""
        self._client = client
        self._stopping = False

    def stop(self) -> None:
        """Let `run` return once nothing more comes."""
        self._stopping = True

    async def run(self) -> None:
        """Read until stopped."""
        places: dict[str, str | bytes] = dict.fromkeys(self.entries, "$")
        for stream in places:
            newest = await self._client.xrevrange(stream, count=1)
            places[stream] = newest[0][0] if newest else "0"
        while True:
            # the replies as they come: keys, ids and fields as bytes
            found = await self._client.xread(dict(places), count=COUNT, block=BLOCK_MS)
            seen_us = time.time_ns() // 1000
            if not found and self._stopping:
                return
            for key, entries in found:
                stream = key.decode()
                self.entries[stream] += [(seen_us, fields) for _, fields in entries]
                places[stream] = entries[-1][0]
            await asyncio.sleep(0)
