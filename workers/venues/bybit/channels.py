"""Bybit's topics that the settings ask for by name.

    {"topic":"kline.1.BTCUSDT","data":[{"start":1672324800000,…}],"ts":1672324988882,"type":"snapshot"}
    {"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"17216.17"},"cs":24987956059,
     "ts":1673272861686}
    {"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,"s":"ROSEUSDT",
     "S":"Sell","v":"20000","p":"0.04499"}]}

Source: Bybit's documents of v5, public topics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import UNSET, Raw

from workers.venues.bybit import derivatives
from workers.venues.bybit.wire import Frame
from workers.venues.channels import QUIET, ExtraChannel, name_of
from workers.venues.interface import Endpoint
from workers.venues.messages import Message, Subscription


def channels_of(venue: str, market: str, names: Sequence[str]) -> Mapping[str, ExtraChannel]:
    """What is known of the channels of the settings; `venue` is their section, for errors."""
    return {name: _channel(venue, market, name) for name in names}


def _channel(venue: str, market: str, name: str) -> ExtraChannel:
    if name == "allLiquidation":
        return ExtraChannel(QUIET, read=partial(derivatives.liquidations, venue))
    if name == "tickers" and market != "spot":
        return ExtraChannel(read=partial(derivatives.ticker, venue), changes_only=True)
    return ExtraChannel()


def endpoints_of(channels: Mapping[str, ExtraChannel], symbols: Sequence[str], url: str) -> list[Endpoint]:
    """The socket of the channels, where there are some."""
    streams = [
        Subscription(f"{name}.{symbol}", name, symbol, channel.patience)
        for name, channel in channels.items()
        for symbol in symbols
    ]
    return [Endpoint(url, streams, extra=True)] if streams else []


def message(stream: Subscription, envelope: Frame, data: Raw, frame: bytes) -> Message:
    """The message of a frame of a topic.

    `ts` is the gateway's, which may differ between sockets. Where there is the engine's sequence, `cs`, that and what
    is said tell messages apart; liquidations have times of their own.
    """
    stamp = (
        b""
        if stream.channel == "allLiquidation"
        else b"%d" % (envelope.ts if envelope.cs is UNSET else envelope.cs)
    )
    name = name_of(envelope.type.encode(), stamp, bytes(data))
    return Message(stream.channel, stream.symbol, frame, envelope.ts or -1, 0, 0, -1, name=name)
