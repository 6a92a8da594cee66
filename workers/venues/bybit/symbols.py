"""What Bybit says of its instruments: `instruments-info` and `tickers`.

Statuses: `PreLaunch`, `Trading`, `Delivering`, `Closed`; contracts that are settled say `Settling`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Raw

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.bybit import wire
from workers.venues.interface import ExchangeInfo, Tickers
from workers.venues.tolerant_json import checked_symbol, each, finite, listing

ENDED: Final = frozenset({"Delivering", "Settling", "Closed"})


def phase_of(status: str) -> Phase:
    """What a status means to us."""
    if status == "Trading":
        return "trading"
    return "ended" if status in ENDED else "paused"


def symbol_info(listed: wire.ListedInstrument) -> SymbolInfo:
    """One instrument. Raises: ValueError."""
    return SymbolInfo(
        checked_symbol(listed.symbol),
        plain(listed.status),
        plain(listed.baseCoin),
        plain(listed.quoteCoin),
        plain(listed.priceFilter.tickSize),
        plain(listed.lotSizeFilter.qtyStep or listed.lotSizeFilter.basePrecision),
        phase_of(listed.status),
    )


def instruments(elements: Iterable[Raw]) -> ExchangeInfo:
    """One page of the list. O(elements)."""
    return listing(elements, wire.instrument_decoder, "symbol", symbol_info)


def tickers(elements: Iterable[Raw], *, inverse: bool) -> Tickers:
    """What each traded in 24 h, in its quote currency."""

    def ticker(row: wire.TickerRow) -> Ticker:
        volume = finite(row.volume24h if inverse else row.turnover24h)
        return Ticker(row.symbol, volume, finite(row.lastPrice))

    return Tickers(*each(elements, wire.ticker_decoder, "symbol", ticker))
