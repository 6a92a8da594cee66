"""The venues by the name settings give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from workers.settings.schema import VenueSettings
from workers.venues.binance.venue import Binance
from workers.venues.interface import Venue

_VENUES: Final[Mapping[str, Callable[[str, VenueSettings], Venue]]] = {"binance": Binance}


def venue_of(name: str, settings: VenueSettings) -> Venue:
    """The venue a settings section describes."""
    return _VENUES[settings.exchange](name, settings)
