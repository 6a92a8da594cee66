"""What Coinbase lists: `BTC-USD` by both ways, and by Advanced also `BTC-USDC`, another name of the same product."""

from __future__ import annotations

from dataclasses import replace
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
    "advanced": MarketKind("advanced", contiguous=True, ids_per_ms=4, numbers="plain"),
    "exchange": MarketKind("exchange", contiguous=True, ids_per_ms=4, numbers="fixed"),
}
DEFAULT_SYMBOLS: Final = ("BTC-USD", "ETH-USD", "DOGE-USD")
_KNOWN: Final = {
    "BTC-USD": Parameters(7_885_605, 2, 1, 8, 12, 5, 2, 1, 12_000_000, 1_500_000),
    "ETH-USD": Parameters(280_031, 2, 1, 8, 10, 5, 1.5, 1, 90_000_000, 6_000_000),
    "DOGE-USD": Parameters(21_234, 5, 1, 1, 5, 4, 0.6, 1, 30_000, 2_500),
}


def listed_symbol(market: str, symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a product such as `BTC-USD`."""
    base, _, quote = symbol.partition("-")
    known = _KNOWN.get(symbol) or drawn_parameters(market, symbol, seed)
    return specification(KINDS[market], symbol, Assets(base, quote or "USD", symbol), known)


def with_plain_numbers(spec: SymbolSpec) -> SymbolSpec:
    """The same without zeros at the end: so both ways spell trades (captures of 2021 and 2026)."""
    return replace(spec, kind=replace(spec.kind, numbers="plain"))


def canonical(product: str) -> str:
    """The product that frames name: `BTC-USD` for its alias `BTC-USDC`."""
    return product.removesuffix("C") if product.endswith("-USDC") else product


def alias_of(product: str) -> str:
    """`BTC-USDC` for `BTC-USD`; empty for a product without one."""
    return f"{product}C" if product.endswith("-USD") else ""
