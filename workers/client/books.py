"""Reading books as they are published."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from redis.asyncio import Redis

from workers.client.decoding import book_top
from workers.client.feed import Feed
from workers.client.naming import keys_of
from workers.client.records import BookTop, Withheld
from workers.client.tokens import Place
from workers.store.books.shown import shown_books
from workers.store.keys import Keys
from workers.store.log.follower import Entry

LOOK_S: Final = 0.5
"""How often a book that sends nothing is looked at: is it quiet, or withheld?"""


class BookFeed(Feed[BookTop]):
    """The published tops of books: first what is shown, then each publication; `Withheld` when a book is not shown.

    Args:
        latest_only: of the publications that came at once, only the newest of each symbol.
    """

    channel = "books"

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
        latest_only: bool = False,
    ) -> None:
        super().__init__(connect, symbols, Keys.book_top, resume, from_ms)
        self._latest_only = latest_only
        self._last: dict[str, tuple[int, int]] = {}
        self._quiet_since: dict[str, float] = {}
        self._withheld: dict[str, Withheld] = {}
        self._looked = 0.0

    async def _began(self) -> None:
        self._quiet_since = dict.fromkeys(self.symbols, 0.0)
        fresh = [name for name in self.symbols if name not in self._resumed] if self._from_ms is None else []
        for name, (payload, why) in (await self._states(fresh)).items():
            if payload is not None and not why:
                self._show(name, "", payload)

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        if self._latest_only:
            entries = entries[-1:]
        for stream_id, fields in entries:
            self._show(name, stream_id.decode(), fields.get(b"data", b""))

    def _show(self, name: str, position: str, payload: bytes) -> None:
        try:
            top = book_top(name, position, payload)
        except (msgspec.MsgspecError, ValueError):
            self._undecodable(name, position)
            return
        self._quiet_since[name] = time.monotonic()
        if self._last.get(name) == (top.update_id, top.published_us):
            return  # shown when the reading began, or a publication whose reply was lost
        self._last[name] = top.update_id, top.published_us
        self._withheld.pop(name, None)
        self._put(name, Place(position) if position else None, top)

    async def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        quiet = [name for name, since in self._quiet_since.items() if now - since >= LOOK_S]
        states = await self._states(quiet)
        if any(why for _, why in states.values()):
            await self._read(0)  # what was published before its owner took it back
        for name, (payload, why) in states.items():
            if self._quiet_since[name] > now:
                continue
            if why and self._withheld.get(name) != why:
                self._withheld[name] = why
                self._last.pop(name, None)
                self._put(name, None, why)
            elif not why and name in self._withheld and payload is not None:
                self._show(name, "", payload)  # owned again, and unchanged meanwhile

    async def _states(self, names: Sequence[str]) -> dict[str, tuple[bytes | None, Withheld | None]]:
        """What is shown of each book, and why it is withheld if it is."""
        found = await shown_books(self._client, [keys_of(name) for name in names])
        return {
            name: (one.payload, None if one.is_shown else Withheld(name, one.state, one.reason))
            for name, one in zip(names, found, strict=True)
        }
