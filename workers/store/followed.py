"""The symbols of a venue that are followed now: published by the keeper, read by everybody else.

`fleet:symbols:<venue>` is a hash: `generation` (it only grows), `rules` (the settings it was made for), `symbols`
(a JSON list, the most important first) and `retiring` (a JSON object: symbol -> why it is given up).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import msgspec
from redis.asyncio import Redis

from workers.model.selection import NOT_CHOSEN, SymbolRule
from workers.store.keys import followed_symbols


class Publication(NamedTuple):
    """What the keeper published last."""

    generation: int
    rules: str
    symbols: list[str]
    retiring: dict[str, str]


class Changed(NamedTuple):
    """How a list of followed symbols became another."""

    added: list[str]
    removed: list[str]


async def published(client: Redis, venue: str) -> Publication | None:
    """The last publication of a venue; None when there is none."""
    found = await _hash(client, venue)
    if b"generation" not in found:
        return None
    return Publication(
        int(found[b"generation"]),
        found[b"rules"].decode(),
        msgspec.json.decode(found[b"symbols"], type=list[str]),
        msgspec.json.decode(found[b"retiring"], type=dict[str, str]),
    )


async def generation_of(client: Redis, venue: str) -> int:
    """The generation of the last publication of a venue; 0 when there is none."""
    reading: Any = client
    return int(await reading.hget(followed_symbols(venue), "generation") or 0)


async def publish(
    client: Redis, venue: str, rules: str, symbols: Sequence[str], retiring: Mapping[str, str]
) -> int:
    """Tell the fleet which symbols it follows, the keeper's alone; the generation of the publication."""
    writing: Any = client
    # the time in µs, so that a server that lost its data is not given a number readers have seen
    generation = max(await generation_of(client, venue) + 1, time.time_ns() // 1000)
    fields: dict[str, str | int | bytes] = {
        "generation": generation,
        "rules": rules,
        "symbols": msgspec.json.encode(list(symbols)),
        "retiring": msgspec.json.encode(dict(retiring)),
    }
    await writing.hset(followed_symbols(venue), mapping=fields)
    return generation


async def _hash(client: Any, venue: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = await client.hgetall(followed_symbols(venue))
    return found


class FollowedSymbols(Sequence[str]):
    """The symbols a process follows, as a sequence that `refresh` keeps up to date.

    It begins with the names in the settings, which need no keeper. A publication that was made for other
    settings than this process has is not taken: settings are changed process by process. One task of a process
    calls `refresh`, since it tells of each change once.
    """

    def __init__(self, venue: str, rule: SymbolRule) -> None:
        self._venue = venue
        self.rule = rule
        self._symbols: list[str] = list(rule.exact)
        self._names = frozenset(self._symbols)
        self._generation = 0
        self.chosen = not rule.patterns
        """Whether it is known what the patterns choose."""
        self.ended: frozenset[str] = frozenset()
        """Symbols just given up because the exchange ended them: nothing more will come of them."""

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
        before, self._symbols = self._symbols, list(symbols)
        names, self._names = self._names, frozenset(symbols)
        return Changed(
            [symbol for symbol in self._symbols if symbol not in names],
            [symbol for symbol in before if symbol not in self._names],
        )

    async def refresh(self, client: Redis) -> Changed:
        """Take in what was published since the last call. Cost: one HGET, and an HGETALL when there is something.

        Raises:
            RedisError: the list is as it was.
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
        return self.replace(found.symbols)
