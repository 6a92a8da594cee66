"""What an exchange lists."""

from __future__ import annotations

from msgspec import Struct


class SymbolInfo(Struct):
    """What the exchange says of a symbol, as text."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: str
    step_size: str
