"""What Bybit lists: `BTCUSDT` on spot and on linear are two markets with topics of the same name."""

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
    "linear": MarketKind("linear", contiguous=False, ids_per_ms=64, numbers="plain"),
}
MARKETS: Final = tuple(KINDS)
DEFAULT_SYMBOLS: Final = {
    "spot": ("BTCUSDT", "ETHUSDT", "XRPUSDT"),
    "linear": ("BTCUSDT", "ETHUSDT", "BTCPERP"),
}
QUOTES: Final = ("USDT", "USDC", "PERP", "BTC", "EUR")

_KNOWN: Final = {
    ("spot", "BTCUSDT"): Parameters(787_150, 1, 1, 6, 25, 6, 6, 1, 300_000, 20_000),
    ("spot", "ETHUSDT"): Parameters(280_031, 2, 1, 5, 20, 6, 4, 1, 400_000, 30_000),
    ("spot", "XRPUSDT"): Parameters(21_234, 4, 1, 2, 6, 5, 1, 1, 400_000, 25_000),
    ("linear", "BTCUSDT"): Parameters(787_200, 1, 1, 3, 25, 8, 8, 1, 900, 60),
    ("linear", "ETHUSDT"): Parameters(280_044, 2, 1, 2, 20, 7, 5, 1, 3_000, 300),
    ("linear", "BTCPERP"): Parameters(787_180, 1, 1, 3, 4, 5, 0.5, 2, 200, 20),
}


def listed_symbol(market: str, symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a symbol such as `BTCUSDT`, `BTCPERP` or `BTCUSDT-26DEC25`."""
    pair = symbol.partition("-")[0]
    quote = next((text for text in QUOTES if pair.endswith(text) and pair != text), "USDT")
    base = pair.removesuffix(quote)
    known = _KNOWN.get((market, symbol)) or drawn_parameters(market, symbol, seed)
    return specification(
        KINDS[market], symbol, Assets(base, "USDC" if quote == "PERP" else quote, pair), known
    )
