"""Whether a line receives the trades of each symbol whole, of a venue whose trade ids do not show what is missing.

The log is told, and decides: of what no line received it gets a break (see `lua/log/append_numbered.lua`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from secrets import token_hex

import msgspec

from workers.runtime.context import VenueContext
from workers.store.keys import TRADES, Keys
from workers.store.log.streams import RawEntry
from workers.venues.session import Session


def lost(key: str, at_ms: int, line: str) -> RawEntry:
    """What tells the log that a line does not receive a stream of named trades any more."""
    return RawEntry(key, at_ms, 0, b"", at_ms * 1000, line, "lost", name=f"lost {line}")


def tell_dead(
    contexts: Iterable[VenueContext], line: str, now_ms: int, append: Callable[[RawEntry], None]
) -> None:
    """Tell the log of a line whose process is gone: it receives nothing, whatever it said last."""
    for context in contexts:
        if context.venue.facts.trade_ids != "consecutive":
            for symbol in context.symbols:
                append(lost(context.keys.raw(symbol, TRADES), now_ms, line))


def tells_wholeness(entry: RawEntry) -> bool:
    """Whether the log learns from an entry whether a line receives the trades of a symbol."""
    return bool(entry.name) and entry.kind in ("lost", "break")


class Wholeness:
    """What the sockets of one line bring, and since when it is missing.

    A stream counts as received from its first message on a socket on: before that there was no trade, or it is missing.
    It counts as lost from the last frame of the socket on, whenever that ended.

    Args:
        append: takes what the log is told, at its place among the trades.
    """

    def __init__(self, keys: Keys, line: str, append: Callable[[RawEntry], None]) -> None:
        self._keys = keys
        self._line = line
        self._append = append
        self._nonce, self._returns = token_hex(4), 0
        self._whole: set[str] = set()
        """Symbols whose trades come."""
        self._lost_ms: dict[str, int] = {}
        """Since when the trades of the others do not; those that never came are not in it."""
        self._sockets: dict[Session, set[str]] = {}
        """By socket, the symbols whose trades it brought."""
        self._handed_over: set[str] = set()
        """Symbols of succeeded sockets whose trades no other has brought yet."""
        self._last_us: dict[Session, int] = {}
        """When the last frame of each socket came."""
        self._last_trade_us: dict[str, int] = {}
        """When the last trade of each symbol came."""

    def frame(self, session: Session, received_us: int) -> None:
        """Something came over a socket."""
        self._last_us[session] = received_us

    def trade(self, session: Session, symbol: str, event_ms: int, received_us: int) -> None:
        """A trade came, and is appended next. Cost: O(1)."""
        self._sockets.setdefault(session, set()).add(symbol)
        if self._handed_over:
            self._handed_over.discard(symbol)
        self._last_trade_us[symbol] = received_us
        if symbol in self._whole:
            return
        self._whole.add(symbol)
        self._returns += 1
        since_ms = self._lost_ms.pop(symbol, 0)
        self._append(
            RawEntry(
                self._keys.raw(symbol, TRADES),
                event_ms,
                0,
                msgspec.json.encode({"since": since_ms}),
                received_us,
                self._line,
                "break",
                number=since_ms,
                name=f"break {self._line}-{self._nonce}-{self._returns}",
            )
        )

    def begun_anew(self, symbol: str) -> None:
        """The stream of a symbol begins anew on its socket: from its last trade on some may be missing."""
        if symbol in self._whole:
            self._lose(symbol, self._last_trade_us[symbol])

    def ended(self, session: Session, now_us: int, *, succeeded: bool) -> None:
        """A socket has ended.

        Args:
            succeeded: another one brings its streams already.
        """
        symbols, last_us = self._sockets.pop(session, set()), self._last_us.pop(session, now_us)
        if not succeeded:
            symbols, self._handed_over = symbols | self._handed_over, set()
        symbols = symbols.difference(*self._sockets.values())
        if succeeded:
            self._handed_over |= symbols
            return
        for symbol in symbols & self._whole:
            self._lose(symbol, last_us)

    def end(self, now_us: int) -> None:
        """The line brings nothing any more."""
        for symbol in list(self._whole):
            self._lose(symbol, now_us)

    def forget(self, symbol: str) -> None:
        """A symbol is given up."""
        self._whole.discard(symbol)
        self._lost_ms.pop(symbol, None)
        self._last_trade_us.pop(symbol, None)

    def _lose(self, symbol: str, last_us: int) -> None:
        self._whole.discard(symbol)
        self._lost_ms[symbol] = last_us // 1000
        self._append(lost(self._keys.raw(symbol, TRADES), last_us // 1000, self._line))
