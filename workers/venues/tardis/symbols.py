"""How symbols are spelled: as Tardis does, in capitals, with signs that keys can have.

Kraken's `BTC/USD` is `BTC-USD`, Bitfinex' `DOGE:USD` is `DOGE_USD`, as where those exchanges are followed directly.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from msgspec import Raw
from msgspec.json import Decoder

from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.names import upper_symbol
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.interface import ExchangeInfo, Tickers
from workers.venues.tardis.wire import ListedSymbol
from workers.venues.tolerant_json import checked_symbol, listing

SIGNS: Final = {
    "kraken": ("/", "-"), "bitfinex": (":", "_"), "bitfinex-derivatives": (":", "_"), "ftx": ("/", "."),
    "ftx-us": ("/", "."), "ascendex": ("/", "."), "hyperliquid": ("/", "."),
}  # fmt: skip
"""By Tardis' name of the exchange: the sign of theirs that no key can have, and ours."""
_listed = Decoder(ListedSymbol)


def wire_symbol(exchange: str, symbol: str) -> str:
    """A symbol of ours as the machine is asked for it; it takes either case."""
    theirs, ours = SIGNS.get(exchange, ("", ""))
    return symbol.replace(ours, theirs) if ours else symbol


def symbol_of(exchange: str, wire_name: str) -> str:
    """The reverse. Raises: ValueError, where keys cannot have it."""
    theirs, ours = SIGNS.get(exchange, ("", ""))
    return checked_symbol(upper_symbol(wire_name.replace(theirs, ours) if theirs else wire_name))


def _info(exchange: str, listed: ListedSymbol) -> SymbolInfo:
    is_ended = listed.available_to is not None
    status, phase = ("ENDED", "ended") if is_ended else ("TRADING", "trading")
    return SymbolInfo(symbol_of(exchange, plain(listed.id)), status, "", "", "", "", phase)  # type: ignore[arg-type]  # a Phase


def info(exchange: str, elements: Iterable[Raw]) -> ExchangeInfo:
    """The whole list; Tardis says nothing of assets and steps without a key. O(elements)."""
    return listing(elements, _listed, "id", partial(_info, exchange), partial(symbol_of, exchange))


def tickers(listed: ExchangeInfo) -> Tickers:
    """What nobody tells: all symbols traded alike."""
    return Tickers([Ticker(symbol, 0.0, 0.0) for symbol in listed.symbols], listed.bad)
