"""The names of the turns in which one line writes books that the log numbers.

A turn is what is written of one book over one socket, from a whole book on. The log takes nothing of a turn that is
past (lua/log/append_numbered.lua), so a book that ended on a socket that lives goes on there in a turn of another name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from secrets import token_hex
from typing import NamedTuple

from workers.store.keys import DEPTH, ORDERS
from workers.venues.interface import Venue
from workers.venues.session import Session

Book = tuple[str, str]
"""Channel (`depth` or `orders`) and symbol."""


def written_by_turns(venue: Venue) -> Collection[str]:
    """The channels of books whose messages the exchange does not number: one line at a time writes them."""
    feed = venue.order_feed
    channels = [DEPTH] if not venue.facts.continuity.by_id else []
    return [*channels, ORDERS] if feed is not None and not feed.by_id else channels


class _Socket(NamedTuple):
    name: str
    books: set[Book]
    ended: Counter[Book]
    """How many turns of each are past."""

    def turn(self, book: Book) -> str:
        return f"{self.name}.{self.ended[book]}" if self.ended[book] else self.name


class BookTurns:
    """The turns of one line; names are unique for ever. Cost: O(1) each, `end_all` O(sockets)."""

    def __init__(self, line: str) -> None:
        self._prefix, self._opened = f"{line}-{token_hex(4)}", 0
        self._sockets: dict[Session, _Socket] = {}

    def of(self, session: Session, book: Book) -> str:
        """The turn in which a book is written over a socket now."""
        socket = self._sockets.get(session)
        if socket is None:
            self._opened += 1
            socket = self._sockets[session] = _Socket(f"{self._prefix}-{self._opened}", set(), Counter())
        socket.books.add(book)
        return socket.turn(book)

    def begins(self, session: Session, book: Book) -> bool:
        """Whether a socket brings a book for the first time; it does so now."""
        socket = self._sockets.get(session)
        if socket is not None and book in socket.books:
            return False
        self.of(session, book)
        return True

    def end(self, session: Session, book: Book) -> None:
        """The turn of a book on a socket is past: another follows."""
        self._sockets[session].ended[book] += 1

    def end_all(self, book: Book) -> None:
        """The line does not write a book any more: whatever it may write of it again is another turn."""
        for socket in self._sockets.values():
            if book in socket.books:
                socket.ended[book] += 1

    def close(self, session: Session) -> dict[Book, str]:
        """A socket has ended: by book, the turns that end with it."""
        socket = self._sockets.pop(session, None)
        return {book: socket.turn(book) for book in socket.books} if socket else {}
