"""What can be set of a Bybit market."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class BybitSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One Bybit market; USDT and USDC perpetuals and futures are `linear`.

    websocket_url, rest_url: without a path; the testnet has `wss://stream-testnet.bybit.com`. REST is closed to
        addresses of the United States, the sockets are not.
    depth: levels a side of the books, each 20, 100 or 200 ms. Only 1000 has a REST reply of the same ids.
    continuity: that the ids of a book rise by exactly one was always so and is not promised; with `none` holes are not
        looked for.
    refusal: whether one topic that is refused fails its `whole request` (the others are asked for again, which harms
        nothing if they had been taken), or only that `topic`.
    block_trades: whether those agreed on elsewhere count in the volume of bars.
    """

    market: Literal["spot", "linear", "inverse"] = "spot"
    websocket_url: str = "wss://stream.bybit.com"
    rest_url: str = "https://api.bybit.com"
    depth: Literal[50, 200, 1000] = 200
    trades: Literal["publicTrade", "none"] = "publicTrade"
    continuity: Literal["plus one", "none"] = "plus one"
    refusal: Literal["whole request", "topic"] = "whole request"
    block_trades: Literal["count", "leave out"] = "count"
