"""What can be set of Bitstamp."""

from __future__ import annotations

from typing import Literal

from workers.settings.schema import VenueSettings


class BitstampSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """Bitstamp: spot pairs and perpetuals share one socket and one REST."""

    exchange: Literal["bitstamp"] = "bitstamp"
    market: Literal["all"] = "all"
    websocket_url: str = "wss://ws.bitstamp.net"
    rest_url: str = "https://www.bitstamp.net"
    depth: Literal["diff_order_book", "order_book"] = "diff_order_book"
    """`diff_order_book` has what changed of the whole book, which a REST reply begins; `order_book` has the best 100
    levels a side anew with each change, so is never wrong for long where books of the first kind cross."""
    orders_seed: bool = True
    """Begin a book of single orders with all that REST has, less those that turn out not to exist; off: with none, so
    that of no level all orders are known."""
    trades: Literal["live_trades", "none"] = "live_trades"

    @property
    def tells_orders(self) -> bool:
        """True."""
        return True
