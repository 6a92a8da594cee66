"""What Bybit's contracts say of mark price, index, funding, open interest and liquidations.

`tickers` begins with a whole snapshot, and again with each subscription; after it come deltas, which have only what
changed. `ts` is the time of all that a message has. Dated contracts have no funding: it is empty.

    {"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","lastPrice":"17216.00","markPrice":"17217.33",
     "indexPrice":"17227.36","openInterest":"68744.761","fundingRate":"-0.000212","nextFundingTime":"1673280000000",…},
     "cs":24987956059,"ts":1673272861686}
    {"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"17216.17"},"cs":24987956060,
     "ts":1673272861786}
    {"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"ROSEUSDT",
     "S":"Sell","v":"20000","p":"0.04499"}]}

Of liquidations `S` is the side of the position, so `Buy` is closed by an order that sells, and `p` its bankruptcy
price. Source: Bybit's documents of v5, ticker and all-liquidation topics.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

from workers.model.derivatives.figures import DerivativesUpdate, Liquidation, figures_of
from workers.venues.bybit.wire import Time
from workers.venues.tolerant_json import decode, malformed
from workers.venues.wire_values import Figure


class Ticker(Struct, gc=False):
    """`data` of `tickers`, as far as it is of interest."""

    markPrice: Figure = ""  # noqa: N815 -- the wire's own key
    indexPrice: Figure = ""  # noqa: N815 -- the wire's own key
    openInterest: Figure = ""  # noqa: N815 -- the wire's own key
    fundingRate: Figure = ""  # noqa: N815 -- the wire's own key
    nextFundingTime: Figure = ""  # noqa: N815 -- the wire's own key


class TickerFrame(Struct, gc=False):
    """A whole message of `tickers`."""

    ts: Time
    data: Ticker


class Liquidated(Struct, gc=False):
    """One element of `allLiquidation`."""

    T: Time
    S: Literal["Buy", "Sell"]
    v: Figure
    p: Figure


class LiquidationFrame(Struct, gc=False):
    """A whole message of `allLiquidation`."""

    ts: Time
    data: list[Liquidated]


_ticker = msgspec.json.Decoder(TickerFrame)
_liquidations = msgspec.json.Decoder(LiquidationFrame)
NO_FUNDING: Final = ("", "0")


def ticker(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode a message of `tickers`. Raises: MalformedFrame."""
    frame = decode(venue, _ticker, data, "ticker")
    row = frame.data
    funding = "" if row.nextFundingTime in NO_FUNDING else row.nextFundingTime
    values = (
        ("mark_price", row.markPrice),
        ("index_price", row.indexPrice),
        ("funding_rate", row.fundingRate),
        ("next_funding_time", funding),
        ("open_interest", row.openInterest),
    )
    try:
        return DerivativesUpdate(figures_of(frame.ts, values))
    except ValueError as error:
        raise malformed(venue, "ticker", str(error), data) from None


def liquidations(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode a message of `allLiquidation`. Raises: MalformedFrame."""
    frame = decode(venue, _liquidations, data, "liquidations")
    return DerivativesUpdate(
        liquidations=tuple(
            Liquidation("sell" if row.S == "Buy" else "buy", row.p, row.v, row.T, frame.ts)
            for row in frame.data
        )
    )
