"""Kraken's wire objects: sockets v2 and v1, and REST.

v2. Numbers are JSON numbers in the pair's full precision; their text is part of the checksum, so they stay `Raw`.

    {"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",
     "connection_id":806193442143087786}]}
    {"channel":"heartbeat"}
    {"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},"success":true,
     "time_in":"2026-08-24T22:21:56.724795Z","time_out":"2026-08-24T22:21:56.724853Z"}
    {"error":"Currency pair not supported XBT/USD","method":"subscribe","req_id":1,"success":false,"symbol":"XBT/USD"}
    {"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":78858.8,"qty":0.00000000}],
     "asks":[],"checksum":2416540570,"timestamp":"2026-08-24T22:21:58.343688Z"}]}
    {"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,"qty":0.00027625,
     "ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"}]}

v1 (frozen; of archives). An update may bring its two sides in two maps; the checksum is in the last. A level is
price, quantity, time in seconds and, where it was published before, `r`:

    {"channelID":320,"channelName":"book-1000","event":"subscriptionStatus","pair":"XBT/USD","status":"subscribed",
     "subscription":{"depth":1000,"name":"book"}}
    [320,{"as":[["58729.40000","0.45000000","1617666423.606671"]],"bs":[…]},"book-1000","XBT/USD"]
    [320,{"b":[["55225.00000","0.50000000","1617640142.435065","r"]],"c":"226497374"},"book-1000","XBT/USD"]
    [1234,{"a":[…]},{"b":[…],"c":"974947235"},"book-10","XBT/USD"]
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers.venues.wire_values import Brief, Figure, Moment, Text

TradeId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Crc = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Decimals = Annotated[int, Meta(ge=0, le=18)]


class Result(Struct, gc=False):
    """What was acknowledged."""

    channel: str = ""
    symbol: str = ""
    depth: int = 0


class Envelope(Struct, gc=False):
    """Any v2 frame: data of a channel, or the reply to a method."""

    channel: str = ""
    type: str = ""
    data: Raw | UnsetType = UNSET
    method: str = ""
    success: bool = True
    error: str | None = None
    symbol: str | None = None
    req_id: int | None = None
    result: Result | None = None


class Status(Struct, gc=False):
    """`system`: online, cancel_only, maintenance, post_only."""

    system: str


class BookHead(Struct, gc=False):
    """What files a book; its levels are skipped, not decoded. The first v2 snapshots had no time."""

    symbol: Brief
    timestamp: Moment | None = None


class PriceLevel(Struct, gc=False):
    """A level of v2."""

    price: Raw
    qty: Raw


class Book(Struct, gc=False):
    """A whole book, or a change of one."""

    bids: list[PriceLevel] = []
    asks: list[PriceLevel] = []
    checksum: Crc | None = None
    timestamp: Moment | None = None


class BookFrame(Book, gc=False):
    """A frame with the book of one symbol, or one book of several, as it was cut out."""

    data: tuple[Book] | UnsetType = UNSET


class TradeHead(Struct, gc=False):
    """What files a trade."""

    symbol: Brief
    trade_id: TradeId
    timestamp: Moment


class TradeRow(Struct, gc=False):
    """A whole trade; `side` is the taker's."""

    trade_id: TradeId
    price: Raw
    qty: Raw
    side: str
    timestamp: Moment


class Event(Struct, gc=False):
    """A v1 frame that is an object."""

    event: str
    status: str = ""
    pair: str = ""
    channelName: str = ""  # noqa: N815 -- the wire's own key
    errorMessage: str = ""  # noqa: N815 -- the wire's own key


class TimedLevel(Struct, array_like=True, gc=False):
    """A level of v1; a fourth element `r` says that it was published before."""

    price: Text
    quantity: Text
    time: Text


class Sides(Struct, rename={"whole_asks": "as", "whole_bids": "bs"}, gc=False):
    """One map of a v1 book frame: `as` and `bs` of a snapshot, `a`, `b` and `c` of an update."""

    whole_asks: list[TimedLevel] | UnsetType = UNSET
    whole_bids: list[TimedLevel] | UnsetType = UNSET
    a: list[TimedLevel] = []
    b: list[TimedLevel] = []
    c: str | None = None

    @property
    def is_snapshot(self) -> bool:
        """A whole book may have one empty side, which may then be left out."""
        return self.whole_asks is not UNSET or self.whole_bids is not UNSET


class Reply(Struct):
    """`{"error":[],"result":{…}}`; HTTP stays 200 where `error` says something."""

    error: list[str] = []
    result: dict[str, Raw] | None = None


class TradesRow(Struct, array_like=True, gc=False):
    """`["105433.60000","0.00027625",1762795433.9717445,"b","l","",10218208]`"""

    price: Figure
    volume: Figure
    time: Raw
    side: str
    order_type: str
    miscellaneous: str
    trade_id: TradeId


class Pair(Struct):
    """One of `AssetPairs`: `"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","pair_decimals":1,"lot_decimals":8,
    "tick_size":"0.1","status":"online",…}`"""

    wsname: Brief = ""
    altname: Brief = ""
    pair_decimals: Decimals = 0
    lot_decimals: Decimals = 8
    tick_size: Brief = ""
    status: Brief = "online"


class PairTicker(Struct):
    """One of `Ticker`: `c` the last price and its lot; `v` and `p` volume and mean price of today and of 24 h."""

    c: list[str]
    v: list[str]
    p: list[str]
