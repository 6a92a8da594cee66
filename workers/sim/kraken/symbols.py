"""What Kraken lists, in its three spellings: `BTC/USD` on sockets, `XBTUSD` and `XXBTZUSD` in REST.

The simulator itself names a pair `BTC-USD`.
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

KIND: Final = MarketKind("spot", contiguous=True, ids_per_ms=4, numbers="fixed")
DEFAULT_SYMBOLS: Final = ("BTC-USD", "ETH-USD", "DOGE-USD")
_OLD_NAMES: Final = {"BTC": "XBT", "DOGE": "XDG"}
_OLD_CODES: Final = {"BTC": "XXBT", "ETH": "XETH", "USD": "ZUSD", "EUR": "ZEUR"}
_KNOWN: Final = {
    "BTC-USD": Parameters(788_716, 1, 1, 8, 12, 4, 2, 1, 30_000_000, 2_000_000),
    "ETH-USD": Parameters(280_031, 2, 1, 8, 10, 4, 1.5, 1, 90_000_000, 6_000_000),
    "DOGE-USD": Parameters(212_345, 7, 1, 8, 4, 3, 0.6, 3, 2_000_000_000, 150_000_000),
}


def listed_symbol(symbol: str, seed: int) -> SymbolSpec:
    """Parameters of a pair such as `BTC-USD`."""
    base, _, quote = symbol.partition("-")
    known = _KNOWN.get(symbol) or drawn_parameters("spot", symbol, seed)
    return specification(KIND, symbol, Assets(base, quote or "USD", symbol), known)


def socket_name(spec: SymbolSpec) -> str:
    """`BTC/USD`."""
    return f"{spec.base_asset}/{spec.quote_asset}"


def alternative_name(spec: SymbolSpec) -> str:
    """`XBTUSD`, which requests name."""
    return _OLD_NAMES.get(spec.base_asset, spec.base_asset) + _OLD_NAMES.get(
        spec.quote_asset, spec.quote_asset
    )


def internal_name(spec: SymbolSpec) -> str:
    """`XXBTZUSD`, which answers name; without the letters of the kind where one of the assets has none."""
    codes = [_OLD_CODES.get(asset) for asset in (spec.base_asset, spec.quote_asset)]
    return "".join(code for code in codes if code) if all(codes) else alternative_name(spec)


def websocket_name(spec: SymbolSpec) -> str:
    """`XBT/USD`, as REST spells it for the first version of the sockets."""
    old = [_OLD_NAMES.get(asset, asset) for asset in (spec.base_asset, spec.quote_asset)]
    return "/".join(old)
