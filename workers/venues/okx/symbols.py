"""What OKX says of its instruments: `public/instruments` and `market/tickers`.

States: `live`, `suspend`, `preopen`, `expired`, `test`, and `rebase` while a contract's terms change. What is delisted
goes from the list.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.interface import ExchangeInfo, Tickers
from workers.venues.okx import wire
from workers.venues.tolerant_json import checked_symbol, each, finite, listing


def phase_of(state: str) -> Phase:
    """What a state means to us."""
    if state == "live":
        return "trading"
    return "ended" if state == "expired" else "paused"


def symbol_info(listed: wire.ListedInstrument) -> SymbolInfo:
    """One instrument; derivatives name their assets by their family only (`BTC-USD`). Raises: ValueError."""
    base, _, quote = listed.instFamily.partition("-")
    return SymbolInfo(
        checked_symbol(listed.instId),
        plain(listed.state),
        plain(listed.baseCcy or base),
        plain(listed.quoteCcy or quote),
        plain(listed.tickSz),
        plain(listed.lotSz),
        phase_of(listed.state),
    )


def instruments(elements: Iterable[Raw]) -> ExchangeInfo:
    """The whole list. O(elements)."""
    return listing(elements, wire.instrument_decoder, "instId", symbol_info)


def tickers(elements: Iterable[Raw], *, spot: bool) -> Tickers:
    """What each traded in 24 h; of derivatives the base currency is told, times the last price it is quote."""

    def ticker(row: wire.TickerRow) -> Ticker:
        last, volume = finite(row.last), finite(row.volCcy24h)
        return Ticker(row.instId, volume if spot else finite(volume * last), last)

    return Tickers(*each(elements, wire.ticker_decoder, "instId", ticker))
