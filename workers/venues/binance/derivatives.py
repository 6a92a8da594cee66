"""What Binance's futures say of mark price, index, funding, open interest and liquidations.

    {"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","i":"11784.62659091",
     "P":"11784.25641265","r":"0.00038167","T":1562306400000}
    {"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910",
     "ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}}
    {"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}

Dated contracts have no funding: `r` is empty and `T` 0. Of liquidations at most one a second and symbol is sent, the
largest or the last. Source: Binance's documents of the futures' market streams and of `GET openInterest`.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from workers.model.derivatives.figures import DerivativesUpdate, Liquidation, figures_of
from workers.venues.binance.wire import Time
from workers.venues.tolerant_json import decode, malformed
from workers.venues.wire_values import Figure


class MarkPrice(Struct, gc=False):
    """`markPriceUpdate`; COIN-M contracts may have no `i`."""

    E: Time
    p: Figure = ""
    i: Figure = ""
    r: Figure = ""
    T: Time = 0


class ForcedOrder(Struct, gc=False):
    """The order of a `forceOrder`."""

    S: Literal["BUY", "SELL"]
    q: Figure
    p: Figure
    T: Time
    ap: Figure = ""


class Forced(Struct, gc=False):
    """A `forceOrder`."""

    E: Time
    o: ForcedOrder


class OpenInterest(Struct, gc=False):
    """The reply of `openInterest`: in coins, of COIN-M in contracts."""

    openInterest: Figure  # noqa: N815 -- the wire's own key
    time: Time


_mark_price = msgspec.json.Decoder(MarkPrice)
_forced = msgspec.json.Decoder(Forced)
_open_interest = msgspec.json.Decoder(OpenInterest)


def mark_price(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode a `markPriceUpdate`. Raises: MalformedFrame."""
    row = decode(venue, _mark_price, data, "mark price")
    funding = str(row.T) if row.T and row.r else ""
    values = (
        ("mark_price", row.p),
        ("index_price", row.i),
        ("funding_rate", row.r),
        ("next_funding_time", funding),
    )
    try:
        return DerivativesUpdate(figures_of(row.E, values))
    except ValueError as error:
        raise malformed(venue, "mark price", str(error), data) from None


def liquidation(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode a `forceOrder`. Raises: MalformedFrame."""
    row = decode(venue, _forced, data, "liquidation")
    order = row.o
    side: Literal["buy", "sell"] = "sell" if order.S == "SELL" else "buy"
    return DerivativesUpdate(liquidations=(Liquidation(side, order.p, order.q, order.T, row.E, order.ap),))


def open_interest(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode the reply of `openInterest`. Raises: MalformedFrame."""
    row = decode(venue, _open_interest, data, "open interest")
    try:
        return DerivativesUpdate(figures_of(row.time, [("open_interest", row.openInterest)]))
    except ValueError as error:
        raise malformed(venue, "open interest", str(error), data) from None
