"""What can be set of Coinbase."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from workers.settings.numbers import Number
from workers.settings.signed import SignedVenueSettings


class CoinbaseSettings(SignedVenueSettings, forbid_unknown_fields=True, kw_only=True):
    """Coinbase, by the socket of Advanced Trade or by that of Exchange; both are of the same books."""

    exchange: Literal["coinbase"] = "coinbase"
    market: Literal["advanced", "exchange"] = "advanced"
    """`advanced` numbers every frame of a socket; `exchange` has no numbers, so that a loss of book messages cannot be
    seen."""
    trades: Literal["trades", "none"] = "trades"
    book_channel: Literal["level2_batch", "level2"] = "level2_batch"
    """Of `exchange`; `level2` wants a key since 2026."""
    streams_per_socket: Annotated[int, Meta(ge=0, le=1024)] = 0
    """A hole costs all streams of a socket, so those of `advanced` should have few; 0: 8 of it, 100 of `exchange`."""
    backfill_seconds: Number = 0
    """How much time a page of the trades of `advanced` is asked for, 0: all up to now, of which the newest come."""
    api_passphrase: str = ""
    """What belongs to your own key, for the single orders of `exchange`; a secret: set it as
    `FLEET_VENUES__NAME__API_PASSPHRASE`."""

    @property
    def tells_orders(self) -> bool:
        """Exchange does, to holders of a key."""
        return self.market == "exchange"
