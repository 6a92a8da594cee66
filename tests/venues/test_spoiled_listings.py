"""What cannot be used of a list is told by our spelling: its symbol is followed on, and not taken for gone."""

from __future__ import annotations

import json

import pytest

from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase
from workers.venues.interface import Venue
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken
from workers.venues.tardis.settings import TardisSettings
from workers.venues.tardis.venue import Tardis

PAIR = {"wsname": "XBT/USD", "altname": "XBTUSD", "tick_size": None}


@pytest.mark.parametrize(
    ("venue", "reply", "symbol"),
    [
        (Kraken("v", KrakenSettings(symbols=["S"])), {"result": {"XXBTZUSD": PAIR}}, "BTC-USD"),
        (
            Bitstamp("v", BitstampSettings(symbols=["S"])),
            [{"market_symbol": "btcusd-perp", "trading": None}],
            "BTCUSD-PERP",
        ),
        (
            Tardis("v", TardisSettings(market="kraken", symbols=["S"])),
            {"availableSymbols": [{"id": "xbt/usd", "type": 7}]},
            "XBT-USD",
        ),
        (
            Coinbase("v", CoinbaseSettings(symbols=["S"])),
            {"products": [{"product_id": "BTC-USD", "status": None}]},
            "BTC-USD",
        ),
    ],
    ids=["kraken", "bitstamp", "tardis", "coinbase"],
)
def test_what_cannot_be_used_is_named_as_it_is_followed(venue: Venue, reply: object, symbol: str) -> None:
    info = venue.info(json.dumps(reply).encode())
    assert (info.symbols, [bad.symbol for bad in info.bad]) == ({}, [symbol])
