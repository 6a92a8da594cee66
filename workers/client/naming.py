"""Which symbol a text means, by what the keeper has published; unknown ones are told, with the nearest names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.symbols.names import SymbolName, fold_symbol, parse_symbol, parse_venue, unknown_symbol
from workers.store.fleet.followed import Publication, known_venues, published
from workers.store.keys import Keys


def keys_of(name: str) -> tuple[Keys, str]:
    """The keys and the plain symbol of `BTCUSDT` (first venue) or `spot:BTCUSDT`."""
    venue, colon, symbol = name.rpartition(":")
    return Keys(f"{venue}{colon}"), symbol


def folded(text: str) -> str:
    """A name in capitals, its venue in small letters, whichever venues there are. Raises: InvalidSymbol."""
    venue, colon, symbol = text.strip().rpartition(":")
    return f"{venue.strip().lower()}{colon}{fold_symbol(symbol)}"


def held_keys(keys: Keys, symbol: str) -> list[str]:
    """The keys of which a symbol that was followed keeps some, a given up one for a day."""
    return [keys.book_status(symbol), *keys.raw_streams(symbol), *keys.kept(symbol)]


async def settled(client: Redis, texts: Sequence[str]) -> dict[str, str]:
    """By text, the name as keys have it: `BTCUSDT` of the first venue, `spot:BTCUSDT` of another.

    Where no keeper has published anything yet, a name is taken as it stands. Cost: a round trip or two.

    Raises:
        InvalidSymbol, UnknownVenue: the text names nothing.
        UnknownSymbol: the fleet does not follow the symbol and holds nothing of it, or the exchange does not list it.
    """
    venues = await known_venues(client)
    if not venues:
        return {text: folded(text) for text in texts}
    found, publications = dict[str, str](), dict[str, Publication | None]()
    for text in texts:
        name = parse_symbol(text, venues)
        if name.venue not in publications:
            publications[name.venue] = await _published(client, name.venue)
        keys = Keys("" if name.venue == venues[0] else f"{name.venue}:")
        await _refuse_unknown(client, keys, name, publications[name.venue])
        found[text] = f"{keys.prefix}{name.symbol}"
    return found


async def prefix_of(client: Redis, venue: str) -> str:
    """The prefix of the keys of a venue, of the first one where it is empty. Raises: UnknownVenue."""
    venues = await known_venues(client)
    if not venue or (venues and parse_venue(venue, venues) == venues[0]):
        return ""
    return f"{parse_venue(venue, venues) if venues else venue}:"


async def _published(client: Redis, venue: str) -> Publication | None:
    try:
        return await published(client, venue)
    except StateUnreadable:
        return None


async def _refuse_unknown(client: Any, keys: Keys, name: SymbolName, told: Publication | None) -> None:
    if told is None:
        return
    if name.symbol in told.unlisted:
        raise unknown_symbol(name, told.unlisted[name.symbol], listed=False)
    if name.symbol not in told.symbols and not await client.exists(*held_keys(keys, name.symbol)):
        raise unknown_symbol(name, told.symbols)
