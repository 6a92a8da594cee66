"""`symbol:{S}:info`: what the exchange says of a symbol, and when it last traded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from workers.model.symbols import SymbolInfo
from workers.store.keys import Keys
from workers.store.scripts import Scripts


class StatusChange(NamedTuple):
    """A symbol whose status is another than before."""

    symbol: str
    before: str
    now: str


class SymbolStore:
    """The symbol hashes of one venue."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys

    async def store(self, symbols: Sequence[SymbolInfo]) -> list[StatusChange]:
        """Write what was learned; the symbols whose status changed."""
        reading = self._client.pipeline(transaction=False)
        for info in symbols:
            reading.hget(self._keys.symbol_info(info.symbol), "status")
        before = await reading.execute()
        writing = self._client.pipeline(transaction=False)
        changes = []
        for info, known in zip(symbols, before, strict=True):
            fields = {
                "base_asset": info.base_asset,
                "quote_asset": info.quote_asset,
                "status": info.status,
                "tick_size": info.tick_size,
                "step_size": info.step_size,
            }
            writing.hset(self._keys.symbol_info(info.symbol), mapping=fields)
            if known is not None and known.decode() != info.status:
                changes.append(StatusChange(info.symbol, known.decode(), info.status))
        await writing.execute()
        return changes

    async def keep_last_trade_times(self, symbols: Iterable[str]) -> None:
        """Copy the time of each symbol's newest trade (ms) to its hash."""
        wanted = list(symbols)
        reading = self._client.pipeline(transaction=False)
        for symbol in wanted:
            reading.zrange(self._keys.trades_latest(symbol), -1, -1, withscores=True)
        writing = self._client.pipeline(transaction=False)
        for symbol, newest in zip(wanted, await reading.execute(), strict=True):
            if newest:
                writing.hset(self._keys.symbol_info(symbol), "last_trade_time", int(newest[0][1]))
        await writing.execute()

    async def withdraw_orphans(self) -> list[str]:
        """Remove the books nobody owns from `LIVE_ORDERBOOK`: nobody keeps them true. The symbols removed."""
        shown = [symbol.decode() for symbol in await self._client.hkeys(self._keys.live_orderbook)]
        keys = [self._keys.live_orderbook, *(self._keys.lease("books", symbol) for symbol in shown)]
        removed = await self._scripts.run("withdraw_orphans", keys, shown) if shown else []
        return [shown[position - 1] for position in removed]
