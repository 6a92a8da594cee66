"""The life of a symbol: what the exchange says of it, when it last traded, its end and its return."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.store.keys import ARCHIVE_GROUP, BOOKS_GROUP, ORDERS_GROUP, TRADES_GROUP, Keys
from workers.store.replies import unusable
from workers.store.scripts import Scripts

LEASED_IN: Final = (BOOKS_GROUP, TRADES_GROUP, ARCHIVE_GROUP, ORDERS_GROUP)
FOLDING: Final = (BOOKS_GROUP, TRADES_GROUP, ORDERS_GROUP)
"""The groups whose folds begin anew when a symbol comes back; the archive goes on where its files end."""
UNLISTED: Final = "UNLISTED"
"""Status, in our word, of a symbol the exchange has no more."""
UNREADABLE: Final = "UNREADABLE"
"""The same of a symbol whose entry in the exchange's list cannot be read now."""
WATCHED: Final = ("status", "tick_size", "step_size")


class InfoChange(NamedTuple):
    """A symbol of which the exchange says something else than before."""

    symbol: str
    field: str
    before: str
    now: str


class Stored(NamedTuple):
    """What writing down a list of symbols has shown."""

    changes: list[InfoChange]
    bad: list[StateUnreadable]
    """Keys that could not be written."""


class SymbolStore:
    """The symbol hashes of one venue."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys

    async def store(self, symbols: Sequence[SymbolInfo]) -> Stored:
        """Write what was learned; what changed of statuses and of the grids of prices and quantities."""
        reading = self._client.pipeline(transaction=False)
        for info in symbols:
            reading.hmget(self._keys.symbol_info(info.symbol), WATCHED)
        before = await reading.execute(raise_on_error=False)
        writing = self._client.pipeline(transaction=False)
        changes, bad = [], []
        for info, known in zip(symbols, before, strict=True):
            key = self._keys.symbol_info(info.symbol)
            if (problem := unusable(key, known)) is not None:
                bad.append(problem)
                continue
            fields = {
                "base_asset": info.base_asset,
                "quote_asset": info.quote_asset,
                "status": info.status,
                "tick_size": info.tick_size,
                "step_size": info.step_size,
            }
            writing.hset(key, mapping=fields)
            for name, told in zip(WATCHED, known, strict=True):
                if told is not None and told != fields[name].encode():
                    before_it = told.decode(errors="replace")
                    changes.append(InfoChange(info.symbol, name, before_it, fields[name]))
        await writing.execute()
        return Stored(changes, bad)

    async def listed(self, symbol: str) -> SymbolInfo | None:
        """What the exchange last said of a symbol; None where that is not kept. One round trip."""
        names = ("status", "base_asset", "quote_asset", "tick_size", "step_size")
        found = await self._client.hmget(self._keys.symbol_info(symbol), names)
        if not all(found):
            return None
        return SymbolInfo(symbol, *(value.decode(errors="replace") for value in found))

    async def known(self, symbols: Iterable[str]) -> set[str]:
        """Those of which the exchange has said something at some time, as far as that is kept."""
        names = list(symbols)
        reading = self._client.pipeline(transaction=False)
        for symbol in names:
            reading.hexists(self._keys.symbol_info(symbol), "status")
        found = await reading.execute(raise_on_error=False)
        return {
            symbol
            for symbol, listed in zip(names, found, strict=True)
            if listed and unusable(self._keys.symbol_info(symbol), listed) is None
        }

    async def note(self, status: str, symbols: Iterable[str]) -> None:
        """Write a status of our own words: `UNLISTED` or `UNREADABLE`. A key of another type stays as it is."""
        names = list(symbols)
        writing = self._client.pipeline(transaction=False)
        for symbol in names:
            writing.hset(self._keys.symbol_info(symbol), "status", status)
        for symbol, reply in zip(names, await writing.execute(raise_on_error=False), strict=True):
            unusable(self._keys.symbol_info(symbol), reply)

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
            "fleet/retire_symbol",
            [*leases, keys.book_status(symbol), *others],
            [state, reason, now_ms, kept_ms],
        )
        return bool(done)

    async def revive(self, symbol: str) -> bool:
        """Let a symbol that was given up begin anew; False where its status does not say so: its keys last then."""
        keys = self._keys
        raw, folds = keys.raw_streams(symbol), keys.folds(symbol)
        done = await self._scripts.run(
            "fleet/revive_symbol",
            [keys.book_status(symbol), *raw, *folds, *keys.kept(symbol)],
            [len(raw), len(folds), *FOLDING],
        )
        return bool(done)

    async def keep_last_trade_times(self, symbols: Iterable[str]) -> list[StateUnreadable]:
        """Copy the time of each symbol's newest trade (ms) to its hash; the keys that cannot be used.

        One round trip, one more where a time has changed.
        """
        names = list(symbols)
        bad: list[StateUnreadable] = []
        reading = self._client.pipeline(transaction=False)
        for symbol in names:
            reading.zrange(self._keys.trades_latest(symbol), -1, -1, withscores=True)
            reading.hget(self._keys.symbol_info(symbol), "last_trade_time")
        replies = await reading.execute(raise_on_error=False)
        writing, written = self._client.pipeline(transaction=False), []
        for symbol, newest, known in zip(names, replies[::2], replies[1::2], strict=True):
            if (problem := unusable(self._keys.trades_latest(symbol), newest)) is not None:
                bad.append(problem)
            elif newest and math.isfinite(newest[0][1]) and known != b"%d" % newest[0][1]:
                key = self._keys.symbol_info(symbol)
                written.append(key)
                writing.hset(key, "last_trade_time", int(newest[0][1]))
        replies = await writing.execute(raise_on_error=False)
        return bad + [
            found for key, reply in zip(written, replies, strict=True) if (found := unusable(key, reply))
        ]

    async def withdraw_orphans(self) -> list[str]:
        """Remove the books nobody owns from `LIVE_ORDERBOOK`: nobody keeps them true. The symbols removed.

        Raises:
            StateUnreadable: the key is no hash.
        """
        key = self._keys.live_orderbook
        [found] = await self._client.pipeline(transaction=False).hkeys(key).execute(raise_on_error=False)
        if (problem := unusable(key, found)) is not None:
            raise problem
        names = {field: field.decode(errors="replace") for field in found}
        strange = [field for field, name in names.items() if symbol_problem(name)]
        if strange:  # not of any symbol, so nobody's
            await self._client.hdel(key, *strange)
        shown = [name for field, name in names.items() if field not in strange]
        keys = [key, *(self._keys.lease(BOOKS_GROUP, symbol) for symbol in shown)]
        removed = await self._scripts.run("books/withdraw_orphans", keys, shown) if shown else []
        return [shown[position - 1] for position in removed] + [names[field] for field in strange]
