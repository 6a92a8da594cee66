"""How far each stream has been archived, and everything else the archive asks Redis.

`archive:{S}` has for each stream (`aggTrade`, `depth`, `bars:1m` …) the id of its last archived entry, and
`<name>:file` while a file is about to appear. Entries stay pending in the group `archive` until the file that
holds them is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import LeaseLost, OffsetMoved
from workers.store.keys import ARCHIVE_GROUP, Keys
from workers.store.log.streams import CONSUMER, GapRecord, GroupReader, record_gap
from workers.store.refusals import refusal_of
from workers.store.scripts import Argument, Scripts
from workers.store.trades.folded import FoldedTrades

_IDS_AT_ONCE: Final = 1_000

Entry = tuple[bytes, Mapping[bytes, bytes] | None]
"""A stream entry's id and fields; None for one trimmed after it was delivered."""


class Stored(NamedTuple):
    """What the hash says of one stream; empty where it says nothing."""

    offset: str
    file: str


class ArchiveStore:
    """The archive's side of one venue in Redis.

    Args:
        client: for everything that may be repeated.
        reader: for group reads; must not retry by itself (see `connect_reader`).
        keys: the venue's keys.
        gaps_kept: entries kept in each gaps stream.
    """

    def __init__(self, client: Redis, reader: Redis, keys: Keys, gaps_kept: int) -> None:
        self._client: Any = client
        self._reader: Any = reader
        self._groups = GroupReader(client, ARCHIVE_GROUP)
        self.refused: dict[str, ResponseError] = {}
        """By key, why the last call of `new` could not read that stream: another type, or no such group."""
        self._scripts = Scripts(client)
        self._keys = keys
        self._gaps_kept = gaps_kept
        self.folded = FoldedTrades(client, keys)

    async def ensure(self, key: str, start: str) -> None:
        """Make the group on a stream, after an id, unless it is there."""
        await self._groups.ensure(key, start)

    async def new(self, keys: Sequence[str], count: int) -> dict[str, list[Entry]]:
        """Entries nobody read yet, at most `count` per stream; never blocks. What one key refuses is in `refused`."""
        self.refused = {}
        if not keys:
            return {}
        try:
            found = (
                await self._reader.xreadgroup(ARCHIVE_GROUP, CONSUMER, dict.fromkeys(keys, ">"), count=count)
                or []
            )
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            found = await self._each(keys, count)
        return {key.decode(): entries for key, entries in found}

    async def _each(self, keys: Sequence[str], count: int) -> list[Any]:
        pipe = self._reader.pipeline(transaction=False)
        for key in keys:
            pipe.xreadgroup(ARCHIVE_GROUP, CONSUMER, {key: ">"}, count=count)
        found: list[Any] = []
        for key, reply in zip(keys, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(reply, ResponseError) and not refusal_of(reply).of_server:
                self.refused[key] = reply
            elif isinstance(reply, Exception):
                raise reply
            else:
                found += reply or []
        return found

    async def pending(self, key: str, after: str, count: int) -> list[Entry]:
        """Entries delivered but not acknowledged, in stream order, after an id."""
        found = await self._reader.xreadgroup(ARCHIVE_GROUP, CONSUMER, {key: after}, count=count)
        return [(stream_id, fields or None) for stream_id, fields in found[0][1]] if found else []

    async def stored(self, symbol: str, name: str) -> Stored:
        """What is on record of a stream."""
        offset, file = await self._client.hmget(self._keys.archive(symbol), name, f"{name}:file")
        return Stored((offset or b"").decode(errors="replace"), (file or b"").decode(errors="replace"))

    async def _run(self, symbol: str, key: str, token: int, arguments: Sequence[Argument]) -> int:
        keys = [self._keys.lease(ARCHIVE_GROUP, symbol), key, self._keys.archive(symbol)]
        reply = int(await self._scripts.run("log/archive_commit", keys, [token, ARCHIVE_GROUP, *arguments]))
        if reply == -1:
            raise LeaseLost(symbol, token)
        if reply == -2:
            raise OffsetMoved(key, str(arguments[2]))
        return reply

    async def prepare(self, symbol: str, key: str, token: int, *, name: str, offset: str, file: str) -> int:
        """Put on record that a file is about to appear; the number of entries pending in the whole stream.

        Raises:
            LeaseLost: the symbol is another worker's.
            OffsetMoved: the stored offset is not `offset`.
        """
        return await self._run(symbol, key, token, [name, "prepare", offset, file])

    async def commit(
        self, symbol: str, key: str, token: int, *, name: str, before: str, offset: str, ids: Sequence[str]
    ) -> None:
        """Store the new offset and acknowledge what the file holds; repeating it is harmless.

        The first thousand entries are acknowledged in the same step as the offset, so that Redis is never held
        up; whoever finds one of the others pending sees from the offset that it is in the archive.

        Raises:
            LeaseLost: the symbol is another worker's.
            OffsetMoved: the stored offset is neither `before` nor `offset`.
        """
        await self._run(symbol, key, token, [name, "commit", before, offset, *ids[:_IDS_AT_ONCE]])
        await self.acknowledge(symbol, key, token, ids[_IDS_AT_ONCE:])

    async def acknowledge(self, symbol: str, key: str, token: int, ids: Sequence[str]) -> None:
        """Acknowledge entries that are in the archive already, or that Redis no longer has."""
        for first in range(0, len(ids), _IDS_AT_ONCE):
            await self._run(symbol, key, token, ["", "ack", *ids[first : first + _IDS_AT_ONCE]])

    async def has_older(self, key: str, stream_id: str) -> bool:
        """Whether the stream still holds an entry before this one: then nothing between them was trimmed."""
        return bool(await self._client.xrevrange(key, max=f"({stream_id}", min="-", count=1))

    async def record_gap(self, symbol: str, first: int, last: int, reason: str) -> None:
        """Say in `gaps:{S}` that ids are not in the archive."""
        gap = GapRecord(ARCHIVE_GROUP, first, last, reason, "no")
        await record_gap(self._client, self._keys.gaps(symbol), gap, self._gaps_kept)
