"""OKX's wire objects, API v5, as they arrive.

Unknown keys, any key order, and elements after the known ones of a level are tolerated; numbers are text, ids of books
are not.

Book (a level is price, quantity, a deprecated 0, and the number of orders; of swaps and futures the quantity is in
contracts), until 2022 without `seqId` and `prevSeqId`, from mid-2026 on with a checksum of 0:

    {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["78722.3","0.38","0","10"]],
     "bids":[["78722.2","0.61610822","0","19"]],"ts":"1787612486107","checksum":0,"seqId":80274874800,"prevSeqId":-1}]}
    {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["78853.3","0.00002056","0","2"]],
     "bids":[],"ts":"1787612486407","checksum":0,"seqId":80274874895,"prevSeqId":80274874887}]}

Trades (`trades-all` without `count`; `side` is the taker's):

    {"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9",
     "sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0","seqId":1234}]}

Answers and notices; an error names its argument in `msg` at best:

    {"id":"7","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"32f4414f"}
    {"event":"error","code":"60018","msg":"Wrong URL or channel:books,instId:XXX doesn't exist…","connId":"a4d3ae55"}
    {"event":"notice","code":"64008","msg":"The connection will soon be closed…","connId":"a4d3ae55"}
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers.venues.wire_values import Brief, Figure, WireLevel

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
PreviousId = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0, le=2**53)]
"""Milliseconds."""
Code = str | Annotated[int, Meta(ge=-(10**9), le=10**9)]


class Argument(Struct, gc=False):
    """What a frame is of: `{"channel":"books","instId":"BTC-USDT"}`."""

    channel: str
    instId: str = ""  # noqa: N815 -- the wire's own key
    instType: str = ""  # noqa: N815 -- the wire's own key


class Frame(Struct, gc=False):
    """Any frame: data, the answer to one argument of a request, an error, or a notice."""

    event: str = ""
    arg: Argument | UnsetType = UNSET
    action: str = ""
    data: list[Raw] | UnsetType = UNSET
    id: str = ""
    code: Code = ""
    msg: str = ""


class BookHead(Struct, gc=False):
    """The ids of a book message; its levels are skipped, not decoded."""

    ts: Time
    seqId: Id | UnsetType = UNSET  # noqa: N815 -- the wire's own key
    prevSeqId: PreviousId = -1  # noqa: N815 -- the wire's own key


class Book(Struct, gc=False):
    """A whole book message."""

    ts: Time
    bids: list[WireLevel]
    asks: list[WireLevel]
    seqId: Id = 0  # noqa: N815 -- the wire's own key
    prevSeqId: PreviousId = -1  # noqa: N815 -- the wire's own key
    checksum: Annotated[int, Meta(ge=-(2**31), lt=2**32)] = 0


class Books(Struct, gc=False):
    """The data of a whole frame of a book."""

    data: list[Book]


class TradeHead(Struct, gc=False):
    """The id of a trade."""

    tradeId: Id  # noqa: N815 -- the wire's own key
    ts: Time


class TradeRow(Struct, gc=False):
    """A whole trade, of the stream or of REST."""

    tradeId: Id  # noqa: N815 -- the wire's own key
    px: Figure
    sz: Figure
    side: Literal["buy", "sell"]
    ts: Time
    count: Annotated[int, Meta(ge=1, le=10**9)] = 1


class Reply(Struct):
    """Any REST reply: `{"code":"0","msg":"","data":[…]}`, or an error with another code."""

    code: Code = ""
    msg: str = ""
    data: list[Raw] | UnsetType = UNSET


class ListedInstrument(Struct):
    """One element of `public/instruments`, and of the stream `instruments`, where a new one has most of it empty."""

    instId: str  # noqa: N815 -- the wire's own key
    state: Brief = ""
    tickSz: Brief = ""  # noqa: N815 -- the wire's own key
    lotSz: Brief = ""  # noqa: N815 -- the wire's own key
    baseCcy: Brief = ""  # noqa: N815 -- the wire's own key
    quoteCcy: Brief = ""  # noqa: N815 -- the wire's own key
    instFamily: Brief = ""  # noqa: N815 -- the wire's own key


class TickerRow(Struct):
    """One element of `market/tickers`; `volCcy24h` is in quote currency on spot, in base currency elsewhere."""

    instId: str  # noqa: N815 -- the wire's own key
    last: str = ""
    volCcy24h: str = ""  # noqa: N815 -- the wire's own key


class TimeRow(Struct):
    """The one element of `public/time`."""

    ts: Time


# Lax: the numbers of these are text.
frame_decoder = msgspec.json.Decoder(Frame)
book_head_decoder = msgspec.json.Decoder(BookHead, strict=False)
book_decoder = msgspec.json.Decoder(Book, strict=False)
books_decoder = msgspec.json.Decoder(Books, strict=False)
trade_head_decoder = msgspec.json.Decoder(TradeHead, strict=False)
trade_decoder = msgspec.json.Decoder(TradeRow, strict=False)
reply_decoder = msgspec.json.Decoder(Reply)
instrument_decoder = msgspec.json.Decoder(ListedInstrument)
ticker_decoder = msgspec.json.Decoder(TickerRow)
time_decoder = msgspec.json.Decoder(TimeRow, strict=False)


def code_number(code: Code) -> int:
    """An error code as a number; 0 where it is none."""
    text = str(code)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
