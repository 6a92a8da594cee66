"""What Binance lists, and how its stream names spell a symbol."""

from __future__ import annotations

from typing import Final, Literal, cast

from workers.sim.engine.symbols import (
    Assets,
    MarketKind,
    Parameters,
    SymbolSpec,
    drawn_parameters,
    specification,
)

Market = Literal["spot", "usdm"]
MARKETS: Final[tuple[Market, ...]] = ("spot", "usdm")
QUOTE_ASSETS = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
# Multipliers (ids per ms) above the fastest symbol, which give magnitudes like the captured ones.
KINDS: Final[dict[Market, MarketKind]] = {
    "spot": MarketKind("spot", contiguous=True, ids_per_ms=4, numbers="eight"),
    "usdm": MarketKind("usdm", contiguous=False, ids_per_ms=64, numbers="fixed", hidden_trades=True),
}

# Rates are fitted to captures: 9.8 depth messages a second at 100 ms need about 39 moments of change, and
# 1.6 kB a message about 50 changed levels.
KNOWN: Final[dict[tuple[str, str], Parameters]] = {
    ("usdm", "BTCUSDT"): Parameters(845_511, 2, 10, 3, 39, 13, 10, 1, 900, 60),
    ("usdm", "ETHUSDT"): Parameters(280_114, 2, 1, 3, 39, 14, 12, 1, 9_000, 800),
    ("usdm", "SOLUSDT"): Parameters(13_522, 4, 100, 2, 25, 7, 5, 1, 12_000, 900),
    ("usdm", "1000SHIBUSDT"): Parameters(9_081, 6, 1, 0, 4, 5, 0.7, 1, 900_000, 90_000),
    ("usdm", "币安人生USDT"): Parameters(12_034, 5, 1, 0, 3, 4, 0.5, 2, 30_000, 2_500),
    ("usdm", "BTCUSDT_261225"): Parameters(851_203, 1, 1, 3, 2, 4, 0.1, 12, 400, 20),
    ("spot", "BTCUSDT"): Parameters(8_454_102, 2, 1, 5, 39, 13, 8, 1, 30_000, 2_500),
    ("spot", "ETHUSDT"): Parameters(280_031, 2, 1, 4, 30, 11, 6, 1, 60_000, 4_000),
    ("spot", "BNBBTC"): Parameters(10_512, 6, 1, 3, 3, 5, 0.5, 1, 8_000, 400),
    ("spot", "PEPEUSDT"): Parameters(1_234, 8, 1, 0, 5, 6, 1.0, 1, 2_000_000_000, 60_000_000),
    ("spot", "币安人生USDT"): Parameters(1_203, 4, 1, 0, 2.5, 4, 0.5, 1, 20_000, 1_500),
}


def listed_symbol(market: str, symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a symbol: hand-set ones where known, else drawn from a hash of seed, market and name."""
    known = KNOWN.get((market, symbol)) or drawn_parameters(market, symbol, seed)
    return specification(KINDS[cast("Market", market)], symbol, _assets(symbol), known)


def stream_symbol(spec: SymbolSpec) -> str:
    """The symbol as stream names spell it: only ASCII letters change case."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in spec.symbol)


def dated(spec: SymbolSpec) -> bool:
    """A delivery contract such as `BTCUSDT_261225`, not a perpetual."""
    return "_" in spec.symbol


def _assets(symbol: str) -> Assets:
    """Base asset, quote asset and pair; the pair of a dated contract is its part before `_`."""
    pair = symbol.partition("_")[0]
    for quote in QUOTE_ASSETS:
        if pair.endswith(quote) and len(pair) > len(quote):
            return Assets(pair[: -len(quote)], quote, pair)
    return Assets(pair, "USDT", pair)
