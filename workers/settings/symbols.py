"""The lists of symbols in the settings: how they are spelled, and what cannot be meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.errors import SettingsError
from workers.model.symbols.names import symbol_problem, upper_symbol
from workers.model.symbols.selection import EVERYTHING, SymbolRule, spelled
from workers.settings.schema import Settings, VenueSettings

Refusal = Callable[[str, str, str], SettingsError]
"""Makes the error for a key: what is wrong with it, and a better value."""


def check_symbol(key: str, symbol: str, before: Sequence[str], refused: Refusal) -> None:
    """One name, which stands after others. Raises: SettingsError."""
    if problem := symbol_problem(symbol):
        raise refused(key, f"{symbol[:80]!r} cannot be a symbol: {problem}", "")
    if symbol in before:
        raise refused(key, f"{symbol!r} is there twice", "")


def check_symbols(section: str, venue: VenueSettings, refused: Refusal) -> None:
    """The symbols of a venue: names, patterns and exclusions, and their bound. Raises: SettingsError."""
    key = f"{section}.symbols"
    for index, word in enumerate(venue.symbols):
        letters = word.removeprefix("!").replace("*", "")
        if word != EVERYTHING and (letters or "*" not in word):
            check_symbol(key, letters, [], refused)
        if word in venue.symbols[:index]:
            raise refused(key, f"{word!r} is there twice", "")
    rule = SymbolRule.parse(venue.symbols, venue.max_symbols)
    if not rule.exact and not rule.patterns:
        problem = "chooses nothing" if venue.symbols else "is empty"
        raise refused(key, f"the list {problem}; name at least one symbol or remove the venue", "")
    if rule.excluded and not rule.patterns:
        raise refused(key, f"'!{rule.excluded[0]}' excludes from patterns, and there is none", "")
    if rule.patterns and rule.most and rule.most < len(rule.exact):
        raise refused(f"{section}.max_symbols", f"{len(rule.exact)} symbols are named one by one", "")


def spell_symbols(settings: Settings) -> None:
    """Symbols as exchanges spell them, whatever case they are written in; `usdm:` before one of usdm says nothing."""
    for name, venue in settings.venues.items():
        venue.symbols = [spelled(word, name) for word in venue.symbols]
    settings.exchange.spot_symbols = [upper_symbol(word) for word in settings.exchange.spot_symbols]
    settings.exchange.usdm_symbols = [upper_symbol(word) for word in settings.exchange.usdm_symbols]
