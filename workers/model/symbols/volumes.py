"""What symbols traded, in one unit: volumes of different quote assets cannot be compared as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workers.model.symbols.info import SymbolInfo


class Ticker(NamedTuple):
    """A symbol's last day: traded value in its quote asset, and the last price. Doubles do for an order of size."""

    symbol: str
    quote_volume: float
    last_price: float


def comparable_volumes(tickers: Iterable[Ticker], listed: Mapping[str, SymbolInfo]) -> dict[str, float]:
    """Each listed symbol's volume in the quote asset most symbols have (on spot and USD-M: USDT).

    A quote asset is converted at the last price of its pair with that unit, whichever way round the pair is listed; one
    without such a pair counts nothing, so that 10^9 rupiahs do not outrank 10^6 dollars.
    """
    known = [ticker for ticker in tickers if ticker.symbol in listed]
    quotes = Counter(listed[ticker.symbol].quote_asset for ticker in known)
    unit = max(quotes, key=lambda asset: (quotes[asset], asset), default="")
    rates = {unit: 1.0}
    for ticker in known:
        base, quote = listed[ticker.symbol].base_asset, listed[ticker.symbol].quote_asset
        if ticker.last_price > 0:
            if quote == unit:
                rates.setdefault(base, ticker.last_price)
            elif base == unit:
                rates.setdefault(quote, 1 / ticker.last_price)
    return {
        ticker.symbol: ticker.quote_volume * rates.get(listed[ticker.symbol].quote_asset, 0.0)
        for ticker in known
    }
