"""What can be set of an OKX market."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class OkxSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One OKX market.

    websocket_url, rest_url: without a path; the EEA has `wss://wseea.okx.com:8443`, US and AU `wss://wsus.okx.com:8443`.
    depth: the channel of books: `books` has 400 levels a side each 100 ms; the others need a login and a VIP tier, and
        are what recordings until 2026 hold.
    trades: `trades-all` has one message per fill, its ids are consecutive, and costs a second socket; `trades` has one
        per order and price, its ids rise.
    trade_range: which end of the merged ids `tradeId` of `trades` names; documents do not say.
    sequence_reset: what a message is whose `seqId` is below its `prevSeqId`, as after maintenance: the documents let
        the chain go on from the lower id, some clients rebuild. `resubscribe` is right with either.
    history: whether `after` of history-trades means older or newer ids.
    legacy: a recording without `seqId` (before 2023), proven by its checksums.
    """

    market: Literal["spot", "swap", "futures"] = "spot"
    websocket_url: str = "wss://ws.okx.com:8443"
    rest_url: str = "https://www.okx.com"
    depth: Literal["books", "books-l2-tbt", "books50-l2-tbt"] = "books"
    trades: Literal["trades-all", "trades", "none"] = "trades-all"
    trade_range: Literal["last", "first"] = "last"
    sequence_reset: Literal["resubscribe", "continue"] = "resubscribe"
    history: Literal["older", "newer"] = "older"
    legacy: bool = False
