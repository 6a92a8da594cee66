"""What may be chosen of Bitfinex."""

from __future__ import annotations

from typing import Literal

import msgspec


class BitfinexSettings(msgspec.Struct, frozen=True):
    """Bitfinex, price levels.

    market: which list of pairs: those of the exchange, or perpetuals.
    depth: levels a side that the exchange keeps of a book; checksums are of 25, so a book of one level has none.
    precision: significant digits of prices; `P0` has all five.
    frequency: `F0` as it happens, `F1` every two seconds.
    trades: whether to follow them.
    channels_per_socket: documents say 25 and 30, the wire took 36.
    """

    market: Literal["spot", "futures"] = "spot"
    websocket_url: str = "wss://api-pub.bitfinex.com/ws/2"
    rest_url: str = "https://api-pub.bitfinex.com"
    depth: Literal[1, 25, 100, 250] = 100
    precision: Literal["P0", "P1", "P2", "P3", "P4"] = "P0"
    frequency: Literal["F0", "F1"] = "F0"
    trades: bool = True
    channels_per_socket: int = 25
