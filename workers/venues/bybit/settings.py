"""What can be set of a Bybit market."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from workers.settings.schema import VenueSettings


class BybitSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """One Bybit market."""

    exchange: Literal["bybit"] = "bybit"
    market: Literal["spot", "linear", "inverse"] = "spot"
    """USDT and USDC perpetuals and futures are `linear`."""
    websocket_url: str = "wss://stream.bybit.com"
    """Without a path; the testnet has `wss://stream-testnet.bybit.com`."""
    rest_url: str = "https://api.bybit.com"
    """Closed to addresses of the United States; the sockets are not."""
    streams_per_request: Annotated[int, Meta(ge=1, le=200)] = 10
    """A request to a spot socket may name ten."""
    depth: Literal[50, 200, 1000] = 200
    """Levels a side of the books, each 20, 100 or 200 ms. Only 1000 has a REST reply of the same ids."""
    trades: Literal["publicTrade", "none"] = "publicTrade"
    continuity: Literal["plus one", "none"] = "plus one"
    """That the ids of a book rise by exactly one was always so and is not promised; with `none` holes are not looked
    for."""
    refusal: Literal["whole request", "topic"] = "whole request"
    """Whether one topic that is refused fails its `whole request` (the others are asked for again, which harms nothing
    if they had been taken), or only that `topic`."""
    block_trades: Literal["count", "leave out"] = "count"
    """Whether those agreed on elsewhere count in the volume of bars."""

    @property
    def own_channels(self) -> tuple[str, ...]:
        """The topics of books and trades."""
        return (f"orderbook.{self.depth}", self.trades)
