"""What the API's one reader asks Redis: streams, what owners show and say, and open windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.store.books.shown import (
    UNHEARD_MS,
    UNREADABLE,
    sentence_of,
    server_ms,
    text_of,
    unheard_ms,
    whole,
)
from workers.store.keys import BOOKS_GROUP, Keys
from workers.store.refusals import refusal_of
from workers.store.replies import unusable

Entry = tuple[bytes, Mapping[bytes, bytes]]
"""A stream id and the fields."""

DIGITS = 16
"""No number of ms has so many."""
_STATUS = ("state", "reason", "known_low", "known_high", "age_ms", "told_ms")


class OwnerStatement(NamedTuple):
    """What the owner of a book says of it (once a second, and at each withdrawal)."""

    owner: str
    """The worker whose lease holds; empty when nobody's does."""
    state: str
    reason: str
    known_low: str
    known_high: str
    age_ms: int
    unheard_ms: int
    """Since it said that."""

    @property
    def is_heard(self) -> bool:
        """There is an owner, and what it said is recent."""
        return bool(self.owner) and self.unheard_ms <= UNHEARD_MS


class Sight(NamedTuple):
    """Whether a book is served, as far as that can be seen at a glance."""

    is_shown: bool
    """`LIVE_ORDERBOOK` has it, and somebody holds its lease and has said something of it of late."""
    age_ms: int | None
    """Since its stream last brought anything, as its owner said; None where nobody said it."""


class Watch:
    """Reads from known places of many streams at once.

    Args:
        client: must not block others; it is asked nothing that waits.
    """

    def __init__(self, client: Redis) -> None:
        self._client: Any = client

    async def ends(self, keys: Sequence[str]) -> list[bytes]:
        """The id of the last entry of each stream, `0-0` where there is none; one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.xrevrange(key, count=1)
        replies = await pipe.execute(raise_on_error=False)
        return [
            found[0][0] if unusable(key, found) is None and found else b"0-0"
            for key, found in zip(keys, replies, strict=True)
        ]

    async def read(self, places: Mapping[str, bytes], count: int) -> dict[str, list[Entry]]:
        """The entries after each stream's place, at most `count` of each; one round trip."""
        if not places:
            return {}
        try:
            found = await self._client.xread(dict(places), count=count) or []
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            found = await self._each(places, count)
        return {key.decode(): entries for key, entries in found}

    async def _each(self, places: Mapping[str, bytes], count: int) -> list[Any]:
        """The same stream by stream: one of them is none, and brings nothing."""
        pipe = self._client.pipeline(transaction=False)
        for key, place in places.items():
            pipe.xread({key: place}, count=count)
        found: list[Any] = []
        for key, reply in zip(places, await pipe.execute(raise_on_error=False), strict=True):
            if unusable(key, reply) is None:
                found += reply or []
        return found

    async def shown(self, keys: Keys, symbols: Sequence[str]) -> list[bytes | None]:
        """What `LIVE_ORDERBOOK` shows of each symbol; one round trip."""
        pipe = self._client.pipeline(transaction=False)
        [found] = await pipe.hmget(keys.live_orderbook, list(symbols)).execute(raise_on_error=False)
        return [None] * len(symbols) if unusable(keys.live_orderbook, found) else list(found)

    async def statements(self, keys: Keys, symbols: Iterable[str]) -> list[OwnerStatement]:
        """What the owners say of their books; one round trip."""
        pipe = self._client.pipeline(transaction=False)
        names = list(symbols)
        for symbol in names:
            pipe.hmget(keys.book_status(symbol), *_STATUS)
            pipe.hget(keys.lease(BOOKS_GROUP, symbol), "owner")
        pipe.time()
        *replies, time = await pipe.execute(raise_on_error=False)
        now_ms, found = server_ms(time), []
        for symbol, status, owner in zip(names, replies[::2], replies[1::2], strict=True):
            is_owned = owner is not None and unusable(keys.lease(BOOKS_GROUP, symbol), owner) is None
            name = owner.decode(errors="replace") if is_owned else ""
            if (problem := unusable(keys.book_status(symbol), status)) is not None:
                found.append(OwnerStatement(name, UNREADABLE, sentence_of(problem), "", "", 0, 0))
                continue
            state, reason, low, high, age, told = (
                (value or b"").decode(errors="replace") for value in status
            )
            found.append(
                OwnerStatement(
                    name, state or "unknown", reason, low, high, whole(age), unheard_ms(told, now_ms)
                )
            )
        return found

    async def sights(self, keys: Keys, symbols: Sequence[str]) -> list[Sight]:
        """What can be seen of each symbol's book; what is unreadable counts as not there. One round trip."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hkeys(keys.live_orderbook)
        for symbol in symbols:
            pipe.exists(keys.lease(BOOKS_GROUP, symbol))
            pipe.hmget(keys.book_status(symbol), "age_ms", "told_ms")
        pipe.time()
        shown, *replies, time = await pipe.execute(raise_on_error=False)
        now_ms = server_ms(time)
        names = set() if isinstance(shown, Exception) else {name.decode("utf-8", "replace") for name in shown}
        found = []
        for symbol, owned, status in zip(symbols, replies[::2], replies[1::2], strict=True):
            age, told = (None, None) if isinstance(status, Exception) else status
            age_ms = int(age) if isinstance(age, bytes) and age.isdigit() and len(age) < DIGITS else None
            is_heard = unheard_ms(told, now_ms) <= UNHEARD_MS
            found.append(Sight(symbol in names and owned == 1 and is_heard, age_ms))
        return found

    async def folded(self, keys: Sequence[str]) -> list[int]:
        """The last trade id each trades state has come to, -1 where there is none; one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.hget(key, "last_id")
        replies = await pipe.execute(raise_on_error=False)
        return [
            -1 if unusable(key, found) or found is None else whole(found.decode(errors="replace"), -1)
            for key, found in zip(keys, replies, strict=True)
        ]

    async def hashes(self, keys: Sequence[str]) -> list[dict[str, str]]:
        """Several hashes as text; one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(key)
        replies = await pipe.execute(raise_on_error=False)
        return [
            {} if unusable(key, found) else text_of(found) for key, found in zip(keys, replies, strict=True)
        ]
