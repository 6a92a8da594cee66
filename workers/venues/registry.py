"""The venues by the name settings give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from workers.settings.schema import VenueSettings
from workers.venues.binance.venue import Binance
from workers.venues.bitfinex.venue import Bitfinex
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.bybit.venue import Bybit
from workers.venues.coinbase.venue import Coinbase
from workers.venues.interface import Venue
from workers.venues.kraken.venue import Kraken
from workers.venues.okx.venue import Okx
from workers.venues.tardis.venue import Tardis

_VENUES: Final[Mapping[str, Callable[[str, Any], Venue]]] = {
    "binance": Binance,
    "bitfinex": Bitfinex,
    "bitstamp": Bitstamp,
    "bybit": Bybit,
    "coinbase": Coinbase,
    "kraken": Kraken,
    "okx": Okx,
    "tardis": Tardis,
}
"""By the name of its folder; each takes the settings of that folder."""


def venue_of(name: str, settings: VenueSettings) -> Venue:
    """The venue a settings section describes."""
    return _VENUES[settings.exchange](name, settings)
