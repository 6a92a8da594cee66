"""The life of a symbol: what the exchange says of it, when it last traded, its end and its return."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.model.symbols import SymbolInfo
from workers.store.keys import Keys
from workers.store.scripts import Scripts

LEASED_IN: Final = ("books", "trades", "archive")
FOLDING: Final = ("books", "trades")
"""The groups whose folds begin anew when a symbol comes back; the archive goes on where its files end."""
UNLISTED: Final = "UNLISTED"
"""Status, in our word, of a symbol the exchange has no more."""
WATCHED: Final = ("status", "tick_size", "step_size")


class InfoChange(NamedTuple):
    """A symbol of which the exchange says something else than before."""

    symbol: str
    field: str
    before: str
    now: str


class SymbolStore:
    """The symbol hashes of one venue."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys

    async def store(self, symbols: Sequence[SymbolInfo]) -> list[InfoChange]:
        """Write what was learned; what changed of statuses and of the grids of prices and quantities."""
        reading = self._client.pipeline(transaction=False)
        for info in symbols:
            reading.hmget(self._keys.symbol_info(info.symbol), WATCHED)
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
            for name, told in zip(WATCHED, known, strict=True):
                if told is not None and told.decode() != fields[name]:
                    changes.append(InfoChange(info.symbol, name, told.decode(), fields[name]))
        await writing.execute()
        return changes

    async def known(self, symbols: Iterable[str]) -> set[str]:
        """Those of which the exchange has said something at some time, as far as that is kept."""
        asked = list(symbols)
        reading = self._client.pipeline(transaction=False)
        for symbol in asked:
            reading.hexists(self._keys.symbol_info(symbol), "status")
        found = await reading.execute()
        return {symbol for symbol, listed in zip(asked, found, strict=True) if listed}

    async def unlisted(self, symbol: str) -> None:
        """Note that the exchange has a symbol no more."""
        await self._client.hset(self._keys.symbol_info(symbol), "status", UNLISTED)

    async def retire(self, symbol: str, state: str, reason: str, kept_ms: int) -> bool:
        """Let the keys of a symbol expire and say so in its status; False while somebody still owns it.

        Args:
            state: `delisted` or `retired`.
            kept_ms: how long the keys are still there.
        """
        keys = self._keys
        leases = [keys.lease(role, symbol) for role in LEASED_IN]
        others = [*keys.raw_streams(symbol), *keys.folds(symbol), *keys.kept(symbol)]
        now_ms = int(time.time() * 1000)
        done = await self._scripts.run(
            "retire_symbol",
            [*leases, keys.book_status(symbol), *others],
            [state, reason, now_ms, kept_ms],
        )
        return bool(done)

    async def revive(self, symbol: str) -> bool:
        """Let a symbol that was given up begin anew; False when it was not."""
        keys = self._keys
        raw, folds = keys.raw_streams(symbol), keys.folds(symbol)
        done = await self._scripts.run(
            "revive_symbol",
            [keys.book_status(symbol), *raw, *folds, *keys.kept(symbol)],
            [len(raw), len(folds), *FOLDING],
        )
        return bool(done)

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
