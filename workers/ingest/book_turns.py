"""The names of the turns in which one line writes books that the log numbers.

A turn is what is written of one book over one socket, from a whole book on. The log takes nothing of a turn that is
past (lua/log/append_numbered.lua), so a book that ended on a socket that lives goes on there in a turn of another name.
"""

from __future__ import annotations

from collections import Counter
from secrets import token_hex
from typing import NamedTuple

from workers.venues.session import Session


class _Socket(NamedTuple):
    name: str
    symbols: set[str]
    ended: Counter[str]
    """How many turns of each are past."""

    def turn(self, symbol: str) -> str:
        return f"{self.name}.{self.ended[symbol]}" if self.ended[symbol] else self.name


class BookTurns:
    """The turns of one line; names are unique for ever. Cost: O(1) each, `end_all` O(sockets)."""

    def __init__(self, line: str) -> None:
        self._prefix, self._opened = f"{line}-{token_hex(4)}", 0
        self._sockets: dict[Session, _Socket] = {}

    def of(self, session: Session, symbol: str) -> str:
        """The turn in which a book is written over a socket now."""
        socket = self._sockets.get(session)
        if socket is None:
            self._opened += 1
            socket = self._sockets[session] = _Socket(f"{self._prefix}-{self._opened}", set(), Counter())
        socket.symbols.add(symbol)
        return socket.turn(symbol)

    def end(self, session: Session, symbol: str) -> None:
        """The turn of a book on a socket is past: another follows."""
        self._sockets[session].ended[symbol] += 1

    def end_all(self, symbol: str) -> None:
        """The line does not write a book any more: whatever it may write of it again is another turn."""
        for socket in self._sockets.values():
            if symbol in socket.symbols:
                socket.ended[symbol] += 1

    def close(self, session: Session) -> dict[str, str]:
        """A socket has ended: by symbol, the turns that end with it."""
        socket = self._sockets.pop(session, None)
        return {symbol: socket.turn(symbol) for symbol in socket.symbols} if socket else {}
