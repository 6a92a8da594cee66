"""Reading what is over: past books from Redis, and what the fleet's archive has beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from workers.archive.files.past import FiledPast
from workers.archive.files.past_trades import FiledTrades
from workers.archive.files.storage import storage_of
from workers.client.decoding import WireDecoder
from workers.client.naming import keys_of
from workers.errors import ArchiveUnreadable
from workers.model.books.checkpoint import decode_checkpoint
from workers.model.books.in_band import BookRule
from workers.model.books.sync import SequenceRule
from workers.model.events import Trade
from workers.store.fleet.followed import known_venues
from workers.store.history.reading import HistoryReader
from workers.store.trades.bars import BarReader
from workers.store.trades.latest import LatestTrades


class Past:
    """The past of a fleet's symbols; decoded blocks are kept for the next question.

    Args:
        archive: a folder or a URL; empty: what Redis has is all.
    """

    def __init__(self, client: Redis, archive: str) -> None:
        self._client: Any = client
        self._place = archive
        self._archive = storage_of(archive, Path()) if archive else None
        self._readers: dict[str, HistoryReader] = {}

    async def _venue_of(self, name: str) -> str:
        """The venue of a symbol named as keys have it; empty while no keeper has told of any."""
        return name.rpartition(":")[0] or next(iter(await known_venues(self._client)), "")

    async def trades(self, name: str, from_ms: int, to_ms: int, limit: int) -> list[Trade]:
        """Archived trades of a stretch that are older than all that Redis has, at most `limit`, oldest first."""
        keys, symbol = keys_of(name)
        filed = await self._filed_trades(name)
        if filed is None:
            return []
        oldest = await LatestTrades(self._client, keys).oldest_ms(symbol)
        before = to_ms if oldest is None else min(to_ms, oldest)
        with self._said():
            return await filed.trades(symbol, from_ms, before, limit) if from_ms < before else []

    async def bars(
        self, name: str, interval: str, from_ms: int, to_ms: int, limit: int
    ) -> list[dict[bytes, bytes]]:
        """The same of bars, as entries of their stream."""
        keys, symbol = keys_of(name)
        filed = await self._filed_trades(name)
        if filed is None:
            return []
        oldest = await BarReader(self._client, keys).oldest_ms(symbol, interval)
        before = to_ms if oldest is None else min(to_ms, oldest)
        with self._said():
            found = await filed.bars(symbol, interval, from_ms, before, limit) if from_ms < before else []
        return [{field.encode(): value.encode() for field, value in bar.items()} for bar in found]

    @contextmanager
    def _said(self) -> Iterator[None]:
        """An archive that cannot be read is no Redis that does not answer. Raises: ArchiveUnreadable."""
        try:
            yield
        except OSError as error:
            raise ArchiveUnreadable(self._place, str(error)) from error

    async def _filed_trades(self, name: str) -> FiledTrades | None:
        venue = await self._venue_of(name) if self._archive else ""
        return FiledTrades(self._archive, venue) if self._archive and venue else None

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
        venue = await self._venue_of(name) if self._archive else ""
        filed = FiledPast(self._archive, venue) if self._archive and venue else None
        book_rule = BookRule(rule, decoder.stream)
        reader = HistoryReader(self._client, keys, rule=book_rule, decode=decoder.depth, filed=filed)
        if stored is not None:
            self._readers[name] = reader
        return reader
