"""What can be set of an OKX market."""

from __future__ import annotations

from typing import Literal

from workers.settings.numbers import Count
from workers.settings.schema import VenueSettings


class OkxSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """One OKX market."""

    exchange: Literal["okx"] = "okx"
    market: Literal["spot", "swap", "futures"] = "spot"
    websocket_url: str = "wss://ws.okx.com:8443"
    """Without a path; the EEA has `wss://wseea.okx.com:8443`, US and AU `wss://wsus.okx.com:8443`."""
    rest_url: str = "https://www.okx.com"
    streams_per_socket: Count = 28
    """Fewer than 30 books a socket are advised."""
    depth: Literal["books", "books-l2-tbt", "books50-l2-tbt"] = "books"
    """The channel of books: `books` has 400 levels a side each 100 ms; the others need a login and a VIP tier, and are
    what recordings until 2026 hold."""
    trades: Literal["trades-all", "trades", "none"] = "trades-all"
    """`trades-all` has one message per fill, its ids are consecutive, and costs a second socket; `trades` has one per
    order and price, its ids rise."""
    trade_range: Literal["last", "first"] = "last"
    """Which end of the merged ids `tradeId` of `trades` names; documents do not say."""
    sequence_reset: Literal["resubscribe", "continue"] = "resubscribe"
    """What a message is whose `seqId` is below its `prevSeqId`, as after maintenance: the documents let the chain go on
    from the lower id, some clients rebuild. `resubscribe` is right with either."""
    history: Literal["older", "newer"] = "older"
    """Whether `after` of history-trades means older or newer ids."""
    legacy: bool = False
    """A recording without `seqId` (before 2023), proven by its checksums."""

    @property
    def own_channels(self) -> tuple[str, ...]:
        """The channels of books and trades, and that of the instruments, which the keeper follows."""
        return (self.depth, self.trades, "instruments")

    def channel_problem(self, channel: str) -> tuple[str, str]:
        """An index has one stream, and its futures are several."""
        if channel == "index-tickers" and self.market == "futures":
            return "an index is that of several contracts, and their streams would be one", ""
        return "", ""
