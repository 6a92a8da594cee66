"""Sections that were taken out of the settings: their symbols are given up like any other that nobody follows."""

from __future__ import annotations

from typing import Final

import structlog

from workers.errors import StateUnreadable
from workers.model.symbols.selection import NOT_CHOSEN
from workers.runtime.process import Process
from workers.store.fleet.followed import known_venues, published
from workers.store.fleet.symbols import SymbolStore
from workers.store.keys import Keys, followed_symbols

log = structlog.get_logger()

STATE: Final = "retired"


class GivenUpVenues:
    """Withdraws the books of such sections, and lets what they left expire, once no worker owns it any more."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._left: dict[str, set[str]] | None = None
        """By section the symbols that somebody may own still; None: nobody has looked."""

    async def step(self) -> None:
        """Look for such sections once, before this keeper publishes its own, then see to those there are.

        The keys of the first section have no prefix: they are another section's now.

        Raises:
            RedisError: the next round goes on.
        """
        if self._left is None:
            self._left = await self._found()
        for name, symbols in self._left.items():
            store = SymbolStore(self._process.client, Keys(f"{name}:"))
            await store.withdraw_orphans()  # as long as workers may run that know the section still
            kept_ms = self._process.settings.streams.retired_ms
            retired = [symbol for symbol in symbols if await store.retire(symbol, STATE, NOT_CHOSEN, kept_ms)]
            symbols.difference_update(retired)
            if retired and not symbols:
                await self._process.client.delete(followed_symbols(name))
                log.info("venue_given_up", venue=name)

    async def _found(self) -> dict[str, set[str]]:
        found = {}
        for name in (await known_venues(self._process.client))[1:]:
            if name not in self._process.settings.venues:
                try:
                    last = await published(self._process.client, name)
                except StateUnreadable:
                    continue  # nobody can tell its symbols
                found[name] = {*last.symbols, *last.retiring} if last else set()
        return found
