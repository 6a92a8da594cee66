"""What OKX says of mark price, index, funding, open interest and liquidations: an element of a message each.

    mark-price          {"instType":"SWAP","instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}
    index-tickers       {"instId":"BTC-USDT","idxPx":"43350","high24h":"43649.7",…,"ts":"1649419644492"}
    funding-rate        {"instId":"BTC-USDT-SWAP","fundingRate":"0.0001875391284828","fundingTime":"1700726400000",
                         "nextFundingRate":"","nextFundingTime":"1700755200000",…,"ts":"1700724675402"}
    open-interest       {"instType":"SWAP","instId":"LTC-USD-SWAP","oi":"5000","oiCcy":"555.55","ts":"1597026383085"}
    liquidation-orders  {"details":[{"bkLoss":"0","bkPx":"0.007831","posSide":"short","side":"buy","sz":"13",
                         "ts":"1692266434010"}],"instId":"IOST-USDT-SWAP","instType":"SWAP"}

`fundingRate` is paid at `fundingTime`, which is the next one. `oi` and `sz` are in contracts; `bkPx` is the bankruptcy
price, `side` that of the order. Source: OKX's documents of the v5 WebSocket, public channels.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from workers.model.derivatives.figures import DerivativesUpdate, Liquidation, figures_of
from workers.venues.okx.wire import Time
from workers.venues.tolerant_json import decode, malformed
from workers.venues.wire_values import Figure


class Element(Struct, gc=False):
    """An element of any of the channels that bring figures: a channel has its own of these, and no other."""

    ts: Time
    markPx: Figure = ""  # noqa: N815 -- the wire's own key
    idxPx: Figure = ""  # noqa: N815 -- the wire's own key
    fundingRate: Figure = ""  # noqa: N815 -- the wire's own key
    fundingTime: Figure = ""  # noqa: N815 -- the wire's own key
    oi: Figure = ""


class Detail(Struct, gc=False):
    """One liquidation of an element of `liquidation-orders`."""

    side: Literal["buy", "sell"]
    bkPx: Figure  # noqa: N815 -- the wire's own key
    sz: Figure
    ts: Time


class Liquidated(Struct, gc=False):
    """An element of `liquidation-orders`."""

    details: list[Detail]


# Lax: times of these are text.
_element = msgspec.json.Decoder(Element, strict=False)
_liquidated = msgspec.json.Decoder(Liquidated, strict=False)


def figures(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode an element of one of those channels. Raises: MalformedFrame."""
    row = decode(venue, _element, data, "figures")
    values = (
        ("mark_price", row.markPx),
        ("index_price", row.idxPx),
        ("funding_rate", row.fundingRate),
        ("next_funding_time", row.fundingTime),
        ("open_interest", row.oi),
    )
    try:
        return DerivativesUpdate(figures_of(row.ts, values))
    except ValueError as error:
        raise malformed(venue, "figures", str(error), data) from None


def liquidations(venue: str, data: bytes) -> DerivativesUpdate:
    """Decode an element of `liquidation-orders`. Raises: MalformedFrame."""
    element = decode(venue, _liquidated, data, "liquidations")
    return DerivativesUpdate(
        liquidations=tuple(Liquidation(row.side, row.bkPx, row.sz, row.ts, row.ts) for row in element.details)
    )
