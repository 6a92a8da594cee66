"""OKX's channels that the settings ask for by name.

    {"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",
     "markPx":"42310.6","ts":"1630049139746"}]}
    {"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","idxPx":"43350",…,
     "ts":"1649419644492"}]}
    {"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1597026383085","8533.02",…]]}
    {"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0","bkPx":"0.007831",
     "posSide":"short","side":"buy","sz":"13","ts":"1692266434010"}],"instId":"IOST-USDT-SWAP","instType":"SWAP"}]}

Source: OKX's documents of the v5 WebSocket, public channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from workers.model.symbols.names import symbol_problem
from workers.venues.channels import QUIET, ExtraChannel, name_of
from workers.venues.interface import Endpoint
from workers.venues.messages import Message, Subscription
from workers.venues.okx import derivatives
from workers.venues.okx.wire import Time
from workers.venues.session import Event
from workers.venues.tolerant_json import decode, filed, malformed

LIQUIDATIONS: Final = "liquidation-orders"
INDEX: Final = "index-tickers"
FIGURES: Final = frozenset({"mark-price", INDEX, "funding-rate", "open-interest"})
OF_TYPES: Final = frozenset({LIQUIDATIONS, "adl-warning", "instruments"})
"""Channels whose argument is a type of instruments."""
_BUSINESS: Final = ("candle", "mark-price-candle", "index-candle", "trades-all", "sprd-")
"""What the channels of the other path begin with."""


class Head(Struct, gc=False):
    """What files an element of the data, where it is an object; of indexes `instId` is that of the index."""

    instId: str | UnsetType = UNSET  # noqa: N815 -- the wire's own key
    ts: Time | UnsetType = UNSET


_head = msgspec.json.Decoder(Head, strict=False)


def channels_of(venue: str, names: Sequence[str]) -> Mapping[str, ExtraChannel]:
    """What is known of the channels of the settings; `venue` is their section, for errors."""
    return {name: _channel(venue, name) for name in names}


def _channel(venue: str, name: str) -> ExtraChannel:
    if name == LIQUIDATIONS:
        return ExtraChannel(QUIET, whole_market=True, read=partial(derivatives.liquidations, venue))
    if name in FIGURES:
        return ExtraChannel(read=partial(derivatives.figures, venue))
    return ExtraChannel(QUIET, whole_market=True) if name in OF_TYPES else ExtraChannel()


def endpoints_of(
    channels: Mapping[str, ExtraChannel], symbols: Sequence[str], kind: str, public: str, business: str
) -> list[Endpoint]:
    """The sockets of the channels.

    Args:
        kind: the type of the market's instruments: `SWAP`.
        public, business: the URLs of both paths.
    """
    by_url: dict[str, list[Subscription]] = {}
    for name, channel in channels.items():
        patience = channel.patience
        streams = by_url.setdefault(business if name.startswith(_BUSINESS) else public, [])
        if channel.whole_market:
            streams.append(Subscription(f"{name}:{kind}", name, "", patience))
        else:
            streams += [
                Subscription(f"{name}:{subject_of(name, each)}", name, each, patience) for each in symbols
            ]
    return [Endpoint(url, streams, extra=True) for url, streams in by_url.items()]


def subject_of(channel: str, symbol: str) -> str:
    """What a channel calls a symbol: an index is that of `BTC-USDT`, the first two parts of `BTC-USDT-SWAP`."""
    return "-".join(symbol.split("-")[:2]) if channel.startswith("index-") else symbol


def messages(venue: str, stream: Subscription, data: Sequence[Raw]) -> list[Event]:
    """The messages of a frame, an element each; one that is malformed costs no other."""
    return filed(data, partial(_message, venue, stream))


def _message(venue: str, stream: Subscription, data: bytes) -> Message:
    symbol, time = stream.symbol, -1
    if data.startswith(b"{"):
        head = decode(venue, _head, data, stream.channel)
        time = -1 if head.ts is UNSET else head.ts
        if not symbol:
            symbol = "" if head.instId is UNSET else head.instId
    if problem := symbol_problem(symbol):
        raise malformed(venue, stream.channel, f"its instId {symbol[:80]!r}: {problem}", data)
    return Message(stream.channel, symbol, data, time, 0, 0, -1, name=name_of(data))
