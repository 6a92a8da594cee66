"""What Binance says of its symbols: exchangeInfo, 24 h tickers and the live `contractInfo` events of the futures.

Statuses (Binance docs): spot `TRADING`, `END_OF_DAY`, `HALT`, `BREAK`, `CANCEL_ONLY`; futures `PENDING_TRADING`,
`TRADING`, `PRE_DELIVERING`, `DELIVERING`, `DELIVERED`, `PRE_SETTLE`, `SETTLING`, `CLOSE`, `TRADING_HALT`. A delisted
perpetual stays in the list as `SETTLING`. A delisted spot pair says `BREAK`, as one that only pauses does, until it
goes from the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.binance import wire
from workers.venues.interface import ExchangeInfo, Tickers
from workers.venues.tolerant_json import checked_symbol, each, finite, listing

ENDED: Final = frozenset({"DELIVERING", "DELIVERED", "SETTLING", "CLOSE"})
FAMILIES: Final = {"usdm": 1, "coinm": 2}
"""`st` of events on streams that carry both futures markets."""

_listed = msgspec.json.Decoder(wire.ListedSymbol)
_row = msgspec.json.Decoder(wire.TickerRow)
_limit = msgspec.json.Decoder(wire.RateLimit)


def stream_symbol(symbol: str) -> str:
    """A symbol as stream names spell it: only ASCII letters have a lower case (`币安人生USDT` → `币安人生usdt`)."""
    return symbol.encode().lower().decode()


def phase_of(status: str) -> Phase:
    """What a status means to us."""
    if status == "TRADING":
        return "trading"
    return "ended" if status in ENDED else "paused"


def symbol_info(listed: wire.ListedSymbol) -> SymbolInfo:
    """One entry of exchangeInfo; filters are found by their type. Raises: ValueError."""
    filters = {found.filterType: found for found in listed.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    status = listed.status or listed.contractStatus
    return SymbolInfo(
        checked_symbol(listed.symbol),
        plain(status),
        plain(listed.baseAsset),
        plain(listed.quoteAsset),
        plain(price.tickSize) if price else "",
        plain(lot.stepSize) if lot else "",
        phase_of(status),
    )


def exchange_info(reply: wire.ExchangeInfoReply) -> ExchangeInfo:
    """The whole list; an element that cannot be used is told apart and costs no other. O(elements)."""
    found = listing(reply.symbols, _listed, "symbol", symbol_info)
    found.weight_limit = _weight_limit(reply.rateLimits)
    return found


def tickers(rows: Iterable[msgspec.Raw]) -> Tickers:
    """The rows of `ticker/24hr`, in the same way."""
    return Tickers(*each(rows, _row, "symbol", ticker))


def _weight_limit(limits: Sequence[msgspec.Raw]) -> int:
    """The least request weight a minute that is told, and can be one where there are several; 0: none is."""
    wanted = ("REQUEST_WEIGHT", "MINUTE", 1)
    rows, _ = each(limits, _limit, "rateLimitType", lambda row: row)
    known = [row.limit for row in rows if (row.rateLimitType, row.interval, row.intervalNum) == wanted]
    return min((limit for limit in known if limit > 0), default=min(known, default=0))


def ticker(row: wire.TickerRow) -> Ticker:
    """One row of `ticker/24hr`. COIN-M gives the volume in coins only: times the mean price it is in dollars.

    Raises:
        ValueError: a number cannot be read.
    """
    if row.quoteVolume:
        volume = finite(row.quoteVolume)
    else:
        volume = finite(finite(row.baseVolume) * finite(row.weightedAvgPrice))
    return Ticker(row.symbol, volume, finite(row.lastPrice))
