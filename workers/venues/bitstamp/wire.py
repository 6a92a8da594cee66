"""Bitstamp's wire objects, WebSocket and HTTP API v2, as they arrive.

Unknown keys, any key order, and elements after the known ones of a level are tolerated. Numbers are text; where they
are not (`amount`), there is a text beside them (`amount_str`). `timestamp` is in s or ms, `microtimestamp` in µs.

What changed of a book (a quantity of zero, at the precision of the market, deletes):

    {"data":{"timestamp":"1787612486","microtimestamp":"1787612486338338","bids":[["78703.58","0.00000000"]],
     "asks":[["78703.69","0.36000000"]]},"channel":"diff_order_book_btcusd","event":"data"}

Trade (`type` 0: the taker bought):

    {"data":{"id":2001939623936278528,"id_str":"2001939623936278528","type":0,"amount":0.00921,"amount_str":"0.00921",
     "price":77204,"price_str":"77204","timestamp":"1789456400586","microtimestamp":"1789456400586000",
     "buy_order_id":2050545360601216,"sell_order_id":2050545352740993},"channel":"live_trades_btcusd-perp",
     "event":"trade"}

Answers and notices; an error rarely names its channel, and a channel of no market, if spelled well, is accepted:

    {"event":"bts:subscription_succeeded","channel":"diff_order_book_btcusd","data":{}}
    {"event":"bts:error","channel":"","data":{"code":null,"message":"Invalid channel provided."}}
    {"event":"bts:heartbeat","channel":"","data":{"status":"success"}}
    {"event":"bts:request_reconnect","channel":"","data":null}
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers.venues.wire_values import Brief, Figure, WireLevel

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Microseconds = Annotated[int, Meta(ge=0, le=2**53)]
"""Since 1970."""
Seconds = Annotated[int, Meta(ge=0, le=2**40)]
Side = Annotated[int, Meta(ge=0, le=1)]
"""0: the taker bought, 1: the taker sold."""
Decimals = Annotated[int, Meta(ge=0, le=40)]
Code = str | Annotated[int, Meta(ge=-(10**9), le=10**9)] | None


class Frame(Struct, gc=False):
    """Any frame."""

    event: str
    channel: str = ""
    data: Raw | UnsetType = UNSET


class Problem(Struct, gc=False):
    """`data` of an error."""

    code: Code = None
    message: str = ""


class BookHead(Struct, gc=False):
    """The time of a book message, the only thing that orders it; its levels are skipped, not decoded."""

    microtimestamp: Microseconds


class Book(Struct, gc=False):
    """Levels and time of a book message, and the reply of REST `order_book`."""

    microtimestamp: Microseconds
    bids: list[WireLevel]
    asks: list[WireLevel]


class BookFrame(Struct, gc=False):
    """A whole book message."""

    data: Book


class TradeHead(Struct, gc=False):
    """The id of a trade."""

    id: Id
    microtimestamp: Microseconds


class TradeRow(Struct, gc=False):
    """A whole trade."""

    id: Id
    microtimestamp: Microseconds
    price_str: Figure
    amount_str: Figure
    type: Side


class TradeFrame(Struct, gc=False):
    """A frame of one."""

    data: TradeRow


class Transaction(Struct, gc=False):
    """A trade of REST: `{"date":"1643640186","tid":"220754321","amount":"0.1","type":"0","price":"38000.00"}`"""

    date: Seconds
    tid: Id
    price: Figure
    amount: Figure
    type: Side


class Market(Struct):
    """One element of `markets`; the names of its assets where it has no keys for them are in `name` (`BTC/USD`)."""

    market_symbol: str
    name: Brief = ""
    trading: Brief = ""
    base_currency: Brief = ""
    counter_currency: Brief = ""
    base_decimals: Decimals | UnsetType = UNSET
    counter_decimals: Decimals | UnsetType = UNSET


class TickerRow(Struct):
    """One element of `ticker`, whose `pair` is written `BTC/USD`; `volume` is in the base asset."""

    pair: str
    last: str = ""
    volume: str = ""
    vwap: str = ""


class Refusal(Struct):
    """`{"status":"error","reason":"Invalid parameters.","code":"API0012"}`, or with `response_code` and its text."""

    code: Code = None
    response_code: Code = None
    reason: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    response_explanation: Raw | UnsetType = UNSET


frame_decoder = msgspec.json.Decoder(Frame)
problem_decoder = msgspec.json.Decoder(Problem)
elements_decoder = msgspec.json.Decoder(list[Raw])
market_decoder = msgspec.json.Decoder(Market)
ticker_decoder = msgspec.json.Decoder(TickerRow)
refusal_decoder = msgspec.json.Decoder(Refusal)
# Lax: times and ids of these may be text.
book_head_decoder = msgspec.json.Decoder(BookHead, strict=False)
book_decoder = msgspec.json.Decoder(Book, strict=False)
book_frame_decoder = msgspec.json.Decoder(BookFrame, strict=False)
trade_head_decoder = msgspec.json.Decoder(TradeHead, strict=False)
trade_frame_decoder = msgspec.json.Decoder(TradeFrame, strict=False)
transactions_decoder = msgspec.json.Decoder(list[Transaction], strict=False)


def code_number(code: Code) -> int:
    """An error code as a number, the point of `400.002` left out; 0 where it is none."""
    text = str(code).replace(".", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def text_of(sent: Raw) -> str:
    """What is said of an error: a text, or any JSON as it stands."""
    raw = bytes(sent)[:400]
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeError):
        return raw.decode(errors="replace")
