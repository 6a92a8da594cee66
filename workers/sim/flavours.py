"""The exchanges that can be simulated: one folder each, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from workers.sim.binance.exchange import BinanceFlavour
from workers.sim.bitfinex.exchange import BitfinexFlavour
from workers.sim.bybit.exchange import BybitFlavour
from workers.sim.coinbase.exchange import CoinbaseFlavour
from workers.sim.engine.flavour import Flavour
from workers.sim.kraken.exchange import KrakenFlavour
from workers.sim.okx.exchange import OkxFlavour
from workers.sim.settings import SimSettings

FLAVOURS: Final[dict[str, Callable[[SimSettings], Flavour[Any]]]] = {
    BinanceFlavour.name: BinanceFlavour,
    OkxFlavour.name: OkxFlavour,
    BybitFlavour.name: BybitFlavour,
    KrakenFlavour.name: KrakenFlavour,
    CoinbaseFlavour.name: CoinbaseFlavour,
    BitfinexFlavour.name: BitfinexFlavour,
}
