"""What is held, by the names that Tardis gives exchanges and by our own names of venues."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.archive.files import parquet
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.storage import storage_of
from workers.errors import BadInput
from workers.research.symbol_data import SymbolData
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.loading import Effective, redis_url
from workers.store.connection import connect
from workers.store.log.ranges import Ranges

NAMES: Final = {
    ("binance", "spot"): "binance",
    ("binance", "usdm"): "binance-futures",
    ("binance", "coinm"): "binance-delivery",
    ("bitfinex", "spot"): "bitfinex",
    ("bitfinex", "futures"): "bitfinex-derivatives",
    ("bitstamp", "all"): "bitstamp",
    ("bybit", "spot"): "bybit-spot",
    ("bybit", "linear"): "bybit",
    ("bybit", "inverse"): "bybit",
    ("coinbase", "advanced"): "coinbase",
    ("coinbase", "exchange"): "coinbase",
    ("kraken", "spot"): "kraken",
    ("okx", "spot"): "okex",
    ("okx", "swap"): "okex-swap",
    ("okx", "futures"): "okex-futures",
}
"""What Tardis calls a market of an exchange."""


class Part(NamedTuple):
    """What is held of an exchange under one name: a section of the settings, or files alone."""

    venue: str
    context: VenueContext | None


class Holdings:
    """Everything there is to ask about.

    Args:
        archive: None: there are no files, or nothing is installed to read them with.
    """

    def __init__(
        self, client: Redis, contexts: Sequence[VenueContext], archive: ArchiveReader | None
    ) -> None:
        self.client = client
        self.contexts = {context.name: context for context in contexts}
        self._archive = archive

    def parts(self, exchange: str) -> list[Part]:
        """What is held of an exchange, the files of others first.

        Raises:
            BadInput: nobody knows it.
        """
        filed = self._archive.venues() if self._archive is not None else []
        known = {
            name: NAMES.get((context.settings.exchange, getattr(context.settings, "market", "")), name)
            for name, context in self.contexts.items()
        }
        found = [Part(exchange, None)] if exchange in filed and exchange not in self.contexts else []
        if exchange in self.contexts:
            found.append(Part(exchange, self.contexts[exchange]))
        else:
            found += [Part(name, self.contexts[name]) for name, theirs in known.items() if theirs == exchange]
        if not found:
            names = sorted({*filed, *known, *known.values()})
            raise BadInput(
                'Invalid "exchange" argument',
                f"{exchange[:80]!r}. Please provide one of the following exchanges: {', '.join(names)}",
                "exchange",
            )
        return found

    def symbols(self, part: Part) -> list[str]:
        """All that is held of a part."""
        followed = list(part.context.symbols) if part.context is not None else []
        filed = self._archive.symbols(part.venue) if self._archive is not None else []
        return list(dict.fromkeys([*followed, *filed]))

    def data(self, part: Part, symbol: str) -> SymbolData:
        """One symbol of a part."""
        ranges = Ranges(self.client, part.context.keys) if part.context is not None else None
        filed = self._archive is not None and part.venue in self._archive.venues()
        return SymbolData(part.venue, symbol, part.context, ranges, self._archive if filed else None)

    async def refresh(self) -> None:
        """Take in which symbols are followed now."""
        for context in self.contexts.values():
            await context.symbols.refresh(self.client)


@asynccontextmanager
async def holdings_of(effective: Effective) -> AsyncIterator[Holdings]:
    """What a fleet holds. Nothing is asked of Redis before somebody asks us."""
    settings = effective.settings
    archive = ArchiveReader(storage_of(settings.archive.url, Path(settings.fleet.home)))
    client: Any = connect(redis_url(settings))
    try:
        reader = archive if parquet.is_installed() else None  # its first file may be yet to come
        yield Holdings(client, venue_contexts(settings), reader)
    finally:
        await client.aclose()
