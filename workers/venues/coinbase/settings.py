"""What may be chosen of Coinbase."""

from __future__ import annotations

from typing import Literal

import msgspec


class CoinbaseSettings(msgspec.Struct, frozen=True):
    """Coinbase, by the socket of Advanced Trade or by that of Exchange; both are of the same books.

    market: `advanced` numbers every frame of a socket; `exchange` has no numbers, so that a loss of book messages
        cannot be seen.
    websocket_url, rest_url: empty for those of the market.
    depth: 0, as each book comes whole.
    trades: whether to follow them.
    book_channel: of Exchange; `level2` wants a key since 2026.
    streams_per_socket: a hole costs all streams of a socket, so those of Advanced should have few; 0: 8 of Advanced,
        100 of Exchange.
    backfill_seconds: how much time a page of Advanced's trades is asked for, 0: all up to now, of which the newest
        come.
    """

    market: Literal["advanced", "exchange"] = "advanced"
    websocket_url: str = ""
    rest_url: str = ""
    depth: Literal[0] = 0
    trades: bool = True
    book_channel: Literal["level2_batch", "level2"] = "level2_batch"
    streams_per_socket: int = 0
    backfill_seconds: int = 0
