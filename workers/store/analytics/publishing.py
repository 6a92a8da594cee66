"""What the owner of a symbol's analytics reads and writes; the latter only while its lease holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.store.keys import ANALYTICS_GROUP, Keys
from workers.store.log.tail import Place, fingerprint
from workers.store.replies import signals_of
from workers.store.scripts import Argument, Scripts


class AnalyticsPublication(NamedTuple):
    """One write: fields of the hash, and a payload for the stream of events (empty: none)."""

    symbol: str
    token: int
    figures: Mapping[str, str | int | float]
    events: bytes


class AnalyticsStore:
    """The analytics of one venue in Redis.

    Args:
        client: may retry: figures are absolute, and a payload is appended once.
        events: payloads kept, about, in each `analytics:{S}:events`.
    """

    def __init__(self, client: Redis, keys: Keys, events: int) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys
        self._events = events

    async def shown(self, symbols: Sequence[str]) -> set[str]:
        """Of some symbols those whose book is shown. One round trip."""
        found = await self._client.hmget(self._keys.live_orderbook, symbols) if symbols else []
        return {symbol for symbol, payload in zip(symbols, found, strict=True) if payload}

    async def newest(self, key: str) -> Place:
        """The place after all that a stream has. Raises: ResponseError, if it is none."""
        found = await self._client.xrevrange(key, count=1)
        return Place(found[0][0].decode(), fingerprint(found[0][1])) if found else Place()

    async def place_of(self, key: str, stream_id: str) -> Place | None:
        """The place at an entry of a stream; None where it is gone. Raises: ResponseError, if it is none."""
        found = await self._client.xrange(key, stream_id, stream_id, count=1)
        return Place(stream_id, fingerprint(found[0][1])) if found else None

    async def publish(
        self, publications: Sequence[AnalyticsPublication]
    ) -> tuple[list[str], dict[str, ResponseError]]:
        """Write several symbols in one call; those whose lease is another's now, and those of which a key refuses.

        Cost: one round trip, where there are any.
        """
        if not publications:
            return [], {}
        keys: list[str] = []
        arguments: list[Argument] = [self._events]
        for symbol, token, figures, events in publications:
            keys += (
                self._keys.lease(ANALYTICS_GROUP, symbol),
                self._keys.analytics_events(symbol),
                self._keys.analytics(symbol),
            )
            told = "".join(f"{name}\n{value}\n" for name, value in figures.items())
            arguments += (token, events, told)
        reply = await self._scripts.run("orders/publish", keys, arguments)
        return signals_of(reply, [publication.symbol for publication in publications])
