"""What can be set of an exchange that is followed through a tardis-machine."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from msgspec import Meta

from workers.settings.numbers import Milliseconds, Seconds
from workers.settings.schema import VenueSettings

CHANNELS: Final = ("derivative_ticker", "liquidation")
CONSECUTIVE: Final = frozenset({"binance", "binance-futures", "binance-delivery", "binance-us", "coinbase"})
"""Exchanges of Tardis whose trade ids count one by one."""
_EXCHANGE: Final = re.compile("[a-z0-9-]{1,64}")


class TardisSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    """An exchange through a tardis-machine that runs elsewhere, which this fleet asks for normalized messages."""

    exchange: Literal["tardis"] = "tardis"
    market: Annotated[str, Meta(pattern=f"^{_EXCHANGE.pattern}$")] = "binance-futures"
    """What Tardis calls the exchange: `binance`, `bybit`, `deribit`, `okex-swap` …"""
    websocket_url: str = "ws://localhost:8001"
    """Of the machine, without a path: its second port."""
    rest_url: str = "https://api.tardis.dev"
    """Of Tardis, asked for the list of symbols, which needs no key."""
    trades: Literal["trade", "none"] = "trade"
    trade_ids: Literal["", "consecutive", "neither"] = ""
    """Whether a hole in the ids is a missing trade; empty: of Binance and Coinbase it is."""
    streams_per_socket: Annotated[int, Meta(ge=1, le=200)] = 100
    """A socket names its streams in its URL, which the machine takes up to some 20,000 bytes long."""
    timeout_ms: Milliseconds = 10_000
    """The machine opens its socket to the exchange anew when that has been silent for so long."""
    renew_s: Seconds = 60
    """How old a socket must be before it is replaced for the whole book of one symbol: all its books begin anew."""

    @property
    def own_channels(self) -> tuple[str, ...]:
        """The types of messages that are followed in any case."""
        return ("book_change", "trade")

    def channel_problem(self, channel: str) -> tuple[str, str]:
        """There are two."""
        if channel in CHANNELS:
            return "", ""
        return f"of a tardis-machine there are {' and '.join(CHANNELS)}", CHANNELS[0]
