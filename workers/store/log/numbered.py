"""Appending to the raw streams of an exchange that does not number its messages: the log does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.store.keys import names_of, writer_of
from workers.store.log.streams import RawEntry
from workers.store.scripts import Argument, Scripts

NAMES_MOST: Final = 200_000
"""Names of trades remembered of one symbol: about 20 MB at the most."""


class Numbered(NamedTuple):
    """What became of a batch."""

    appended: int
    repeats: int
    refused: int
    """Entries of a line or turn that is not the writer's."""
    refused_by_key: dict[str, int]
    silent_ms: dict[str, int]
    """Of each stream whose last entry was refused: for how long its writer has appended nothing; since 1970 where
    nobody writes."""


class NumberedStreams:
    """The write side of such streams: of books, which one line writes at a time, and of named trades.

    Args:
        client: may retry: the script knows again what a first, unanswered try had appended.
        silent_ms: how long a writer must have been silent before another line may begin.
        names_ms: how much older than the newest entry the name of a trade is remembered.
    """

    def __init__(
        self, client: Redis, silent_ms: int, names_ms: int = 3_600_000, names_most: int = NAMES_MOST
    ) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._limits = (silent_ms, names_ms, names_most)
        self._known: dict[str, tuple[str, int]] = {}
        """By key the last entry that is known to have been appended, or refused: turn and number, or name and ms."""

    async def append(self, entries: Sequence[RawEntry], retention_ms: Mapping[str, int]) -> Numbered:
        """Append a batch in one call; what the stream has and what another line writes is counted and left out.

        Args:
            entries: in the order received; of one stream all have names, or none.
            retention_ms: for each stream key, how much older than its newest an entry may become.

        Cost: one round trip.
        """
        index: dict[str, int] = {}
        last: dict[str, tuple[str, int]] = {}
        other: list[str] = []
        flat: list[Argument] = []
        for entry in entries:
            position = index.get(entry.key)
            if position is None:
                position = index[entry.key] = len(index) + 1
                other.append(names_of(entry.key) if entry.name else writer_of(entry.key))
            flat.append(
                f"{position} {entry.event_ms} {entry.number} {entry.received_us} {entry.line} {entry.turn or '-'}"
                f" {entry.kind} {entry.name or '-'}"
            )
            flat.append(entry.data)
            if entry.turn:
                last[entry.key] = entry.turn, entry.number
            elif entry.kind == "update":
                last[entry.key] = entry.name, entry.event_ms
        known = ("{} {}".format(*self._known.get(key, ("-", 0))) for key in index)
        retentions = (retention_ms[key] for key in index)
        arguments: list[Argument] = [len(entries), *retentions, *known, *self._limits]
        reply = await self._scripts.run("log/append_numbered", [*index, *other], arguments + flat)
        refused = dict(zip(index, reply[3::2], strict=True))
        self._known |= last
        silent = {key: ms for key, ms in zip(index, reply[4::2], strict=True) if ms >= 0}
        return Numbered(reply[0], reply[1], reply[2], refused, silent)

    async def known_names(self, key: str, names: Sequence[str]) -> set[str]:
        """Those of some trades that a stream has, as far back as names are remembered. One round trip per 1,000."""
        known: set[str] = set()
        for first in range(0, len(names), 1000):
            page = names[first : first + 1000]
            scores = await self._client.zmscore(names_of(key), page)
            known.update(name for name, score in zip(page, scores, strict=True) if score is not None)
        return known
