"""What Bitfinex lists: `tBTCUSD`, and with a colon where a code has more than three letters, `tDOGE:USD`.

The simulator itself names them `BTCUSD` and `DOGE_USD`. Prices have five significant digits, amounts eight decimals;
there is no tick size.
"""

from __future__ import annotations

from typing import Final

from workers.sim.engine.symbols import (
    Assets,
    MarketKind,
    Parameters,
    SymbolSpec,
    drawn_parameters,
    specification,
)

KIND: Final = MarketKind("spot", contiguous=True, ids_per_ms=4, numbers="plain")
DEFAULT_SYMBOLS: Final = ("BTCUSD", "DOGE_USD", "XRPBTC")
_CODE: Final = 3
_KNOWN: Final = {
    "BTCUSD": Parameters(86_704, 0, 1, 8, 12, 4, 2, 1, 30_000_000, 2_000_000),
    "DOGE_USD": Parameters(21_234, 5, 1, 8, 6, 3, 1, 2, 200_000_000_000, 15_000_000_000),
    # around the price from which on JavaScript writes an exponent
    "XRPBTC": Parameters(10_000, 10, 1, 8, 4, 3, 0.6, 3, 2_000_000_000, 150_000_000),
}


def listed_symbol(symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a pair such as `BTCUSD` or `DOGE_USD`."""
    base, apart, quote = symbol.partition("_")
    if not apart:
        base, quote = symbol[:_CODE], symbol[_CODE:]
    known = _KNOWN.get(symbol) or drawn_parameters("spot", symbol, seed)
    return specification(KIND, symbol, Assets(base, quote or "USD", symbol), known)


def pair_name(symbol: str) -> str:
    """`DOGE:USD`, as lists have it."""
    return symbol.replace("_", ":")


def wire_name(symbol: str) -> str:
    """`tDOGE:USD`."""
    return f"t{pair_name(symbol)}"


def symbol_of(name: str) -> str:
    """The simulator's name of a pair with or without its `t`."""
    return name.removeprefix("t").replace(":", "_")
