"""What Bitstamp says of its markets, and how names are spelled: `btcusd` and `btcusd-perp` there, capitals here."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, Raw, UnsetType

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.names import upper_symbol
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.bitstamp import wire
from workers.venues.interface import ExchangeInfo, Tickers
from workers.venues.tolerant_json import checked_symbol, each, finite, listing

_PERPETUAL = "-PERP"


def wire_symbol(symbol: str) -> str:
    """`BTCUSD-PERP` → `btcusd-perp`; only ASCII letters have a lower case."""
    return symbol.encode().lower().decode()


def symbol_of(wire_name: str) -> str:
    """`btcusd-perp` → `BTCUSD-PERP`.

    Raises:
        ValueError: it has a capital, so is not the exchange's, or what no symbol has.
    """
    symbol = upper_symbol(wire_name)
    if wire_symbol(symbol) != wire_name:
        raise ValueError("it is not in small letters")
    return checked_symbol(symbol)


def phase_of(trading: str) -> Phase:
    """What `trading` means to us: `Enabled`, or anything else."""
    return "trading" if trading == "Enabled" else "paused"


def symbol_info(listed: wire.Market) -> SymbolInfo:
    """One market; its steps follow from its decimals, as `tick_size` is not kept. Raises: ValueError."""
    base, _, counter = listed.name.removesuffix(_PERPETUAL).partition("/")
    return SymbolInfo(
        symbol_of(listed.market_symbol),
        plain(listed.trading),
        plain(listed.base_currency or base),
        plain(listed.counter_currency or counter),
        _step(listed.counter_decimals),
        _step(listed.base_decimals),
        phase_of(listed.trading),
    )


def _step(decimals: int | UnsetType) -> str:
    if decimals is UNSET:
        return ""
    return f"0.{'1'.zfill(decimals)}" if decimals else "1"


def markets(elements: Iterable[Raw]) -> ExchangeInfo:
    """The whole list. O(elements)."""
    return listing(elements, wire.market_decoder, "market_symbol", symbol_info, symbol_of)


def tickers(elements: Iterable[Raw]) -> Tickers:
    """What each traded in 24 h; the base asset is told, times the mean price it is quote."""

    def ticker(row: wire.TickerRow) -> Ticker:
        last = finite(row.last)
        symbol = checked_symbol(upper_symbol(row.pair.replace("/", "")))
        return Ticker(symbol, finite(finite(row.volume) * (finite(row.vwap) or last)), last)

    return Tickers(*each(elements, wire.ticker_decoder, "pair", ticker))
