"""What Binance says of its symbols: exchangeInfo, 24 h tickers and the live `contractInfo` events of the futures.

Statuses (Binance docs): spot `TRADING`, `END_OF_DAY`, `HALT`, `BREAK`, `CANCEL_ONLY`; futures `PENDING_TRADING`,
`TRADING`, `PRE_DELIVERING`, `DELIVERING`, `DELIVERED`, `PRE_SETTLE`, `SETTLING`, `CLOSE`, `TRADING_HALT`. A delisted
perpetual stays in the list as `SETTLING`. A delisted spot pair says `BREAK`, as one that only pauses does, until it
goes from the list.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from workers.model.symbols import Phase, SymbolInfo
from workers.model.volumes import Ticker
from workers.venues import binance_wire as wire

ENDED: Final = frozenset({"DELIVERING", "DELIVERED", "SETTLING", "CLOSE"})
FAMILIES: Final = {"usdm": 1, "coinm": 2}
"""`st` of events on streams that carry both futures markets."""


def phase_of(status: str) -> Phase:
    """What a status means to us."""
    if status == "TRADING":
        return "trading"
    return "ended" if status in ENDED else "paused"


def symbol_info(listed: wire.ListedSymbol) -> SymbolInfo:
    """One entry of exchangeInfo; filters are found by their type."""
    filters = {found.filterType: found for found in listed.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    status = listed.status or listed.contractStatus
    return SymbolInfo(
        listed.symbol,
        status,
        listed.baseAsset,
        listed.quoteAsset,
        price.tickSize if price else "",
        lot.stepSize if lot else "",
        phase_of(status),
    )


def ticker(row: wire.TickerRow) -> Ticker:
    """One row of `ticker/24hr`. COIN-M gives the volume in coins only: times the mean price it is in dollars.

    Raises:
        ValueError: a number cannot be read.
    """
    if row.quoteVolume:
        volume = float(row.quoteVolume)
    else:
        volume = float(row.baseVolume or 0) * float(row.weightedAvgPrice or 0)
    price = float(row.lastPrice or 0)
    if not (isfinite(volume) and isfinite(price)):
        raise ValueError(f"{row.symbol} has a number that is not finite")
    return Ticker(row.symbol, volume, price)
