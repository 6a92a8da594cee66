"""`history:{S}`: the owner of a book writes its blocks, and anybody reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from workers.errors import LeaseLost
from workers.model.history.block import NOT_RECORDED, HistoryBlock
from workers.store.keys import BOOKS_GROUP, Keys
from workers.store.scripts import Argument, Scripts

EXPIRE_AFTER_MS = 3_600_000
"""How long after its retention the history of a symbol that nobody writes any more goes."""


class Summary(msgspec.Struct, kw_only=True):
    """What a block holds, in short: a member of `history:{S}:index`."""

    start: int
    """Second at which the block starts."""
    first: int
    last: int
    """The seconds it says something of."""
    known: int
    """How many of them are known."""
    bytes: int
    unknown: list[tuple[int, int, str]]
    """(first second, last second, reason) of the others."""


class HistoryGap(NamedTuple):
    """Seconds `first..last` in which the book is not known."""

    first: int
    last: int
    reason: str


class HistoryStatistics(NamedTuple):
    """What is held of a symbol. Without blocks `first` and `last` are None."""

    first: int | None
    last: int | None
    seconds_held: int
    """Seconds of which the book is known."""
    blocks: int
    bytes: int
    gaps: list[HistoryGap]
    """By time; what lies between two blocks has the reason "not recorded"."""


_encode_summary = msgspec.json.Encoder().encode
_summary_decoder = msgspec.json.Decoder(Summary)


def decode_summary(member: bytes) -> Summary:
    """A member of `history:{S}:index`. Raises msgspec.DecodeError."""
    return _summary_decoder.decode(member)


class HistoryStore:
    """Writes the blocks of one venue.

    Args:
        client: may retry: a block replaces itself.
        hours: how much older than the newest block the oldest may be.
    """

    def __init__(self, client: Redis, keys: Keys, hours: float) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys
        self._kept_ms = int(hours * 3_600_000)

    async def write(self, symbol: str, token: int, blocks: Sequence[HistoryBlock]) -> int:
        """Write blocks in place of older states of them; the bytes written.

        Raises:
            LeaseLost: another worker owns the book; nothing was written.
        """
        arguments: list[Argument] = []
        size = 0
        for block in blocks:
            data = block.encode()
            size += len(data)
            summary = Summary(
                start=block.start,
                first=block.first,
                last=block.last,
                known=block.known_seconds,
                bytes=len(data),
                unknown=block.unknown_runs(),
            )
            arguments += (block.start * 1000, data, _encode_summary(summary))
        newest = max(block.start for block in blocks) * 1000
        keys = [
            self._keys.lease(BOOKS_GROUP, symbol),
            self._keys.history(symbol),
            self._keys.history_index(symbol),
        ]
        head: list[Argument] = [token, newest - self._kept_ms, self._kept_ms + EXPIRE_AFTER_MS]
        if int(await self._scripts.run("books/history", keys, head + arguments)) < 0:
            raise LeaseLost(symbol, token)
        return size

    async def newest(self, symbol: str) -> HistoryBlock | None:
        """The newest block. Raises StateUnreadable."""
        key = self._keys.history(symbol)
        found = await self._client.zrange(key, 0, 0, desc=True)
        return HistoryBlock.decode(bytes(found[0]), key) if found else None


def gaps_of(summaries: Sequence[Summary]) -> list[HistoryGap]:
    """The unknown seconds between the first and the last one told of, by time, joined where they touch."""
    gaps: list[HistoryGap] = []

    def add(first: int, last: int, reason: str) -> None:
        if gaps and gaps[-1].reason == reason and gaps[-1].last + 1 == first:
            gaps[-1] = gaps[-1]._replace(last=last)
        else:
            gaps.append(HistoryGap(first, last, reason))

    expected: int | None = None
    for summary in summaries:
        if expected is not None and expected < summary.first:
            add(expected, summary.first - 1, NOT_RECORDED)
        for run in summary.unknown:
            add(*run)
        expected = summary.last + 1
    return gaps


def statistics_of(summaries: Sequence[Summary]) -> HistoryStatistics:
    """The sum of the summaries, oldest first."""
    return HistoryStatistics(
        first=summaries[0].first if summaries else None,
        last=summaries[-1].last if summaries else None,
        seconds_held=sum(summary.known for summary in summaries),
        blocks=len(summaries),
        bytes=sum(summary.bytes for summary in summaries),
        gaps=gaps_of(summaries),
    )
