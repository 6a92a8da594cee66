"""The symbols of a venue that are followed now: published by the keeper, read by everybody else.

`fleet:symbols:<venue>` is a hash: `generation` (it only grows), `rules` (the settings it was made for), `symbols`
(a JSON list, the most important first), `retiring` (a JSON object: symbol -> why it is given up), `unlisted` (a JSON
object: symbol the settings name and the exchange does not list -> the nearest names it does) and `venue` (a JSON
object: the exchange, its market, and what else its messages are read by). `fleet:venues` is a JSON list: the sections
of the settings, in their order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, overload

import msgspec
from redis.asyncio import Redis

from workers.errors import OtherMarket, StateUnreadable
from workers.model.symbols.names import symbol_problem
from workers.model.symbols.selection import NOT_CHOSEN, SymbolRule
from workers.model.symbols.shares import WHOLE, Share
from workers.plain_text import plain
from workers.store.keys import followed_symbols
from workers.store.keys import venues as venues_key
from workers.store.replies import unusable

Fields = dict[bytes, bytes]
MOST_DIGITS: Final = 18
"""Of a generation: those of the time in µs have 16."""


NONE_UNLISTED: Final[Mapping[str, list[str]]] = MappingProxyType({})
NOT_DESCRIBED: Final[Mapping[str, Any]] = MappingProxyType({})


class Publication(NamedTuple):
    """What the keeper published last."""

    generation: int
    rules: str
    symbols: list[str]
    retiring: dict[str, str]
    unlisted: Mapping[str, list[str]] = NONE_UNLISTED


class Changed(NamedTuple):
    """How a list of followed symbols became another."""

    added: list[str]
    removed: list[str]


class Listed(NamedTuple):
    """A publication, and its fields as they stand in Redis."""

    publication: Publication
    fields: Fields
    venues: tuple[str, ...] = ()
    """What was written to `fleet:venues`; empty: nothing."""


def not_listed(near: Sequence[str]) -> str:
    """What is said of a symbol that the exchange does not list."""
    return (
        f"not listed by the exchange; the nearest names: {', '.join(near)}"
        if near
        else "not listed by the exchange"
    )


async def published(client: Redis, venue: str) -> Publication | None:
    """The last publication of a venue; None when there is none.

    Raises:
        StateUnreadable: the key holds something else, until the keeper publishes again.
    """
    found = await _stored(client, venue)
    return _decoded(venue, found) if found else None


async def known_venues(client: Redis) -> list[str]:
    """The sections of the settings, in their order, as the keeper published them; none before it has.

    Cost: one round trip.
    """
    pipe: Any = client.pipeline(transaction=False)
    [found] = await pipe.get(venues_key()).execute(raise_on_error=False)
    if not isinstance(found, bytes):
        unusable(venues_key(), found)
        return []
    try:
        return msgspec.json.decode(found, type=list[str])
    except (msgspec.MsgspecError, UnicodeError):
        return []


async def description_of(client: Redis, venue: str) -> dict[str, Any]:
    """How messages of a venue are read, as the keeper published it; empty before it has, or where nobody can read it.

    Cost: one round trip.
    """
    key = followed_symbols(venue)
    pipe: Any = client.pipeline(transaction=False)
    [found] = await pipe.hget(key, "venue").execute(raise_on_error=False)
    if not isinstance(found, bytes):
        unusable(key, found)
        return {}
    try:
        return msgspec.json.decode(found, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


async def refuse_other_markets(client: Redis, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    """See to it that keys go on with the market that they hold.

    Cost: a round trip, and one more for each section.

    Args:
        wanted: the sections of the settings in their order, each described as to `publish`.

    Raises:
        OtherMarket: the last keeper published another one of the same keys.
    """
    first = next(iter(await known_venues(client)), "")
    for number, (section, description) in enumerate(wanted.items()):
        stored = await description_of(client, section if number else first or section)
        texts = [f"{of.get('exchange')} {of.get('market')}" for of in (stored, description)]
        if stored and texts[0] != texts[1]:
            raise OtherMarket(f"{section}:" if number else "", section, *texts)


async def generation_of(client: Redis, venue: str) -> int:
    """The generation of the last publication of a venue; 0 when there is none.

    Raises:
        StateUnreadable: the key holds something else, until the keeper publishes again.
    """
    key = followed_symbols(venue)
    pipe: Any = client.pipeline(transaction=False)
    [found] = await pipe.hget(key, "generation").execute(raise_on_error=False)
    if (problem := unusable(key, found)) is not None:
        raise problem
    return _generation(key, found) if found is not None else 0


async def publish(
    client: Redis,
    venue: str,
    rules: str,
    symbols: Sequence[str],
    retiring: Mapping[str, str],
    unlisted: Mapping[str, list[str]] = NONE_UNLISTED,
    venues: Sequence[str] = (),
    description: Mapping[str, Any] = NOT_DESCRIBED,
) -> Listed:
    """Tell the fleet which symbols it follows, the keeper's alone; whatever else the key holds is replaced.

    Args:
        description: how messages of the venue are read, see `settings.exchanges.description`.
    """
    key = followed_symbols(venue)
    try:
        before = await generation_of(client, venue)
    except StateUnreadable:
        before = 0
    # the time in µs, so that a server that lost its data is not given a number readers have seen
    generation = max(before + 1, time.time_ns() // 1000)
    fields: Fields = {
        b"generation": b"%d" % generation,
        b"rules": rules.encode(),
        b"symbols": msgspec.json.encode(list(symbols)),
        b"retiring": msgspec.json.encode(dict(retiring)),
        b"unlisted": msgspec.json.encode(dict(unlisted)),
        b"venue": msgspec.json.encode(dict(description)),
    }
    pipe: Any = client.pipeline(transaction=True)
    pipe.delete(key)  # of another type, or with fields of others
    pipe.hset(key, mapping=fields)
    if venues:
        pipe.set(venues_key(), msgspec.json.encode(list(venues)))
    await pipe.execute()
    publication = Publication(generation, rules, list(symbols), dict(retiring), dict(unlisted))
    return Listed(publication, fields, tuple(venues))


async def still_published(client: Redis, venue: str, ours: Listed) -> bool:
    """Whether everybody can read what was published last, by us or by a keeper that came later.

    Raises:
        StateUnreadable: nobody can.
    """
    found = await _stored(client, venue)
    if not found:
        return False
    generation = _decoded(venue, found).generation
    if ours.venues and await known_venues(client) != list(ours.venues):
        return False
    return generation > ours.publication.generation or found == ours.fields


async def _stored(client: Any, venue: str) -> Fields:
    key = followed_symbols(venue)
    [found] = await client.pipeline(transaction=False).hgetall(key).execute(raise_on_error=False)
    if (problem := unusable(key, found)) is not None:
        raise problem
    fields: Fields = found
    return fields


def _decoded(venue: str, fields: Fields) -> Publication:
    key = followed_symbols(venue)
    missing = [name for name in ("generation", "rules", "symbols", "retiring") if name.encode() not in fields]
    if missing:
        raise StateUnreadable(key, f"it has no {missing[0]}")
    generation = _generation(key, fields[b"generation"])
    try:
        rules = fields[b"rules"].decode()
        symbols = msgspec.json.decode(fields[b"symbols"], type=list[str])
        retiring = msgspec.json.decode(fields[b"retiring"], type=dict[str, str])
        unlisted = msgspec.json.decode(fields.get(b"unlisted", b"{}"), type=dict[str, list[str]])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise StateUnreadable(key, str(error).rstrip(".")) from error
    for symbol in (*symbols, *retiring, *unlisted, *(name for near in unlisted.values() for name in near)):
        if symbol_problem(symbol):
            raise StateUnreadable(key, f"{plain(symbol, 40)!r} is no symbol")
    return Publication(generation, rules, symbols, retiring, unlisted)


def _generation(key: str, text: bytes) -> int:
    if not (text.isdigit() and len(text) <= MOST_DIGITS):
        raise StateUnreadable(key, f"its generation is {plain(repr(text[:40]))}")
    return int(text)


class FollowedSymbols(Sequence[str]):
    """The symbols a process follows, as a sequence that `refresh` keeps up to date.

    It begins with the names in the settings, which need no keeper. A publication that was made for other
    settings than this process has is not taken: settings are changed process by process. One task of a process
    calls `refresh`, since it tells of each change once.

    Args:
        share: which of them are this process's; the others are as if they were not followed.
    """

    def __init__(self, venue: str, rule: SymbolRule, share: Share = WHOLE) -> None:
        self._venue = venue
        self.rule = rule
        self._share = share
        self._symbols: list[str] = [symbol for symbol in rule.exact if share.has(symbol)]
        self._names = frozenset(self._symbols)
        self._generation = 0
        self.chosen = not rule.patterns
        """Whether it is known what the patterns choose."""
        self.ended: frozenset[str] = frozenset()
        """Symbols just given up because the exchange ended them: nothing more will come of them."""
        self.unlisted: Mapping[str, list[str]] = NONE_UNLISTED
        """Symbols the settings name and the exchange does not list -> the nearest names it does."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """The symbol at a place; the most important is the first."""
        return self._symbols[index]

    def __len__(self) -> int:
        """How many are followed."""
        return len(self._symbols)

    def __iter__(self) -> Iterator[str]:
        """Over the symbols as they are now, whatever changes meanwhile."""
        return iter(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        """Whether a symbol is followed. Cost: O(1)."""
        return symbol in self._names

    def replace(self, symbols: Sequence[str]) -> Changed:
        """Follow these from now on; what that changes."""
        before, self._symbols = self._symbols, [symbol for symbol in symbols if self._share.has(symbol)]
        names, self._names = self._names, frozenset(self._symbols)
        return Changed(
            [symbol for symbol in self._symbols if symbol not in names],
            [symbol for symbol in before if symbol not in self._names],
        )

    async def refresh(self, client: Redis) -> Changed:
        """Take in what was published since the last call. Cost: one HGET, and an HGETALL when there is something.

        Raises:
            RedisError: the list is as it was.
            StateUnreadable: so it is; the keeper publishes again within a second or so.
        """
        if await generation_of(client, self._venue) in (0, self._generation):
            return Changed([], [])
        found = await published(client, self._venue)
        if found is None:
            return Changed([], [])
        self._generation = found.generation
        if found.rules != self.rule.text:
            return Changed([], [])
        self.chosen = True
        self.ended = frozenset(symbol for symbol, why in found.retiring.items() if why != NOT_CHOSEN)
        self.unlisted = found.unlisted
        return self.replace(found.symbols)

    def why_silent(self, symbol: str) -> str:
        """Why nothing comes of a symbol; empty where the exchange lists it, or its list was not read yet."""
        near = self.unlisted.get(symbol)
        return "" if near is None else not_listed(near)
