"""Bybit's wire objects, API v5, as they arrive.

Unknown keys, any key order (spot sends `ts` before `type`, futures after), and elements after the known ones of a level
are tolerated.

Book, whole and changed (`ts` is the gateway's time, `cts` the engine's):

    {"topic":"orderbook.50.BTCUSDT","ts":1787612486096,"type":"snapshot","data":{"s":"BTCUSDT",
     "b":[["78715","1.271882"]],"a":[["78715.1","0.0297"]],"u":217107084,"seq":113099229623},"cts":1787612486094}
    {"topic":"orderbook.50.BTCUSDT","ts":1787612486116,"type":"delta","data":{"s":"BTCUSDT","b":[],
     "a":[["78716.8","0.027559"],["78748.5","0"]],"u":217107085,"seq":113099229629},"cts":1787612486108}

Trades, futures and spot (`S` is the taker's side; `type` says snapshot though they are new):

    {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310819681,"data":[{"T":1786310819680,"s":"BTCUSDT",
     "S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick","i":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","BT":false,
     "RPI":false,"seq":753843954913}]}
    {"topic":"publicTrade.ETHUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417",
     "T":1786310821917,"p":"1923.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"ETHUSDT","BT":false}]}

Answers; spot leaves `req_id` out, futures send it, empty where none was asked:

    {"success":true,"ret_msg":"subscribe","conn_id":"d9avt8shteepr00gfc1g-4zd1x","op":"subscribe"}
    {"success":true,"ret_msg":"","conn_id":"d8bu1olkndm7crnfs1e0-j6akw","req_id":"7","op":"subscribe"}
    {"success":false,"ret_msg":"Invalid topic: invalid.topic.BTCUSDT","conn_id":"…","op":"subscribe"}
    {"success":true,"ret_msg":"pong","conn_id":"…","req_id":"","op":"ping"}
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from workers.venues.wire_values import Brief, Figure, WireLevel

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0, le=2**53)]
"""Milliseconds."""
TradeName = Annotated[str, Meta(max_length=64, pattern="^[!-~]+$")]
"""A UUID, or digits."""
Code = Annotated[int, Meta(ge=-(10**9), le=10**9)]


class Frame(Struct, gc=False):
    """Any frame: data of a topic, or the answer to a request."""

    topic: str | UnsetType = UNSET
    type: str = ""
    ts: Time = 0
    cs: Id | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    success: bool | UnsetType = UNSET
    ret_msg: str = ""
    op: str = ""
    req_id: str = ""


class BookHead(Struct, gc=False):
    """The ids of a book message; its levels are skipped, not decoded."""

    u: Id
    seq: Id = 0


class Book(Struct, gc=False):
    """Levels and ids of a book message, and `result` of REST `orderbook`, which has its times inside."""

    b: list[WireLevel]
    a: list[WireLevel]
    u: Id
    ts: Time = 0
    cts: Time = 0


class BookFrame(Struct, gc=False):
    """A whole book message."""

    data: Book
    ts: Time
    cts: Time = 0


class TradeHead(Struct, gc=False):
    """What files a trade."""

    i: TradeName
    T: Time


class TradeRow(Struct, gc=False):
    """A whole trade of the stream; `BT`: agreed on elsewhere (block trade)."""

    i: TradeName
    T: Time
    p: Figure
    v: Figure
    S: Literal["Buy", "Sell"]
    BT: bool = False


class RecentTrade(Struct, gc=False):
    """A trade of REST `recent-trade`."""

    execId: TradeName  # noqa: N815 -- the wire's own key
    price: Figure
    size: Figure
    side: Literal["Buy", "Sell"]
    time: Time
    isBlockTrade: bool = False  # noqa: N815 -- the wire's own key


class Reply(Struct):
    """Any REST reply: `{"retCode":0,"retMsg":"OK","result":{…},"time":1672765737733}`; errors have status 200 too."""

    retCode: Code  # noqa: N815 -- the wire's own key
    retMsg: str = ""  # noqa: N815 -- the wire's own key
    result: Raw | UnsetType = UNSET


class Listing(Struct):
    """`result` of whatever is a list: `{"category":"linear","list":[…],"nextPageCursor":""}`"""

    elements: list[Raw] = field(name="list")
    nextPageCursor: Annotated[str, Meta(max_length=1024)] = ""  # noqa: N815 -- the wire's own key


class ServerTime(Struct):
    """`result` of `time`: `{"timeSecond":"1688639403","timeNano":"1688639403423213947"}`"""

    timeNano: Id  # noqa: N815 -- the wire's own key


class PriceFilter(Struct, frozen=True):
    """`{"tickSize":"0.10",…}`"""

    tickSize: Brief = ""  # noqa: N815 -- the wire's own key


class LotFilter(Struct, frozen=True):
    """`{"qtyStep":"0.001",…}`; spot says `basePrecision`."""

    qtyStep: Brief = ""  # noqa: N815 -- the wire's own key
    basePrecision: Brief = ""  # noqa: N815 -- the wire's own key


class ListedInstrument(Struct):
    """One element of `instruments-info`."""

    symbol: str
    status: Brief = ""
    baseCoin: Brief = ""  # noqa: N815 -- the wire's own key
    quoteCoin: Brief = ""  # noqa: N815 -- the wire's own key
    priceFilter: PriceFilter = PriceFilter()  # noqa: N815 -- the wire's own key
    lotSizeFilter: LotFilter = LotFilter()  # noqa: N815 -- the wire's own key


class TickerRow(Struct):
    """One element of `tickers`; of inverse contracts `volume24h` is in dollars and `turnover24h` in coins."""

    symbol: str
    lastPrice: str = ""  # noqa: N815 -- the wire's own key
    volume24h: str = ""
    turnover24h: str = ""


frame_decoder = msgspec.json.Decoder(Frame)
book_head_decoder = msgspec.json.Decoder(BookHead)
book_frame_decoder = msgspec.json.Decoder(BookFrame)
book_decoder = msgspec.json.Decoder(Book)
elements_decoder = msgspec.json.Decoder(list[Raw])
trade_head_decoder = msgspec.json.Decoder(TradeHead)
trade_decoder = msgspec.json.Decoder(TradeRow)
reply_decoder = msgspec.json.Decoder(Reply)
listing_decoder = msgspec.json.Decoder(Listing)
# Lax: times of these are text.
recent_trade_decoder = msgspec.json.Decoder(RecentTrade, strict=False)
time_decoder = msgspec.json.Decoder(ServerTime, strict=False)
instrument_decoder = msgspec.json.Decoder(ListedInstrument)
ticker_decoder = msgspec.json.Decoder(TickerRow)
