"""What OKX lists. Sizes are base coins for spot and contracts for swaps."""

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

KINDS: Final = {
    "spot": MarketKind("spot", contiguous=False, ids_per_ms=64, numbers="plain"),
    "swap": MarketKind("swap", contiguous=False, ids_per_ms=64, numbers="plain"),
}
INSTRUMENT_TYPES: Final = {"spot": "SPOT", "swap": "SWAP"}
DEFAULT_SYMBOLS: Final = {
    "spot": ("BTC-USDT", "ETH-USDT", "DOGE-USDT"),
    "swap": ("BTC-USDT-SWAP", "ETH-USDT-SWAP"),
}
CONTRACT_VALUES: Final = {"BTC": "0.01", "ETH": "0.1"}
"""Base coins of one contract; 1 where nothing is named."""

_KNOWN: Final = {
    "BTC-USDT": Parameters(787_223, 1, 1, 8, 25, 7, 6, 1, 30_000_000, 2_000_000),
    "ETH-USDT": Parameters(280_031, 2, 1, 6, 20, 6, 4, 1, 900_000, 60_000),
    "DOGE-USDT": Parameters(21_234, 5, 1, 0, 6, 5, 1, 1, 20_000, 1_500),
    "BTC-USDT-SWAP": Parameters(787_240, 1, 1, 2, 25, 8, 7, 1, 9_000, 600),
    "ETH-USDT-SWAP": Parameters(280_050, 2, 1, 2, 20, 7, 5, 1, 9_000, 700),
}


def listed_symbol(market: str, symbol: str, seed: int) -> SymbolSpec:
    """Parameters of an instrument such as `BTC-USDT` or `BTC-USDT-SWAP`."""
    base, _, rest = symbol.partition("-")
    quote = rest.partition("-")[0] or "USDT"
    known = _KNOWN.get(symbol) or drawn_parameters(market, symbol, seed)
    return specification(KINDS[market], symbol, Assets(base, quote, f"{base}-{quote}"), known)
