"""Reading the raw tickers of many symbols: only what comes from now on, by nobody's leave and without a group."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.store.log.follower import START, entry_id
from workers.store.log.streams import Delivered, delivered
from workers.store.refusals import refusal_of
from workers.store.replies import unusable

RECHECK_S: Final = 5.0
"""How often a reader makes sure that its places are not beyond the ends."""


class TickerReader:
    """Follows ticker streams, each from where it stands when it is first asked for.

    A ticker that is missed costs one comparison, so there is nothing to acknowledge and nothing to take over.
    """

    def __init__(self, client: Redis) -> None:
        self._client: Any = client
        self._positions: dict[str, bytes] = {}
        self._recheck_at = 0.0

    async def _recheck(self) -> None:
        """Stand at the end again of each stream that ends before our place: it was made anew. One round trip."""
        self._recheck_at = time.monotonic() + RECHECK_S
        pipe = self._client.pipeline(transaction=False)
        for key in self._positions:
            pipe.xrevrange(key, count=1)
        replies = await pipe.execute(raise_on_error=False) if self._positions else []
        for (key, position), newest in zip(list(self._positions.items()), replies, strict=True):
            if unusable(key, newest) is None:
                last = newest[0][0] if newest else START.encode()
                self._positions[key] = min(position, last, key=entry_id)

    async def new(self, keys: Sequence[str], count: int) -> dict[str, list[Delivered]]:
        """What came since the last call, at most `count` per stream; never blocks. Streams left out are forgotten.

        Cost: one round trip, one more when there are new streams, and one every few seconds.
        """
        self._positions = {key: self._positions[key] for key in keys if key in self._positions}
        if time.monotonic() >= self._recheck_at:
            await self._recheck()
        if unknown := [key for key in keys if key not in self._positions]:
            pipe = self._client.pipeline(transaction=False)
            for key in unknown:
                pipe.xrevrange(key, count=1)
            for key, newest in zip(unknown, await pipe.execute(raise_on_error=False), strict=True):
                if unusable(key, newest) is None:
                    self._positions[key] = newest[0][0] if newest else b"0-0"
        if not self._positions:
            return {}
        found = {}
        try:
            replies = await self._client.xread(self._positions, count=count) or []
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            self._positions.clear()  # one has become another type: all begin anew, from now on
            return {}
        for name, entries in replies:
            key = name.decode()
            found[key] = delivered(entries)
            self._positions[key] = entries[-1][0]
        return found
