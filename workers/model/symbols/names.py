"""How people write symbols: one rule for the command line, the client, REST and WebSocket.

    parse_symbol("btcusdt", ["usdm", "spot"])        # usdm, BTCUSDT
    parse_symbol("SPOT:ethusdt", ["usdm", "spot"])   # spot, ETHUSDT

A text is `SYMBOL` or `venue:SYMBOL`. ASCII letters may be written in either case; without a venue the first one of the
settings is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple
from unicodedata import category

from workers.errors import InvalidSymbol, UnknownSymbol, UnknownVenue

LONGEST_SYMBOL: Final = 64
"""Characters; the longest names that exchanges list have about half of that."""
MOST_NEAR: Final = 3
NEAR: Final = 0.6
"""How like a name must be to be called near, as difflib measures it: 0 to 1."""
_MARKS: Final = frozenset("_-.")
"""What a symbol has beside letters and digits of any script. Everything else is a mark of keys, stream names, paths,
URLs, settings or pages, or cannot be seen."""


_BLANK: Final = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
)  # fmt: skip
"""Letters and marks of which nothing is seen (Unicode: Default_Ignorable_Code_Point): a name with one looks like
another."""


class SymbolName(NamedTuple):
    """A symbol of a venue of the settings; whether it is followed is another question."""

    venue: str
    symbol: str


def parse_symbol(text: str, venues: Sequence[str]) -> SymbolName:
    """What a text means. O(length of the text + venues).

    Args:
        venues: the names of the settings' sections, in their order.

    Raises:
        UnknownVenue: there is no such section.
        InvalidSymbol: no symbol is written like that.
    """
    venue, colon, symbol = text.strip().rpartition(":")
    return SymbolName(parse_venue(venue, venues) if colon else venues[0], fold_symbol(symbol))


def parse_venue(text: str, venues: Sequence[str]) -> str:
    """The name of a section of the settings, whichever case its ASCII letters are written in.

    Raises:
        UnknownVenue: there is none.
    """
    if text in venues:
        return text
    folded = upper_symbol(text.strip())
    for name in venues:
        if upper_symbol(name) == folded:
            return name
    raise UnknownVenue(text, venues, near_names(text, venues, 1))


def fold_symbol(text: str) -> str:
    """A symbol as exchanges spell it: ASCII letters upper, others (币安人生USDT) as they are.

    Raises:
        InvalidSymbol: it is empty or too long, or has characters no symbol has.
    """
    symbol = upper_symbol(text.strip())
    if problem := symbol_problem(symbol):
        raise InvalidSymbol(text, problem)
    return symbol


def symbol_problem(symbol: str) -> str:
    """Why no symbol is spelled like this, whoever says so, settings or exchange; empty where one may be. O(length)."""
    if not symbol:
        return "it is empty"
    if len(symbol) > LONGEST_SYMBOL:
        return f"it is longer than {LONGEST_SYMBOL} characters"
    if not symbol.strip(".") or not all(_is_plain(sign) for sign in symbol) or category(symbol[0])[0] == "M":
        return "it has characters that no symbol has"
    return "" if symbol == upper_symbol(symbol) else "it is not in capitals"


def _is_plain(sign: str) -> bool:
    # combining marks belong to the letters of many scripts, and are no letters themselves
    return (sign.isalnum() or sign in _MARKS or category(sign) in ("Mn", "Mc")) and not (
        sign >= "\u034f" and any(first <= ord(sign) <= last for first, last in _BLANK)
    )


def near_names(name: str, known: Iterable[str], most: int = MOST_NEAR) -> list[str]:
    """The names most like one, the most alike first; none where nothing is like it. O(known)."""
    folded = upper_symbol(name)
    by_folded = {upper_symbol(other): other for other in known}
    return [by_folded[near] for near in get_close_matches(folded, by_folded, most, NEAR)]


def unknown_symbol(name: SymbolName, followed: Iterable[str], *, listed: bool | None = None) -> UnknownSymbol:
    """The error to raise for a symbol that is not followed.

    Args:
        followed: the symbols of the same venue that are.
        listed: whether the exchange lists it; None where that is not known.
    """
    return UnknownSymbol(name.venue, name.symbol, near_names(name.symbol, followed), listed=listed)


def upper_symbol(text: str) -> str:
    """With ASCII letters in upper case; `str.upper` would change others too, such as ß and ı."""
    return "".join(sign.upper() if sign.isascii() else sign for sign in text)
