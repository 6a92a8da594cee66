"""Bitfinex's wire objects: events are objects, data are arrays.

    {"event":"info","version":2,"serverId":"08c3ea49-…","platform":{"status":1}}
    {"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}
    {"event":"conf","status":"OK","flags":229376}
    {"event":"subscribed","channel":"book","chanId":943592,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"250",
     "pair":"BTCUSD"}
    {"channel":"book","symbol":"tNOPE","prec":"P0","len":"25","event":"error","msg":"symbol: invalid","code":10300,
     "pair":"NOPE"}
    {"event":"unsubscribed","status":"OK","chanId":943592}

    [943592,[[86704,1,0.03460649],[86719,2,-0.03483509]],5,1790134414850]
    [943592,[86664,0,1],6,1790134414900]
    [943592,"cs",1330055495,7,1790134414901]
    [943592,"hb",8,1790134429000]
    [146481,"te",[658733916,1617643611128,0.7574881,230890],394]

An array ends with its number on the socket (flag SEQ_ALL), and that with the time in ms (flag TIMESTAMP). Which of
the two are there can be seen: no socket counts to 10^12, which as a time in ms was in 2001.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers.venues.wire_values import Brief

Count = Annotated[int, Meta(ge=0, le=2**53)]
TradeId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Signed32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]

TIMES_FROM: Final = 10**12

_elements = msgspec.json.Decoder(list[Raw])
_count = msgspec.json.Decoder(Count)
_text = msgspec.json.Decoder(str)


class Platform(Struct, gc=False):
    """`status`: 1 operative, 0 in maintenance."""

    status: int = 1


class Event(Struct, gc=False):
    """A frame that is an object."""

    event: str
    channel: Brief = ""
    chanId: Count = 0  # noqa: N815 -- the wire's own key
    symbol: Brief = ""
    prec: Brief = ""
    code: int = 0
    msg: str = ""
    status: str = ""
    flags: int = 0
    platform: Platform | UnsetType | None = UNSET


class Entry(Struct, array_like=True, gc=False):
    """A level: price, number of orders, amount; bids are above zero, asks below."""

    price: Raw
    count: Count
    amount: Raw


class TradeHead(Struct, array_like=True, gc=False):
    """What files a trade."""

    trade_id: TradeId
    time_ms: Count


class TradeRow(TradeHead, array_like=True, gc=False):
    """A whole trade; the amount has the sign of the taker: above zero it bought."""

    amount: Raw
    price: Raw


class TickerRow(Struct, array_like=True):
    """One row of `tickers`, of a pair: best bid and ask with their sizes and the change of a day are not looked at,
    nor what follows; the exchange adds to its rows from time to time."""

    symbol: Brief
    bid: Raw
    bid_size: Raw
    ask: Raw
    ask_size: Raw
    change: Raw
    relative_change: Raw
    last: float
    volume: float


class DataFrame(NamedTuple):
    """An array, taken apart.

    tag: `hb`, `cs`, `te`, `tu` or empty.
    payload: what follows the tag, or stands in its place; None of `hb`.
    sequence: 0 where the frame has none.
    time_ms: -1 where the frame has none.
    """

    channel: int
    tag: str
    payload: Raw | None
    sequence: int
    time_ms: int


def data_frame(frame: bytes) -> DataFrame:
    """Take an array apart.

    Raises:
        ValueError: it is none of these; or what msgspec raises for rubbish, see `tolerant_json.UNUSABLE`.
    """
    elements = _elements.decode(frame)
    if len(elements) < 2:
        raise ValueError("an array of less than two elements")
    channel, rest = _count.decode(elements[0]), 2
    tag, payload = "", elements[1]
    if bytes(payload)[:1] == b'"':
        tag = _text.decode(payload)
        rest = 2 if tag == "hb" else 3
        if len(elements) < rest:
            raise ValueError(f"{tag[:20]!r} without its payload")
        payload = elements[rest - 1]
    ends = [_count.decode(element) for element in elements[rest:]]
    time_ms = ends.pop() if ends and ends[-1] >= TIMES_FROM else -1
    if len(ends) > 1 or (ends and not ends[0]):
        raise ValueError("behind the payload are one number, from 1 on, and a time")
    return DataFrame(channel, tag, None if tag == "hb" else payload, ends[0] if ends else 0, time_ms)


def rows(payload: Raw) -> tuple[list[Raw], bool]:
    """The rows of a payload, and whether they stood in a list: `[[…],[…]]` has several, `[…]` is one.

    Raises:
        ValueError: it is no array; or what msgspec raises, see `tolerant_json.UNUSABLE`.
    """
    if bytes(payload)[:1] != b"[":
        raise ValueError("its payload is no array")
    elements = _elements.decode(payload)
    if not elements or bytes(elements[0])[:1] == b"[":
        return elements, True
    return [payload], False
