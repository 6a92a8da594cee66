"""Following streams by their ids: no group, nothing acknowledged, nothing lost unseen.

XREAD goes on silently where a stream was trimmed past the reader's place. The entry the reader stands at tells: while
it is there, nothing after it was removed, because trimming begins at the oldest. So the follower looks for that entry
whenever a trim could have overtaken it, in one transaction with the read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.store.refusals import Refusal, refusal_of

START: Final = "0-0"
"""Before the first entry of every stream."""
LAST_OF_MS: Final = 2**64 - 1
"""The greatest sequence number: no entry has it."""
COUNT: Final = 500
"""Entries of one stream in one read."""
TRUSTED_S: Final = 0.25
"""A stream keeps its entries for longer than this: a reader no older than it cannot have been overtaken."""
RECHECK_S: Final = 5.0
"""How often a quiet reader makes sure that its streams are still those it knows."""

Entry = tuple[bytes, Mapping[bytes, bytes]]


def entry_id(text: str | bytes) -> tuple[int, int]:
    """An entry id as two numbers, to be compared."""
    ms, _, sequence = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(ms), int(sequence or 0)


def before(time_ms: int) -> str:
    """The place right before all entries of a time, ms."""
    return f"{time_ms - 1}-{LAST_OF_MS}" if time_ms > 0 else START


def entry_before(stream_id: bytes) -> bytes:
    """The place right before an entry."""
    ms, number = entry_id(stream_id)
    return b"%d-%d" % (ms, number - 1) if number else before(ms).encode()


class Lost(NamedTuple):
    """Entries that may have been removed before they were read."""

    key: str
    after: str
    """The entry up to which everything was read."""
    first: str
    """The oldest entry there now; empty for an empty stream."""
    restarted: bool
    """The stream begins anew, with ids below those read already; it is read from its beginning."""


class Followed(NamedTuple):
    """What a read brought: by key, the entries in their order."""

    entries: dict[str, list[Entry]]
    lost: list[Lost]


class StreamFollower:
    """Reads several streams, each entry once, in the order of each stream.

    Args:
        client: must not retry by itself (see `connect_reader`); after an error the next read goes on where the last
            answered one ended.
        positions: by key, the id of the entry after which to read. On a cluster all keys must share a slot.
        named: keys whose position is the id of an entry that was there, so that its loss says something.
    """

    def __init__(self, client: Redis, positions: Mapping[str, str], named: Iterable[str] = ()) -> None:
        self._client: Any = client
        self.positions = dict(positions)
        self._named = set(named)
        self._answered = self._checked = float("-inf")
        self._behind = True
        """The last read left something there, or failed."""

    async def read(self, block_ms: int, only: Sequence[str] | None = None) -> Followed:
        """What is new, at most 500 entries a stream; waits for it up to `block_ms` (0: not at all), empty after that.

        Args:
            only: the keys to read now; None: all.

        Raises:
            RedisError, OSError: the server did not answer; to be called again.

        Cost: one XREAD; two more commands a stream when a trim could have overtaken the reader.
        """
        positions = {key: self.positions[key] for key in self.positions if only is None or key in only}
        now = time.monotonic()
        doubtful = self._behind or now - self._answered > TRUSTED_S or now - self._checked > RECHECK_S
        lost: list[Lost] = []
        if not positions:
            await asyncio.sleep(block_ms / 1000)
            return Followed({}, lost)
        self._behind = True
        if doubtful:
            found, lost = await self._checked_read(positions)
        else:
            found = await self._client.xread(positions, count=COUNT, block=block_ms or None) or []
        self._answered = time.monotonic()
        self._behind = any(len(entries) >= COUNT for _, entries in found) or bool(lost)
        entries = {key.decode(): batch for key, batch in found}
        for key, batch in entries.items():
            self.positions[key] = batch[-1][0].decode()
            self._named.add(key)
        return Followed(entries, lost)

    async def _checked_read(self, positions: Mapping[str, str]) -> tuple[list[Any], list[Lost]]:
        named = [key for key in positions if key in self._named]
        pipe = self._client.pipeline(transaction=True)
        for key in named:
            pipe.xrange(key, positions[key], positions[key], count=1)
            pipe.xrange(key, count=1)
            pipe.xrevrange(key, count=1)
        pipe.xread(positions, count=COUNT)
        *places, found = await pipe.execute()
        self._checked = time.monotonic()
        found, lost = found or [], []
        for number, key in enumerate(named):
            there, first, last = places[3 * number : 3 * number + 3]
            if there:
                continue
            restarted = not last or entry_id(last[0][0]) < entry_id(positions[key])
            lost.append(Lost(key, positions[key], first[0][0].decode() if first else "", restarted))
            self._named.discard(key)
            if restarted:
                self.positions[key] = START
        return found, lost


async def last_ids(client: Redis, keys: Sequence[str]) -> dict[str, str]:
    """By key, the id of the newest entry; empty streams, and keys that are none, are missing. Cost: one round trip."""
    pipe: Any = client.pipeline(transaction=False)
    for key in keys:
        pipe.xrevrange(key, count=1)
    replies = await pipe.execute(raise_on_error=False)
    newest: dict[str, str] = {}
    for key, reply in zip(keys, replies, strict=True):
        if isinstance(reply, Exception):
            if refusal_of(reply) is not Refusal.WRONG_TYPE:
                raise reply
        elif reply:
            newest[key] = reply[0][0].decode()
    return newest


async def not_streams(client: Redis, keys: Sequence[str]) -> list[str]:
    """Those of some keys that are there and of another type. One round trip."""
    pipe: Any = client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
    return [
        key for key, kind in zip(keys, await pipe.execute(), strict=True) if kind not in (b"stream", b"none")
    ]
