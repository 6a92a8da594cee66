"""Which venues and symbols there are to ask about."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UnsetType

from workers.errors import InvalidSymbol, NotKnown, TryLater, UnknownSymbol, UnknownVenue
from workers.model.symbols.names import parse_symbol, parse_venue, unknown_symbol
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.schema import Settings


class Market:
    """One symbol of one venue. There is one object of each, so that it can be compared and hashed by identity."""

    __slots__ = ("context", "symbol", "venue")

    def __init__(self, context: VenueContext, symbol: str) -> None:
        self.context = context
        self.symbol = symbol
        self.venue = context.name

    def refuse_unlisted(self, where: str = "symbol") -> None:
        """Say why nothing is there to answer with, where that is because the exchange has no such symbol.

        Raises:
            NotKnown: the settings name the symbol, and the exchange does not list it.
        """
        near = self.context.symbols.unlisted.get(self.symbol)
        if near is not None:
            error = UnknownSymbol(self.venue, self.symbol, near, listed=False)
            raise NotKnown(f"{error.problem[0].upper()}{error.problem[1:]}", error.hint, where)

    def __str__(self) -> str:
        """As it is written in subscriptions: `spot:BTCUSDT`."""
        return f"{self.venue}:{self.symbol}"


class Markets:
    """The venues of the settings and the symbols followed."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.api.default_symbol
        self.contexts = {context.name: context for context in venue_contexts(settings)}
        self.first = next(iter(self.contexts))
        self._known: dict[tuple[str, str], Market] = {}

    def symbols(self, venue: str) -> Sequence[str]:
        """The symbols followed at a venue now, the most important first."""
        return self.contexts[venue].symbols

    def all(self) -> list[Market]:
        """Every symbol of every venue."""
        return [self._market(name, symbol) for name in self.contexts for symbol in self.symbols(name)]

    def _market(self, venue: str, symbol: str) -> Market:
        known = self._known.get((venue, symbol))
        if known is None:
            known = self._known[venue, symbol] = Market(self.contexts[venue], symbol)
        return known

    def default_symbol(self, venue: str) -> str:
        """The symbol a question without one is about; empty where the venue has none."""
        symbols = self.symbols(venue)
        if self._default in symbols:
            return self._default
        return symbols[0] if symbols else ""

    def find(self, symbol: str | UnsetType, venue: str | UnsetType, place: str = "query") -> Market:
        """The market a question is about, however its symbol is written (`workers.model.symbols.names`).

        Raises:
            NotKnown: there is no such venue, or it does not follow the symbol.
            TryLater: it is not known yet what the venue follows.
        """
        given = None if isinstance(venue, UnsetType) else self._venue(venue, f"{place}.venue")
        if isinstance(symbol, UnsetType):
            return self._default_market(given or self.first, f"{place}.symbol")
        found = self._named(symbol, f"{place}.symbol", given)
        if given is not None and found.venue != given:
            raise NotKnown(f"{symbol} is no symbol of {given}", "leave one of them out", f"{place}.venue")
        return found

    def named(self, text: str, where: str = "symbols") -> Market:
        """The market written `BTCUSDT` or `spot:BTCUSDT`. Raises: NotKnown, TryLater: as `find`."""
        return self._named(text, where, None)

    def _default_market(self, venue: str, where: str) -> Market:
        if not self.symbols(venue):
            self._refuse_undecided(venue, where)
            raise NotKnown(f"{venue} follows no symbol", "its patterns choose none", where)
        return self._market(venue, self.default_symbol(venue))

    def _refuse_undecided(self, venue: str, where: str) -> None:
        """Raise TryLater where nobody has said yet which symbols a venue's patterns choose."""
        if not self.contexts[venue].symbols.chosen:
            raise TryLater(f"{venue} has no symbols yet", "the keeper has not published them", where)

    def _named(self, text: str, where: str, venue: str | None) -> Market:
        """The market a text means; `venue`: of a text that names none, else the first."""
        others = [name for name in self.contexts if name != venue]
        try:
            name = parse_symbol(text, [venue, *others] if venue else others)
        except UnknownVenue as error:
            raise NotKnown(error.problem, error.hint, where) from None
        except InvalidSymbol as error:
            raise NotKnown(f"{error.text!r} names no symbol", error.problem, where) from None
        followed = self.symbols(name.venue)
        if name.symbol not in followed:
            self._refuse_undecided(name.venue, where)
            unknown = unknown_symbol(name, followed)
            raise NotKnown(unknown.problem, f"{unknown.hint}; GET /symbols lists all", where)
        return self._market(name.venue, name.symbol)

    def _venue(self, text: str, where: str) -> str:
        try:
            return parse_venue(text, list(self.contexts))
        except UnknownVenue as error:
            raise NotKnown(error.problem, error.hint, where) from None
