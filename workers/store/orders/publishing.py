"""What the owner of single orders writes, and only while its lease holds; and what the next one begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import LeaseLost
from workers.store.keys import ORDERS, ORDERS_GROUP, Keys
from workers.store.records import append_once
from workers.store.replies import signals_of, unusable
from workers.store.scripts import Argument, Scripts


class OrdersPublication(NamedTuple):
    """One write: a payload for the stream of tops (None: none), and fields of the status (none: it stays)."""

    symbol: str
    token: int
    payload: bytes | None
    status: Mapping[str, str | int | float]


class OrdersSignals(NamedTuple):
    """What a publication told the owner."""

    fenced: list[str]
    """Symbols whose lease is another's now: nothing of theirs was written."""
    refused: Mapping[str, ResponseError]
    """Symbols of which a key is of another type."""


class OrderStore:
    """The single orders of one venue in Redis.

    Args:
        client: may retry: all writes are absolute, or appended once.
        top_entries: payloads kept, about, in each `orders:{S}:top`.
    """

    def __init__(self, client: Redis, keys: Keys, top_entries: int) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys
        self._top_entries = top_entries

    async def publish(self, publications: Sequence[OrdersPublication]) -> OrdersSignals:
        """Write several books in one call. One round trip, where there are any."""
        if not publications:
            return OrdersSignals([], {})
        keys: list[str] = []
        arguments: list[Argument] = [self._top_entries]
        for symbol, token, payload, status in publications:
            keys += (
                self._keys.lease(ORDERS_GROUP, symbol),
                self._keys.orders_top(symbol),
                self._keys.orders_status(symbol),
            )
            arguments += (
                token,
                payload or b"",
                "".join(f"{name}\n{told}\n" for name, told in status.items()),
            )
        reply = await self._scripts.run("orders/publish", keys, arguments)
        return OrdersSignals(*signals_of(reply, [publication.symbol for publication in publications]))

    async def commit(self, symbol: str, token: int, checkpoint: bytes, ids: Sequence[bytes]) -> None:
        """Store a checkpoint and acknowledge the entries it has.

        Raises:
            LeaseLost: another worker owns the symbol; nothing was written.
        """
        keys = [
            self._keys.lease(ORDERS_GROUP, symbol),
            self._keys.raw(symbol, ORDERS),
            self._keys.orders_checkpoint(symbol),
        ]
        if int(await self._scripts.run("orders/commit", keys, [token, ORDERS_GROUP, checkpoint, *ids])) < 0:
            raise LeaseLost(symbol, token)

    async def checkpoint(self, symbol: str) -> bytes | None:
        """What the last owner stored. Raises: StateUnreadable."""
        key = self._keys.orders_checkpoint(symbol)
        [stored] = await self._client.pipeline(transaction=False).get(key).execute(raise_on_error=False)
        if (problem := unusable(key, stored)) is not None:
            raise problem
        return None if stored is None else bytes(stored)

    async def keep_seed(self, symbol: str, body: bytes, received_us: int, kept: int) -> None:
        """Keep what REST had as received, so that the stream explains itself."""
        fields: dict[str, Argument] = {"data": body, "received": received_us}
        await append_once(
            self._client, self._keys.raw_orders_snapshot(symbol), fields, kept=kept, exactly=True
        )

    async def books_of(self, symbols: Sequence[str]) -> dict[str, bytes]:
        """Of some symbols what `LIVE_ORDERBOOK` shows of the book of levels. One round trip."""
        shown = await self._client.hmget(self._keys.live_orderbook, symbols) if symbols else []
        return {symbol: bytes(payload) for symbol, payload in zip(symbols, shown, strict=True) if payload}
