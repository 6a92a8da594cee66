"""What can be set of a Binance market."""

from __future__ import annotations

from typing import Final, Literal

from workers.settings.numbers import Count
from workers.settings.schema import VenueSettings

FUTURES_ONLY: Final = (
    "openInterest",
    "markPrice",
    "forceOrder",
    "compositeIndex",
    "contractInfo",
    "assetIndex",
    "indexPrice",
)
KINDS: Final = (
    *FUTURES_ONLY, "kline", "continuousKline", "indexPriceKline", "markPriceKline", "ticker", "miniTicker", "trade",
    "avgPrice", "rpiDepth", "arr",
)  # fmt: skip
"""How some of its streams begin, as it spells them: a name in other letters is acknowledged and stays silent."""


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

    @property
    def own_channels(self) -> tuple[str, ...]:
        """The streams of books and trades."""
        return (f"depth@{self.depth_speed}" if self.depth_speed else "depth", self.trades)

    def channel_problem(self, channel: str) -> tuple[str, str]:
        """Streams of the futures that spot has not, and names in other letters: Binance says nothing to either."""
        kind = channel.removeprefix("!").partition("@")[0].partition("_")[0]
        for known in KINDS:
            if kind != known and kind.lower() == known.lower():
                return f"Binance spells it {known}", channel.replace(kind, known, 1)
        if self.market == "spot" and kind in FUTURES_ONLY:
            return "only the futures have it", ""
        return "", ""
