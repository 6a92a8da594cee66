"""What can be set of Bitfinex."""

from __future__ import annotations

from typing import Literal

from workers.settings.numbers import Count
from workers.settings.schema import VenueSettings


class BitfinexSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """Bitfinex, price levels."""

    exchange: Literal["bitfinex"] = "bitfinex"
    market: Literal["spot", "futures"] = "spot"
    """Which list of pairs: those of the exchange, or perpetuals."""
    websocket_url: str = "wss://api-pub.bitfinex.com/ws/2"
    rest_url: str = "https://api-pub.bitfinex.com"
    depth: Literal[1, 25, 100, 250] = 100
    """Levels a side that the exchange keeps of a book; checksums are of 25, so a book of one level has none."""
    precision: Literal["P0", "P1", "P2", "P3", "P4"] = "P0"
    """Significant digits of prices; `P0` has all five."""
    frequency: Literal["F0", "F1"] = "F0"
    """`F0` as it happens, `F1` every two seconds."""
    orders_depth: Literal[1, 25, 100, 250] = 250
    """Best orders a side of what `orders` follows: a window, out of which orders fall and into which they come back."""
    trades: Literal["trades", "none"] = "trades"
    streams_per_socket: Count = 25
    """Documents say 25 and 30, the wire took 36."""

    @property
    def tells_orders(self) -> bool:
        """True."""
        return True
