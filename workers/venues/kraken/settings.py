"""What may be chosen of Kraken."""

from __future__ import annotations

from typing import Literal

import msgspec


class KrakenSettings(msgspec.Struct, frozen=True):
    """Kraken spot.

    depth: levels a side. The checksum covers ten: only depth 10 is verified whole.
    trades: whether to follow them.
    old_trades: each subscription to trades begins with the last 50, which heals short gaps.
    ping_seconds: between pings of ours, 0: none. Kraken sends heartbeats once anything is subscribed.
    rest_names: how REST is asked for a pair. `wsname` (`XBT/USD`) is unambiguous, `altname` (`XBTUSD`) the older way.
    """

    market: Literal["spot"] = "spot"
    websocket_url: str = "wss://ws.kraken.com/v2"
    rest_url: str = "https://api.kraken.com"
    depth: Literal[10, 25, 100, 500, 1000] = 10
    trades: bool = True
    old_trades: bool = True
    ping_seconds: int = 30
    rest_names: Literal["wsname", "altname"] = "wsname"
