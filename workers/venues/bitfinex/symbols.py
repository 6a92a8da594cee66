"""Bitfinex's pairs. `tBTCUSD` and `tDOGE:USD` on the wire are `BTCUSD` and `DOGE_USD` here.

Lists say `BTCUSD` and `DOGE:USD`. There is no tick size: prices have five significant digits, amounts eight decimals.
A pair that is delisted goes from the list.
"""

from __future__ import annotations

from typing import Final

import msgspec

from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.bitfinex import wire
from workers.venues.interface import ExchangeInfo, Tickers
from workers.venues.tolerant_json import each, finite, listing

STEP: Final = "0.00000001"
_SHORT_PAIR: Final = 6
"""Letters of a pair without a colon: two codes of three."""

_text = msgspec.json.Decoder(str)
_row = msgspec.json.Decoder(wire.TickerRow)


def symbol_of(wire_name: str) -> str:
    """`tDOGE:USD` → `DOGE_USD`.

    Raises:
        ValueError: no pair is spelled like that.
    """
    symbol = wire_name[1:].replace(":", "_")
    if wire_name[:1] != "t" or "_" in wire_name or symbol_problem(symbol):
        raise ValueError(f"{plain(wire_name, 40)} is no pair")
    return symbol


def wire_symbol(symbol: str) -> str:
    """`DOGE_USD` → `tDOGE:USD`."""
    return "t" + symbol.replace("_", ":")


def exchange_info(pairs: list[msgspec.Raw]) -> ExchangeInfo:
    """The whole list; an element that cannot be used is told apart and costs no other. O(elements)."""
    return listing(pairs, _text, "", _info)


def _info(pair: str) -> SymbolInfo:
    return SymbolInfo(symbol_of(f"t{pair}"), "listed", *_assets(pair), "", STEP)


def _assets(pair: str) -> tuple[str, str]:
    base, colon, quote = pair.partition(":")
    if colon:
        return base, quote
    if len(pair) != _SHORT_PAIR:
        raise ValueError(f"{plain(pair, 40)} is no pair of two codes")
    return pair[:3], pair[3:]


def tickers(rows: list[msgspec.Raw]) -> Tickers:
    """The rows of `tickers` that are of pairs, not of funding: `["tBTCUSD",…,last price,volume,high,low]`."""
    of_pairs = [row for row in rows if bytes(row)[:2] != b'["' or bytes(row)[2:3] == b"t"]
    return Tickers(*each(of_pairs, _row, "", _ticker))


def _ticker(row: wire.TickerRow) -> Ticker:
    return Ticker(symbol_of(row.symbol), finite(row.last * row.volume), finite(row.last))
