"""Which venues and symbols there are to ask about."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UnsetType

from workers.context import VenueContext, venue_contexts
from workers.errors import NotKnown
from workers.settings import Settings


class Market:
    """One symbol of one venue. There is one object of each, so that it can be compared and hashed by identity."""

    __slots__ = ("context", "symbol", "venue")

    def __init__(self, context: VenueContext, symbol: str) -> None:
        self.context = context
        self.symbol = symbol
        self.venue = context.name

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
        """The market a question is about. Raises: NotKnown."""
        name = self.first if isinstance(venue, UnsetType) else venue
        if name not in self.contexts:
            raise NotKnown(f"No venue {name}", f"one of {', '.join(self.contexts)}", f"{place}.venue")
        if not self.symbols(name):
            raise NotKnown(
                f"{name} has no symbols yet", "the keeper has not published them", f"{place}.symbol"
            )
        chosen = self.default_symbol(name) if isinstance(symbol, UnsetType) else symbol
        if chosen not in self.symbols(name):
            raise NotKnown(
                f"{name} has no symbol {chosen}", "GET /symbols lists the symbols", f"{place}.symbol"
            )
        return self._market(name, chosen)

    def named(self, text: str) -> Market:
        """The market written `BTCUSDT` or `spot:BTCUSDT`. Raises: NotKnown."""
        venue, colon, symbol = text.partition(":")
        return self.find(symbol, venue, "symbols") if colon else self.find(text, self.first, "symbols")
