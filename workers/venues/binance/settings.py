"""What can be set of a Binance market."""

from __future__ import annotations

from typing import Literal

from workers.settings.schema import Count, VenueSettings


class BinanceSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """One Binance market."""

    exchange: Literal["binance"] = "binance"
    market: Literal["spot", "usdm", "coinm"]
    trades: Literal["aggTrade", "trade", "none"] = "aggTrade"
    """Which stream feeds the trades fold."""
    depth_speed: Literal["", "100ms", "250ms", "500ms", "0ms"] = "100ms"
    """Speed suffix of the depth stream; `""` is the venue's default speed."""
    snapshot_depth: Count = 1000
    """Levels asked for in a REST snapshot."""
    public_path: str | None = None
    """Path root of depth sockets, such as `/public`; unset: the market's own."""
    market_path: str | None = None
    """Path root of aggTrade sockets, such as `/market`; unset: the market's own."""
