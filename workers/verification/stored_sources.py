"""Which symbol, which stretch of time and which of the two stores a command about held rows means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.archive.files import parquet
from workers.archive.files.kept import HeldRows
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.storage import storage_of
from workers.errors import CommandError, WrongArgument
from workers.masking import mask
from workers.model.symbols.names import upper_symbol
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.loading import Effective, redis_url
from workers.settings.schema import Settings
from workers.store.connection import connect
from workers.store.log.ranges import Ranges

SourceName = Literal["auto", "redis", "archive"]


def venue_named(effective: Effective, name: str) -> VenueContext:
    """A venue of the settings by its name.

    Raises:
        WrongArgument: there is none of that name.
    """
    contexts = venue_contexts(effective.settings)
    for context in contexts:
        if context.name == name:
            return context
    raise WrongArgument(f"The settings have no venue {name!r}", [context.name for context in contexts])


def venue_held(effective: Effective, name: str) -> VenueContext | str:
    """A venue of the settings by its name; the name alone where only the archive knows it, as of what was imported.

    Raises:
        WrongArgument: neither has one of that name.
    """
    contexts = {context.name: context for context in venue_contexts(effective.settings)}
    if context := contexts.get(name):
        return context
    filed = ArchiveReader(storage_of(effective.settings.archive.url, effective.home)).venues()
    if name in filed:
        return name
    known = sorted({*contexts, *filed})
    raise WrongArgument(f"Neither settings nor archive have a venue {name!r}", known)


@asynccontextmanager
async def held_rows(
    effective: Effective, venue: VenueContext | str, source: SourceName
) -> AsyncIterator[HeldRows]:
    """What is held of a venue, open for reading; of one that the settings do not have, what the archive has.

    Raises:
        ExtraMissing: there are archive files to read, and pyarrow is not installed.
        CommandError: Redis does not answer.
    """
    settings = effective.settings
    context, name = (None, venue) if isinstance(venue, str) else (venue, venue.name)
    archive: ArchiveReader | None = None
    if source != "redis":
        if source == "archive":
            parquet.require()
        archive = ArchiveReader(storage_of(settings.archive.url, Path(settings.fleet.home)))
        if name in archive.venues():
            parquet.require()
        elif source == "auto":
            archive = None
    if source == "archive" or context is None:
        yield HeldRows(context, None, archive)
        return
    async with answering_redis(settings) as client:
        yield HeldRows(context, Ranges(client, context.keys), archive)


@asynccontextmanager
async def answering_redis(settings: Settings) -> AsyncIterator[Redis]:
    """The Redis of the settings.

    Raises:
        CommandError: it does not answer, or no more.
    """
    client = connect(redis_url(settings))
    try:
        await client.ping()
        yield client
    except (RedisError, ConnectionError, FileNotFoundError) as error:
        url = mask(redis_url(settings))
        raise CommandError(
            f"Redis at {url} says: {str(error).rstrip('.')}. To read only the archive: --source archive."
        ) from error
    finally:
        await client.aclose()


def symbol_meant(effective: Effective, text: str, venue: str) -> tuple[str, str]:
    """Venue and symbol of `--symbol` and `--venue`: `BTCUSDT`, `btcusdt`, or without a venue `spot:BTCUSDT`.

    Without any it is the first venue that follows the symbol, else the first that has files of it, else the first.
    Files of others may be of symbols in small letters, so what is filed as it is written is meant.
    """
    if not venue:
        venue, _, text = text.rpartition(":")
    folded = upper_symbol(text)
    archive = ArchiveReader(storage_of(effective.settings.archive.url, effective.home))
    contexts = {context.name: context.symbols for context in venue_contexts(effective.settings)}
    for name, symbols in contexts.items():
        if venue and upper_symbol(venue) != upper_symbol(name):
            continue
        if folded in symbols or symbols.rule.wants(folded):
            return name, text if text != folded and text in archive.symbols(name) else folded
    if not venue:
        venue = next((name for name in [*contexts, *archive.venues()] if text in archive.symbols(name)), "")
    return venue or next(iter(contexts)), text
