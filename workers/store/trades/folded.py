"""How far the trades fold has come, and the trades it has: also those that no stream holds, as REST repaired them."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis

from workers.model.events import Trade
from workers.model.trades.latest import decode_member, trade_of
from workers.store.books.shown import whole
from workers.store.keys import Keys

_PAGE: Final = 1_000


class FoldedTrades:
    """What the fold of one venue has, for those that keep trades elsewhere."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys

    async def last_id(self, symbol: str) -> int:
        """The last aggregate trade id that the trades fold has passed; -1 for none."""
        found = await self._client.hget(self._keys.trades_state(symbol), "last_id")
        return -1 if found is None else whole(found.decode(errors="replace"), -1)

    async def trades(
        self, symbol: str, first: int, last: int, from_ms: int, to_ms: int, at_most: int
    ) -> list[Trade]:
        """Trades `first`..`last` of the latest set, in id order: the oldest `at_most` of them.

        Args:
            from_ms: where to look by trade time, ms, both ends included.
        """
        found: dict[int, Trade] = {}
        key, passed = self._keys.trades_latest(symbol), 0
        while True:
            page = await self._client.zrange(
                key, from_ms, to_ms, byscore=True, offset=passed, num=_PAGE, withscores=True
            )
            for member, score in page:
                row = decode_member(member, symbol, int(score))
                if first <= row.agg_trade_id <= last:
                    found[row.agg_trade_id] = trade_of(row)
            passed += len(page)
            # Members of one time are not in id order: what is found beyond `at_most` makes sure of those before it.
            if len(page) < _PAGE or len(found) >= 2 * at_most:
                return [found[trade_id] for trade_id in sorted(found)[:at_most]]
