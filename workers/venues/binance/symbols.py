"""What Binance says of its symbols: exchangeInfo, 24 h tickers and the live `contractInfo` events of the futures.

Statuses (Binance docs): spot `TRADING`, `END_OF_DAY`, `HALT`, `BREAK`, `CANCEL_ONLY`; futures `PENDING_TRADING`,
`TRADING`, `PRE_DELIVERING`, `DELIVERING`, `DELIVERED`, `PRE_SETTLE`, `SETTLING`, `CLOSE`, `TRADING_HALT`. A delisted
perpetual stays in the list as `SETTLING`. A delisted spot pair says `BREAK`, as one that only pauses does, until it
goes from the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Final

import msgspec

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.binance import wire
from workers.venues.interface import BadListing, ExchangeInfo, Tickers

ENDED: Final = frozenset({"DELIVERING", "DELIVERED", "SETTLING", "CLOSE"})
FAMILIES: Final = {"usdm": 1, "coinm": 2}
"""`st` of events on streams that carry both futures markets."""
_UNUSABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)

_listed = msgspec.json.Decoder(wire.ListedSymbol)
_row = msgspec.json.Decoder(wire.TickerRow)
_limit = msgspec.json.Decoder(wire.RateLimit)
_named = msgspec.json.Decoder(wire.Named)


def stream_symbol(symbol: str) -> str:
    """A symbol as stream names spell it: only ASCII letters have a lower case (`币安人生USDT` → `币安人生usdt`)."""
    return symbol.encode().lower().decode()


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
        plain(status),
        plain(listed.baseAsset),
        plain(listed.quoteAsset),
        plain(price.tickSize) if price else "",
        plain(lot.stepSize) if lot else "",
        phase_of(status),
    )


def exchange_info(reply: wire.ExchangeInfoReply) -> ExchangeInfo:
    """The whole list; an element that cannot be used is told apart and costs no other. O(elements)."""
    symbols, bad = {}, []
    for element in reply.symbols:
        listed = _element(_listed, element)
        if isinstance(listed, BadListing):
            bad.append(listed)
        elif problem := symbol_problem(listed.symbol):
            bad.append(BadListing(listed.symbol, problem))
        else:
            symbols[listed.symbol] = symbol_info(listed)
    return ExchangeInfo(symbols, _weight_limit(reply.rateLimits), bad)


def tickers(rows: Iterable[msgspec.Raw]) -> Tickers:
    """The rows of `ticker/24hr`, in the same way."""
    found: list[Ticker] = []
    bad = []
    for element in rows:
        row = _element(_row, element)
        if isinstance(row, BadListing):
            bad.append(row)
            continue
        try:
            found.append(ticker(row))
        except ValueError as error:
            bad.append(BadListing(row.symbol, str(error)))
    return Tickers(found, bad)


def _element(decoder: msgspec.json.Decoder[Any], element: msgspec.Raw) -> Any:
    """What an element holds, or a `BadListing`."""
    try:
        return decoder.decode(element)
    except _UNUSABLE as error:
        problem = str(error)
    try:
        return BadListing(_named.decode(element).symbol, problem)
    except _UNUSABLE:
        return BadListing("", problem)


def _weight_limit(limits: Sequence[msgspec.Raw]) -> int:
    """The least request weight a minute that is told, and can be one where there are several; 0: none is."""
    wanted = ("REQUEST_WEIGHT", "MINUTE", 1)
    known = [
        limit.limit
        for limit in (_element(_limit, element) for element in limits)
        if isinstance(limit, wire.RateLimit)
        and (limit.rateLimitType, limit.interval, limit.intervalNum) == wanted
    ]
    return min((limit for limit in known if limit > 0), default=min(known, default=0))


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
