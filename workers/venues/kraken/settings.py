"""What can be set of Kraken."""

from __future__ import annotations

from typing import Literal

from workers.settings.numbers import Number
from workers.settings.signed import SignedVenueSettings


class KrakenSettings(SignedVenueSettings, forbid_unknown_fields=True, kw_only=True):
    """Kraken spot."""

    exchange: Literal["kraken"] = "kraken"
    market: Literal["spot"] = "spot"
    websocket_url: str = "wss://ws.kraken.com/v2"
    rest_url: str = "https://api.kraken.com"
    depth: Literal[10, 25, 100, 500, 1000] = 10
    """Levels a side. The checksum covers ten: only depth 10 is verified whole."""
    orders_url: str = "wss://ws-l3.kraken.com/v2"
    """Where the sockets of single orders are."""
    orders_depth: Literal[10, 100, 1000] = 10
    """Levels a side of what `orders` follows. The checksum covers ten: only depth 10 is verified whole."""
    orders_larger: Literal["keep", "lose"] = "keep"
    """Whether an order that is made larger keeps its place in the queue. Clients and documents disagree; where it is
    set wrong, each such order costs the book (`checksum`)."""
    trades: Literal["trade", "none"] = "trade"
    old_trades: bool = True
    """Each subscription to trades begins with the last 50, which heals short gaps."""
    ping_seconds: Number = 30
    """Between pings of ours, 0: none. Kraken sends heartbeats once anything is subscribed."""
    rest_names: Literal["wsname", "altname"] = "wsname"
    """How REST is asked for a pair. `wsname` (`XBT/USD`) is unambiguous, `altname` (`XBTUSD`) the older way."""

    @property
    def tells_orders(self) -> bool:
        """True, to those with a key."""
        return True

    @property
    def socket_urls(self) -> tuple[str, ...]:
        """Those of single orders are on a host of their own."""
        return ("websocket_url", "orders_url")
