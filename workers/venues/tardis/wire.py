"""The messages of tardis-machine's `ws-stream-normalized` and `replay-normalized`; what is not known is absent.

{"type":"trade","symbol":"XBTUSD","exchange":"bitmex","id":"282a","price":7996,"amount":50,"side":"sell",
 "timestamp":"2019-10-23T10:32:49.669Z","localTimestamp":"2019-10-23T10:32:49.740Z"}
{"type":"book_change","symbol":"XBTUSD","exchange":"bitmex","isSnapshot":false,"bids":[],
 "asks":[{"price":7985,"amount":283318}],"timestamp":"…","localTimestamp":"…"}
{"type":"derivative_ticker","symbol":"BTC-PERPETUAL","exchange":"deribit","lastPrice":7987.5,"openInterest":84129491,
 "fundingRate":-0.00001568,"indexPrice":7989.28,"markPrice":7987.56,"timestamp":"…","localTimestamp":"…"}
{"type":"disconnect","exchange":"deribit","localTimestamp":"2019-10-23T11:34:29.416Z"}
{"type":"error","exchange":"bybit","localTimestamp":"…","details":"…","subSequentErrorsCount":3}
"""

from __future__ import annotations

from msgspec import Raw, Struct

from workers.venues.wire_values import Moment

NOTHING = Raw(b"null")
"""A figure that is absent: one that may be `None` cannot be kept as it came."""


class Level(Struct, gc=False):
    """A price level; an amount of 0 deletes it."""

    price: Raw
    amount: Raw


class Message(Struct, rename="camel", tag_field="type", gc=False):
    """What every message has."""

    exchange: str
    local_timestamp: Moment


class Named(Message, kw_only=True, gc=False):
    """A message of one symbol."""

    symbol: str
    timestamp: Moment


class Trade(Named, tag="trade", kw_only=True, gc=False):
    """A trade; `side` is that of who took, `buy`, `sell` or `unknown`."""

    price: Raw
    amount: Raw
    side: str
    id: str | None = None


class Liquidation(Trade, tag="liquidation", gc=False):
    """A position was closed by force; `side` is that of the order that closes it."""


class BookChange(Named, tag="book_change", kw_only=True, gc=False):
    """A whole book, or absolute amounts by price."""

    is_snapshot: bool
    bids: list[Level]
    asks: list[Level]


class DerivativeTicker(Named, tag="derivative_ticker", kw_only=True, gc=False):
    """What is said of a contract besides its book."""

    last_price: Raw = NOTHING
    open_interest: Raw = NOTHING
    funding_rate: Raw = NOTHING
    predicted_funding_rate: Raw = NOTHING
    index_price: Raw = NOTHING
    mark_price: Raw = NOTHING
    funding_timestamp: Moment | None = None


class Disconnect(Message, tag="disconnect", kw_only=True):
    """Messages are missing after `local_timestamp`; without symbols of the whole exchange."""

    symbols: list[str] | None = None


class Trouble(Message, tag="error", kw_only=True):
    """The machine failed at the exchange; it tries again."""

    details: str = ""


class Head(Struct, rename="camel", gc=False):
    """What files any of them."""

    type: str
    exchange: str
    symbol: str = ""
    symbols: list[str] | None = None
    is_snapshot: bool = False
    id: str | None = None
    timestamp: Moment | None = None


class ListedSymbol(Struct, rename="camel"):
    """One element of `availableSymbols`."""

    id: str
    type: str = ""
    available_to: Moment | None = None


class Exchange(Struct, rename="camel"):
    """`GET /v1/exchanges/<exchange>` of Tardis, as far as it is of interest."""

    available_symbols: list[Raw]


class ErrorBody(Struct):
    """`{"code":100,"message":"…"}`"""

    code: int = 0
    message: str = ""
