"""Binance's wire objects, spot and futures, as they arrive.

Unknown keys, any key order, and elements after the known ones of a level (`["1","2",[]]`) are tolerated.
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers.venues.wire_values import Brief, Figure, Text, WireLevel

Id = Annotated[int, Meta(ge=-1, le=2**53 - 1)]
"""Update and trade ids: about 1.2e13 today; from 2^53 on a double no longer holds each of them."""
Time = Annotated[int, Meta(ge=0, le=2**53)]
"""Milliseconds, or microseconds where the connection asked for them."""
MICROSECONDS_FROM: Final = 10**14
"""Times this large are microseconds (spot sockets opened with `timeUnit`); as ms they would be the year 5138."""
Pair = tuple[Text, Text]
"""A level as it arrives today: the form that decodes fastest, but nothing may follow the quantity."""


def milliseconds(time: int) -> int:
    """A time of the wire in ms."""
    return time // 1000 if time >= MICROSECONDS_FROM else time


AnyPair = TypeVar("AnyPair", Pair, WireLevel)
"""Until 2019 Binance sent levels with more after the quantity: `["4.00","431.0",[]]`."""


class ErrorBody(Struct, gc=False):
    """`{"code":2,"msg":"Invalid request: …"}`, inside `error` on the socket, bare in REST replies."""

    code: int = 0
    msg: str = ""


class Envelope(Struct, gc=False):
    """Any frame: combined data, the reply to a request, an error, or a bare event."""

    stream: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    id: int | str | UnsetType | None = UNSET
    result: Raw | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET
    code: int | UnsetType = UNSET
    msg: str = ""
    e: str | UnsetType = UNSET


class DepthHead(Struct, gc=False):
    """The ids of a `depthUpdate`; its levels are skipped, not decoded."""

    s: str
    E: Time
    U: Id
    u: Id
    pu: Id = -1


class TradeHead(Struct, gc=False):
    """The ids of an `aggTrade`."""

    s: str
    T: Time
    a: Id


class RawTradeHead(Struct, gc=False):
    """The ids of a `trade`."""

    s: str
    T: Time
    t: Id


class DepthUpdate(Struct, Generic[AnyPair], gc=False):
    """A whole `depthUpdate`, of futures and of spot (no `T`, no `pu`).

    {"e":"depthUpdate","E":1790373637622,"T":1790373637613,"s":"BTCUSD_PERP","ps":"BTCUSD",
     "U":11660059838224,"u":11660059844303,"pu":11660059836647,"b":[["9.1","2"]],"a":[["9.2","0"]],"st":2}
    {"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"b":[["0.0024","10"]],"a":[]}
    """

    s: str
    E: Time
    U: Id
    u: Id
    b: list[AnyPair]
    a: list[AnyPair]
    pu: Id = -1
    T: Time = 0


class AggregateTrade(Struct, gc=False):
    """A whole `aggTrade`, of futures (`nq`: quantity without RPI fills) and of spot (`M`: ignore).

    {"e":"aggTrade","E":1790526539033,"a":3466782974,"s":"BTCUSDT","p":"84551.10","q":"0.030","nq":"0.030",
     "f":8123344783,"l":8123344783,"T":1790526538883,"m":false,"st":1}
    {"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,
     "T":1672515782136,"m":true,"M":true}

    REST sends the same without `e`, `E` and `s`.
    """

    a: Id
    p: Figure
    q: Figure
    f: Id
    l: Id  # noqa: E741 -- the wire's own key
    T: Time
    m: bool
    s: str = ""
    E: Time = 0


class RawTrade(Struct, gc=False):
    """A whole `trade`, of futures (`X`: MARKET, INSURANCE_FUND, ADL or NA); spot sends no `X`.

    {"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006",
     "X":"MARKET","m":false}
    """

    s: str
    t: Id
    p: Figure
    q: Figure
    T: Time
    m: bool
    E: Time = 0
    X: str = "MARKET"


class TickerHead(Struct, gc=False):
    """The id of a `bookTicker`; spot sends no time."""

    s: str
    u: Id
    E: Time | UnsetType = UNSET


class BestLevels(Struct, gc=False):
    """A whole `bookTicker`, of spot (no `e`, no time) and of futures.

    {"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.23400000"}
    {"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","ps":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30",
     "A":"2.510","T":1723161256322,"E":1723161256322,"st":1}
    """

    s: str
    u: Id
    b: Text
    B: Text
    a: Text
    A: Text
    E: Time = 0


class DepthReply(Struct, Generic[AnyPair], gc=False):
    """`{"lastUpdateId":1027024,"E":…,"T":…,"bids":[["4.00","431.0"]],"asks":[["4.02","12.0"]]}`"""

    lastUpdateId: Id  # noqa: N815 -- the wire's own key
    bids: list[AnyPair]
    asks: list[AnyPair]
    E: Time = 0


class TimeReply(Struct):
    """`{"serverTime":1499827319559}`"""

    serverTime: Time  # noqa: N815 -- the wire's own key


class RateLimit(Struct):
    """`{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}`"""

    rateLimitType: str  # noqa: N815 -- the wire's own key
    interval: str = ""
    intervalNum: int = 1  # noqa: N815 -- the wire's own key
    limit: int = 0


class Filter(Struct):
    """`{"filterType":"PRICE_FILTER","tickSize":"0.01",…}`: found by type, never by position."""

    filterType: str  # noqa: N815 -- the wire's own key
    tickSize: Brief = ""  # noqa: N815 -- the wire's own key
    stepSize: Brief = ""  # noqa: N815 -- the wire's own key


class ListedSymbol(Struct):
    """One entry of `symbols`; COIN-M says `contractStatus`, the others `status`."""

    symbol: str
    baseAsset: Brief = ""  # noqa: N815 -- the wire's own key
    quoteAsset: Brief = ""  # noqa: N815 -- the wire's own key
    status: Brief = ""
    contractStatus: Brief = ""  # noqa: N815 -- the wire's own key
    filters: list[Filter] = []


class ExchangeInfoReply(Struct):
    """`{"rateLimits":[…],"symbols":[…],…}`"""

    symbols: list[Raw]
    """Of `ListedSymbol`, each decoded by itself: one that cannot be must not cost the others."""
    rateLimits: list[Raw] = []  # noqa: N815 -- the wire's own key
    """Of `RateLimit`."""


class TickerRow(Struct):
    """One row of `ticker/24hr`; COIN-M says `baseVolume`, the others `quoteVolume`."""

    symbol: str
    lastPrice: str = ""  # noqa: N815 -- the wire's own key
    quoteVolume: str = ""  # noqa: N815 -- the wire's own key
    baseVolume: str = ""  # noqa: N815 -- the wire's own key
    weightedAvgPrice: str = ""  # noqa: N815 -- the wire's own key


class ContractInfo(Struct):
    """`{"e":"contractInfo","E":…,"s":"IOTAUSDT","ps":"IOTAUSDT","ct":"PERPETUAL","dt":…,"ot":…,"cs":"TRADING","st":1}`"""

    s: str
    E: Time
    cs: str
    st: int = 0


class RawTradeRow(Struct, gc=False):
    """One row of REST `trades`: `{"id":28457,"price":"4.00","qty":"12.0","time":1499865549590,…}`"""

    id: Id
    price: Figure
    qty: Figure
    time: Time
    isBuyerMaker: bool  # noqa: N815 -- the wire's own key
