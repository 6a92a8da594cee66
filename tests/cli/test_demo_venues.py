"""What `fleet demo --venue` says of every simulated exchange: sockets and symbols that are there."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from workers.operations.exchange_program import flavour_settings
from workers.operations.simulated_venues import environment_with
from workers.settings.exchanges import DEFAULT
from workers.settings.loading import load
from workers.settings.signed import SignedVenueSettings, key_of
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings
from workers.venues.registry import venue_of


@pytest.mark.parametrize("exchange", [name for name in FLAVOURS if name != DEFAULT])
def test_every_market_can_be_followed(exchange: str) -> None:
    flavour = FLAVOURS[exchange](SimSettings(flavour=exchange))
    said = environment_with([f"{exchange}:{market}" for market in flavour.markets])
    settings = load(Path("demo.toml"), said).settings
    assert settings.exchange.flavours[exchange] > 0
    markets = {name: venue for name, venue in settings.venues.items() if venue.exchange == exchange}
    assert {venue.market for venue in markets.values()} == set(flavour.markets)
    for name, section in markets.items():
        listed = list(flavour.listed(section.market))
        assert section.symbols == listed
        if isinstance(section, SignedVenueSettings):
            assert section.missing_key(name) == ""
            [known] = [one.key for one in flavour_settings(settings) if one.flavour == exchange]
            assert known == key_of(section)
        paths = {urlsplit(endpoint.url).path or "/" for endpoint in venue_of(name, section).endpoints(listed)}
        assert paths <= {route for root in flavour.roots for route in root.routes}


def test_an_exchange_without_a_market_brings_the_one_that_tells_orders_and_one_key() -> None:
    venues = load(Path("demo.toml"), environment_with(["coinbase"])).settings.venues
    assert (venues["coinbase"].market, venues["coinbase"].orders) == ("advanced", False)
    single = venues["coinbase_exchange"]
    assert (single.market, single.orders) == ("exchange", True)
    assert key_of(single) == key_of(venues["coinbase"])
    assert "coinbase" not in load(Path("demo.toml"), environment_with(["coinbase:exchange"])).settings.venues
    assert "okx_swap" not in load(Path("demo.toml"), environment_with(["okx"])).settings.venues
