"""Reading what is over: the books of past seconds, from Redis and, where it ends, from the fleet's archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from workers.archive.files.past import FiledPast
from workers.archive.files.storage import storage_of
from workers.client.decoding import WireDecoder
from workers.client.naming import keys_of
from workers.model.books.checkpoint import decode_checkpoint
from workers.model.books.in_band import BookRule
from workers.model.books.sync import SequenceRule
from workers.store.fleet.followed import known_venues
from workers.store.history.reading import HistoryReader


class Past:
    """The past of a fleet's symbols; decoded blocks are kept for the next question.

    Args:
        archive: a folder or a URL; empty: what Redis has is all.
    """

    def __init__(self, client: Redis, archive: str) -> None:
        self._client: Any = client
        self._archive = storage_of(archive, Path()) if archive else None
        self._readers: dict[str, HistoryReader] = {}

    async def venue_of(self, name: str) -> str:
        """The venue of a symbol named as keys have it; empty while no keeper has told of any."""
        return name.rpartition(":")[0] or next(iter(await known_venues(self._client)), "")

    async def books(self, name: str, decoder: WireDecoder) -> HistoryReader:
        """The reader of a symbol named as keys have it.

        The rule its events are chained by stands in its checkpoint; without one only whole blocks answer anyway.
        """
        if (known := self._readers.get(name)) is not None:
            return known
        keys, symbol = keys_of(name)
        key = keys.book_checkpoint(symbol)
        stored = await self._client.get(key)
        rule = SequenceRule(decode_checkpoint(stored, key).rule) if stored else SequenceRule.FUTURES
        venue = await self.venue_of(name) if self._archive else ""
        filed = FiledPast(self._archive, venue) if self._archive and venue else None
        book_rule = BookRule(rule, decoder.stream)
        reader = HistoryReader(self._client, keys, rule=book_rule, decode=decoder.depth, filed=filed)
        if stored is not None:
            self._readers[name] = reader
        return reader
