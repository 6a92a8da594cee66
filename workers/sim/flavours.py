"""The exchanges that can be simulated: one folder each, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from aiohttp import web

from workers.sim.binance.exchange import BinanceFlavour
from workers.sim.bitfinex.exchange import BitfinexFlavour
from workers.sim.bitstamp.exchange import BitstampFlavour
from workers.sim.bybit.exchange import BybitFlavour
from workers.sim.coinbase.exchange import CoinbaseFlavour
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.flavour import FeedOfFlavour, Flavour
from workers.sim.kraken.exchange import ORDERS_PATH, KrakenFlavour
from workers.sim.okx.exchange import OkxFlavour
from workers.sim.settings import SimSettings


class RestApi(Protocol):
    """The REST side of an exchange."""

    def routes(self) -> list[web.RouteDef]:
        """All its routes."""


class WholeFlavour(Flavour[FeedOfFlavour], Protocol[FeedOfFlavour]):
    """One exchange with its REST, which is over the running exchange."""

    def rest(self, exchange: Exchange[FeedOfFlavour], clock_ms: Callable[[], float]) -> RestApi:
        """The REST side over an exchange; `clock_ms()` is exchange time."""


FLAVOURS: Final[dict[str, Callable[[SimSettings], WholeFlavour[Any]]]] = {
    BinanceFlavour.name: BinanceFlavour,
    OkxFlavour.name: OkxFlavour,
    BybitFlavour.name: BybitFlavour,
    KrakenFlavour.name: KrakenFlavour,
    CoinbaseFlavour.name: CoinbaseFlavour,
    BitfinexFlavour.name: BitfinexFlavour,
    BitstampFlavour.name: BitstampFlavour,
}

ORDERS_PATHS: Final = {KrakenFlavour.name: ORDERS_PATH}
"""Where single orders are, of exchanges that have them elsewhere than books."""
