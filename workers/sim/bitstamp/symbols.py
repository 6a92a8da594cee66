"""What Bitstamp lists: `btcusd` and `btcusd-perp`, which the simulator names `BTCUSD` and `BTCUSD-PERP`."""

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

KIND: Final = MarketKind("all", contiguous=True, ids_per_ms=4, numbers="fixed")
DEFAULT_SYMBOLS: Final = ("BTCUSD", "XRPUSD", "BTCUSD-PERP")
PERPETUAL: Final = "-PERP"
_CODE: Final = 3
_KNOWN: Final = {
    "BTCUSD": Parameters(7_870_359, 2, 1, 8, 12, 4, 2, 10, 30_000_000, 2_000_000),
    "XRPUSD": Parameters(212_345, 5, 1, 8, 6, 3, 1, 2, 200_000_000_000, 15_000_000_000),
    "BTCUSD-PERP": Parameters(77_204, 0, 1, 5, 8, 3, 1, 1, 30_000, 2_000),
}


def listed_symbol(symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a market such as `BTCUSD-PERP`."""
    pair = symbol.removesuffix(PERPETUAL)
    known = _KNOWN.get(symbol) or drawn_parameters("all", symbol, seed)
    return specification(KIND, symbol, Assets(pair[:-_CODE], pair[-_CODE:], pair), known)


def wire_name(symbol: str) -> str:
    """`btcusd-perp`."""
    return symbol.encode().lower().decode()


def symbol_of(name: str) -> str:
    """The simulator's name of a market as REST spells it."""
    return name.encode().upper().decode()


def spoken_name(spec: SymbolSpec) -> str:
    """`BTC/USD`, `BTC/USD-PERP`."""
    perpetual = PERPETUAL if spec.symbol.endswith(PERPETUAL) else ""
    return f"{spec.base_asset}/{spec.quote_asset}{perpetual}"
