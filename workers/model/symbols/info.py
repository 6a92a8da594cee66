"""What an exchange lists."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Phase = Literal["trading", "paused", "ended"]
"""What a status means to us: `paused` may trade again or does not trade yet, `ended` was delisted or delivered."""


class SymbolInfo(Struct):
    """What the exchange says of a symbol, as text, and what its status means."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: str
    step_size: str
    phase: Phase = "trading"
