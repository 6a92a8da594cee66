"""A venue with what the settings say of it: its keys and its symbols."""

from __future__ import annotations

from typing import NamedTuple

from workers.model.symbols.selection import SymbolRule
from workers.model.symbols.shares import WHOLE, Share
from workers.settings.schema import Settings, VenueSettings
from workers.store.fleet.followed import FollowedSymbols
from workers.store.keys import Keys
from workers.venues.interface import Venue
from workers.venues.registry import venue_of


class VenueContext(NamedTuple):
    """One section of `[venues]`, ready for use."""

    name: str
    venue: Venue
    settings: VenueSettings
    keys: Keys
    symbols: FollowedSymbols
    """Those followed now; whoever wants to know of changes calls `refresh` (or `workers.runtime.follow_symbols`)."""


def venue_contexts(settings: Settings, share: Share = WHOLE) -> list[VenueContext]:
    """The venues of the settings, in their order; the first has no key prefix.

    Args:
        share: which of their symbols are this process's.
    """
    return [
        VenueContext(
            name,
            venue_of(name, venue),
            venue,
            Keys("" if number == 0 else f"{name}:", venue.channels),
            FollowedSymbols(name, SymbolRule.parse(venue.symbols, venue.max_symbols), share),
        )
        for number, (name, venue) in enumerate(settings.venues.items())
    ]
