"""Kraken's pairs and their spellings.

Socket v2 says `BTC/USD`; socket v1 and the `wsname` of REST say `XBT/USD`; REST's own keys are `XXBTZUSD`, its
`altname` `XBTUSD`, which alone could be `XB/TUSD` too. Ours is that of v2 with a hyphen: `BTC-USD`.

Statuses (Kraken docs): online, cancel_only, delisted, limit_only, maintenance, post_only, reduce_only,
work_in_progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.names import symbol_problem
from workers.model.symbols.volumes import Ticker
from workers.plain_text import plain
from workers.venues.interface import BadListing, ExchangeInfo, Tickers
from workers.venues.kraken import wire
from workers.venues.tolerant_json import UNUSABLE, finite, name_in

_OLD_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}
_NEW_NAMES: Final = {new: old for old, new in _OLD_NAMES.items()}
_TRADES_HAPPEN: Final = frozenset({"online", "limit_only", "reduce_only"})

_pair = msgspec.json.Decoder(wire.Pair)
_pair_ticker = msgspec.json.Decoder(wire.PairTicker)


@lru_cache(4096)
def symbol_of(wire_name: str) -> str:
    """`BTC/USD`, or `XBT/USD` of v1 and REST → `BTC-USD`.

    Raises:
        ValueError: no pair is spelled like that.
    """
    base, slash, quote = wire_name.partition("/")
    symbol = f"{_OLD_NAMES.get(base, base)}-{_OLD_NAMES.get(quote, quote)}"
    if not (base and slash and quote) or symbol.count("-") > 1:
        raise ValueError(f"{plain(wire_name, 40)} is no pair")
    if problem := symbol_problem(symbol):
        raise ValueError(f"{plain(wire_name, 40)} is no symbol: {problem}")
    return symbol


def wire_symbol(symbol: str) -> str:
    """`BTC-USD` → `BTC/USD`."""
    return symbol.replace("-", "/")


def old_wire_symbol(symbol: str) -> str:
    """`BTC-USD` → `XBT/USD`, as v1 and REST have it."""
    return "/".join(_NEW_NAMES.get(asset, asset) for asset in symbol.split("-"))


def phase_of(status: str) -> Phase:
    """What a status means to us."""
    if status == "delisted":
        return "ended"
    return "trading" if status in _TRADES_HAPPEN else "paused"


class Listing(msgspec.Struct):
    """What `AssetPairs` said: the pairs, and by which names REST knows them."""

    info: ExchangeInfo
    by_key: dict[str, str]
    """Our symbol by REST's key (`XXBTZUSD`)."""
    altnames: dict[str, str]
    """REST's `altname` (`XBTUSD`) by our symbol."""


def listing(pairs: Mapping[str, msgspec.Raw]) -> Listing:
    """The whole list; an element that cannot be used is told apart and costs no other. O(elements)."""
    found = Listing(ExchangeInfo({}, 0, []), {}, {})
    for key, element in pairs.items():
        try:
            pair = _pair.decode(element)
            if not pair.wsname:  # dark pools are on no socket
                continue
            symbol = symbol_of(pair.wsname)
        except (*UNUSABLE, ValueError) as error:
            found.info.bad.append(
                BadListing(name_in(element, "wsname", symbol_of), f"{plain(key, 64)}: {error}")
            )
            continue
        base, quote = symbol.split("-")
        tick = pair.tick_size or _unit(pair.pair_decimals)
        found.info.symbols[symbol] = SymbolInfo(
            symbol,
            plain(pair.status),
            base,
            quote,
            plain(tick),
            _unit(pair.lot_decimals),
            phase_of(pair.status),
        )
        found.by_key[key] = symbol
        found.altnames[symbol] = pair.altname
    return found


def _unit(decimals: int) -> str:
    return "0." + "1".rjust(decimals, "0") if decimals else "1"


def tickers(rows: Mapping[str, msgspec.Raw], by_key: Mapping[str, str]) -> Tickers:
    """The rows of `Ticker`; a value traded is the volume times the mean price of 24 h."""
    found = Tickers([], [])
    for key, element in rows.items():
        try:
            row = _pair_ticker.decode(element)
            value, price = finite(finite(row.v[1]) * finite(row.p[1])), finite(row.c[0])
        except (*UNUSABLE, ValueError, IndexError) as error:
            found.bad.append(BadListing(plain(by_key.get(key, key), 64), str(error)))
            continue
        if key in by_key:
            found.rows.append(Ticker(by_key[key], value, price))
    return found
