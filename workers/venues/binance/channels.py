"""Binance's streams that the settings ask for by name, as they arrive on combined sockets.

    {"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1672515782136,"s":"BTCUSDT","k":{"t":1672515780000,…}}}
    {"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL",…}}}
    {"stream":"!markPrice@arr@1s","data":[{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT",…},…]}

Sources: Binance's documents of the futures' market streams; the change notice of 2026-03-06, which split them over the
path roots `/public` and `/market`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from workers.errors import MalformedFrame
from workers.model.symbols.names import symbol_problem
from workers.venues.binance import derivatives
from workers.venues.binance.wire import Time, milliseconds
from workers.venues.channels import QUIET, ExtraChannel, name_of
from workers.venues.interface import Endpoint
from workers.venues.messages import Message, Subscription
from workers.venues.requests import RestRequest
from workers.venues.session import Event
from workers.venues.tolerant_json import decode, filed

PUBLIC: Final = ("depth", "rpiDepth", "bookTicker", "trade")
"""What streams of the path root of books begin with; all others are of that of trades."""
OPEN_INTEREST: Final = "openInterest"
"""No stream: REST has it."""
SHOWN: Final = 80


class Order(Struct, gc=False):
    """What a `forceOrder` has inside."""

    s: str


class Head(Struct, gc=False):
    """What files an event, whichever it is."""

    s: str | UnsetType = UNSET
    E: Time | UnsetType = UNSET
    o: Raw | UnsetType = UNSET


class Frame(Struct, gc=False):
    """A combined frame, as far as it is one."""

    stream: str = ""
    data: Raw | UnsetType = UNSET


frame_decoder = msgspec.json.Decoder(Frame)
_head = msgspec.json.Decoder(Head)
_order = msgspec.json.Decoder(Order)
_elements = msgspec.json.Decoder(list[Raw])


def channels_of(
    venue: str, names: Sequence[str], request: Callable[[str], RestRequest]
) -> Mapping[str, ExtraChannel]:
    """What is known of the channels of the settings: `!…` are of the whole market.

    Args:
        venue: the settings section, for errors.
        request: asks REST for the open interest of a symbol.
    """
    return {name: _channel(venue, name, request) for name in names}


def _channel(venue: str, name: str, request: Callable[[str], RestRequest]) -> ExtraChannel:
    channel = ExtraChannel(whole_market=name.startswith("!"))
    kind = name.lstrip("!").partition("@")[0]
    if kind == OPEN_INTEREST:
        return ExtraChannel(QUIET, read=partial(derivatives.open_interest, venue), request=request)
    if kind == "markPrice":
        return channel._replace(read=partial(derivatives.mark_price, venue))
    if kind == "forceOrder":
        return channel._replace(patience=QUIET, read=partial(derivatives.liquidation, venue))
    return channel._replace(patience=QUIET) if kind == "contractInfo" else channel


def endpoints_of(
    channels: Mapping[str, ExtraChannel], names: Mapping[str, str], public: str, market: str
) -> list[Endpoint]:
    """The sockets of the channels.

    Args:
        names: the symbols, and how stream names spell them.
        public: the URL of sockets of the path root of books.
        market: the same of trades.
    """
    by_url: dict[str, list[Subscription]] = {}
    for name, channel in channels.items():
        if channel.request is not None:
            continue
        patience = channel.patience
        streams = by_url.setdefault(public if name.lstrip("!").startswith(PUBLIC) else market, [])
        if channel.whole_market:
            streams.append(Subscription(name, name, "", patience))
        else:
            streams += [
                Subscription(f"{spelled}@{name}", name, symbol, patience) for symbol, spelled in names.items()
            ]
    return [Endpoint(url, streams, extra=True) for url, streams in by_url.items()]


def messages(venue: str, stream: Subscription, data: Raw) -> list[Event]:
    """The messages of a frame of a stream; an element of a list that is malformed costs no other.

    Raises:
        MalformedFrame: nothing of it can be used.
    """
    whole = bytes(data)
    if not whole.lstrip().startswith(b"["):
        return [_message(venue, stream, whole)]
    elements = decode(venue, _elements, data, stream.channel)
    return filed(elements, partial(_message, venue, stream))


def _message(venue: str, stream: Subscription, data: bytes) -> Message:
    head = decode(venue, _head, data, stream.channel)
    symbol, identity = stream.symbol, data
    if head.o is not UNSET and bytes(head.o).startswith(b"{"):
        # The time of the event may differ between sockets; the order has one of its own.
        identity = bytes(head.o)
    if not symbol:
        symbol = head.s if head.s is not UNSET else decode(venue, _order, identity, stream.channel).s
        if problem := symbol_problem(symbol):
            raise MalformedFrame(venue, stream.channel, f"its symbol {symbol[:SHOWN]!r}: {problem}", data)
    time = -1 if head.E is UNSET else milliseconds(head.E)
    return Message(stream.channel, symbol, data, time, 0, 0, -1, name=name_of(identity))
