"""Stretches of what Redis holds of a symbol, page by page, for exports and comparisons."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.model.events import Trade
from workers.model.trades.latest import decode_member, trade_of
from workers.store.keys import Keys
from workers.store.refusals import refusal_of
from workers.store.trades.latest import LatestTrades

PAGE: Final = 2_000
SLACK_MS: Final = 5_000
"""Trades of a hole may have times this far outside those of its neighbours."""
Entry = tuple[bytes, Mapping[bytes, bytes]]


def around(from_ms: int, to_ms: int) -> tuple[int, int]:
    """Between which times (ms) the trades of a hole are looked for, given the times of its neighbours."""
    return max(0, from_ms - SLACK_MS), to_ms + SLACK_MS


class Ranges:
    """Reads of one venue's keys."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client: Any = client
        self._keys = keys

    async def trades(self, symbol: str, from_ms: int, to_ms: int) -> AsyncIterator[list[Trade]]:
        """The pages of `LatestTrades.pages` as trades."""
        async for page in LatestTrades(self.client, self._keys).pages(symbol, from_ms, to_ms, PAGE):
            yield [trade_of(row) for row in page]

    async def trade_ids(self, symbol: str) -> tuple[int, int] | None:
        """The ids of the first and the last trade of the latest set; None when it is empty."""
        key = self._keys.trades_latest(symbol)
        ends = [await self.client.zrange(key, at, at, withscores=True) for at in (0, -1)]
        if not ends[0] or not ends[1]:
            return None
        first, last = (
            decode_member(member, symbol, int(score)).agg_trade_id
            for found in ends
            for member, score in found
        )
        return first, last

    async def entries(self, key: str, from_ms: int) -> AsyncIterator[list[Entry]]:
        """The entries of a stream from a time on."""
        after = str(max(from_ms, 0))
        while page := await self.client.xrange(key, min=after, max="+", count=PAGE):
            yield page
            after = f"({page[-1][0].decode()}"

    async def was_trimmed(self, key: str) -> bool:
        """Whether a stream has lost entries that it had, or is not there. Cost: one round trip."""
        try:
            stream = await self.client.xinfo_stream(key)
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            return True
        return int(stream["entries-added"]) > int(stream["length"])
