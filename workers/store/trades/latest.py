"""Pages of `trades:{S}:latest`, in the order of trade time and, within a ms, of id.

Ids rise with time but where the exchange began them anew lower: a trade is looked for among the new ones first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from workers.model.trades.latest import LatestTrade, decode_member
from workers.store.keys import Keys

PAGE = 1_000
NEAR, FARTHEST = 500, 8_000
"""Places on either side in which a trade is looked for, first and last."""


class LatestTrades:
    """Reads one venue's trades of the last 24 h."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys

    async def oldest_ms(self, symbol: str) -> int | None:
        """The time of the oldest trade held, ms. One round trip."""
        found = await self._client.zrange(self._keys.trades_latest(symbol), 0, 0, withscores=True)
        return int(found[0][1]) if found else None

    async def holds(self, symbol: str, trade_id: int) -> bool:
        """Whether a trade is held. Cost: 2 log n round trips."""
        found = await self._client.zcard(self._keys.trades_latest(symbol))
        return bool(found) and (await self._place(symbol, trade_id))[1]

    async def newest(self, symbol: str, limit: int, before_ms: int | None = None) -> list[LatestTrade]:
        """The last `limit` trades, oldest first; with `before_ms` the last of those that are older."""
        key = self._keys.trades_latest(symbol)
        if before_ms is None:
            found = await self._client.zrange(key, -limit, -1, withscores=True)
        else:
            found = await self._client.zrange(
                key, f"({before_ms}", "-inf", byscore=True, desc=True, offset=0, num=limit, withscores=True
            )
            found.reverse()
        return (await self._rows(found, symbol))[-limit:]

    async def _rows(self, found: list[tuple[bytes, float]], symbol: str) -> list[LatestTrade]:
        """The members, with all that share the first one's ms: their order in the set is not that of their ids."""
        if found:
            first = int(found[0][1])
            same = await self._client.zrange(self._keys.trades_latest(symbol), first, first, byscore=True)
            found = [(member, first) for member in same] + [pair for pair in found if int(pair[1]) > first]
        rows = [decode_member(member, symbol, int(score)) for member, score in found]
        return sorted(rows, key=_order)

    async def between(
        self, symbol: str, from_ms: int, to_ms: int, limit: int, after_id: int | None = None
    ) -> list[LatestTrade]:
        """At most `limit` trades with `from_ms <= trade_time < to_ms`, oldest first.

        Args:
            after_id: go on after the trade of this id in the order of time and id; when it is no longer held, after
                the last held trade with a smaller id.
        """
        after = (0, -1)
        if after_id is not None:
            after, _ = await self._place(symbol, after_id)
            from_ms = max(from_ms, after[0])
        rows: list[LatestTrade] = []
        async for page in self.pages(symbol, from_ms, to_ms, max(PAGE, limit)):
            rows += sorted((row for row in page if _order(row) > after), key=_order)
            if len(rows) >= limit:
                break
        return rows[:limit]

    async def pages(
        self, symbol: str, from_ms: int, to_ms: int, size: int = PAGE
    ) -> AsyncIterator[list[LatestTrade]]:
        """The trades from one time (ms) up to before another, about `size` at a time; those of one ms in any order.

        Trimming meanwhile loses nothing but what it trims.
        """
        key, rows_read = self._keys.trades_latest(symbol), size
        while True:
            found = await self._client.zrange(
                key, from_ms, f"({to_ms}", byscore=True, offset=0, num=rows_read, withscores=True
            )
            more = len(found) == rows_read
            last = int(found[-1][1]) if found else 0
            if more and int(found[0][1]) == last:
                rows_read *= 2  # one ms fills the page
                continue
            # The last ms may go on in the next page.
            page = [
                decode_member(member, symbol, int(score))
                for member, score in found
                if not more or score < last
            ]
            if page:
                yield page
            if not more:
                return
            from_ms, rows_read = last, size

    async def _place(self, symbol: str, trade_id: int) -> tuple[tuple[int, int], bool]:
        """Where a trade stands, or would stand by its id, and whether it is held.

        By bisection over the ranks: 2 log n round trips.
        """
        key = self._keys.trades_latest(symbol)
        anew_at, end = 0, int(await self._client.zcard(key))
        if ids_after := await ids_after_of(self._client, self._keys, symbol):
            anew_at = int(await self._client.zcount(key, "-inf", ids_after))
        place, held = await self._place_among(symbol, trade_id, anew_at, end)
        if anew_at and not held:
            newest = max((row.agg_trade_id for row in await self.newest(symbol, 1)), default=-1)
            if trade_id > newest or place < (ids_after, 0):
                place, held = await self._place_among(symbol, trade_id, 0, anew_at)
        return place, held

    async def _place_among(
        self, symbol: str, trade_id: int, begin: int, end: int
    ) -> tuple[tuple[int, int], bool]:
        """The same among ranks whose ids rise; whether the trade is held there."""
        key = self._keys.trades_latest(symbol)
        low, high = begin, end
        while low < high:
            middle = (low + high) // 2
            found = await self._client.zrange(key, middle, middle, withscores=True)
            if not found:
                high = middle
                continue
            if decode_member(found[0][0], symbol, int(found[0][1])).agg_trade_id < trade_id:
                low = middle + 1
            else:
                high = middle
        around = NEAR
        while True:  # late trades and the order within one ms put it a few places off
            first, last = max(low - around, begin), min(low + around, end - 1)
            found = await self._client.zrange(key, first, last, withscores=True) if first <= last else []
            rows = [decode_member(member, symbol, int(score)) for member, score in found]
            here = [row for row in rows if row.agg_trade_id == trade_id]
            if here or (first == begin and last == end - 1) or around >= FARTHEST:
                break
            around *= 4
        before = [row for row in rows if row.agg_trade_id < trade_id]
        return max(map(_order, here or before), default=(0, -1)), bool(here)


async def ids_after_of(client: Any, keys: Keys, symbol: str) -> int:
    """The newest trade time before the ids of a symbol began anew lower, ms; 0: they never did. One round trip."""
    value = await client.hget(keys.trades_state(symbol), "ids_after")
    return int(value) if value and value.isdigit() else 0


def _order(row: LatestTrade) -> tuple[int, int]:
    return row.trade_time, row.agg_trade_id
