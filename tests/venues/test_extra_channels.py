"""Channels that the settings ask for by name: each message filed under its symbol, a malformed one at its own cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from mutations import mutated

from workers.errors import MalformedFrame
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.venue import Bybit
from workers.venues.interface import Endpoint
from workers.venues.messages import Message
from workers.venues.okx.settings import OkxSettings
from workers.venues.okx.venue import Okx
from workers.venues.session import Session, Unusable

NOW_MS = 1_723_161_256_400
MARK = {"e": "markPriceUpdate", "E": 1562305380000, "s": "BTCUSDT", "p": "11794.15", "i": "11784.62", "r": "0.00038",
        "T": 1562306400000}  # fmt: skip
ORDER = {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910", "ap": "9910", "X": "FILLED",
         "l": "0.014", "z": "0.014", "T": 1568014460893}  # fmt: skip
FORCED = {"e": "forceOrder", "E": 1568014460893, "o": ORDER}
TICKERS = ('{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"17216.17"},'
           '"cs":24987956059,"ts":1673272861686}')  # fmt: skip
LIQUIDATED = ('{"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,"data":[{"T":1739502302929,'
              '"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"}]}')  # fmt: skip
MARK_PRICE = ('{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP",'
              '"instId":"BTC-USDT-SWAP","markPx":"42310.6","ts":"1630049139746"}]}')  # fmt: skip
INDEX = ('{"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","idxPx":"43350",'
         '"ts":"1649419644492"}]}')  # fmt: skip
CANDLE = '{"arg":{"channel":"candle1m","instId":"BTC-USDT-SWAP"},"data":[["1597026383085","3.721","3.743"]]}'
LIQUIDATIONS = ('{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"details":[{"bkLoss":"0",'
                '"bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"13","ts":"1692266434010"}],'
                '"instFamily":"IOST-USDT","instId":"IOST-USDT-SWAP","instType":"SWAP"}]}')  # fmt: skip


def binance(*channels: str, **settings: Any) -> Binance:
    settings = {"market": "usdm", **settings}
    return Binance(
        "usdm", BinanceSettings(symbols=["BTCUSDT", "币安人生USDT"], channels=list(channels), **settings)
    )


def bybit(*channels: str) -> Bybit:
    return Bybit("bybit", BybitSettings(market="linear", symbols=["BTCUSDT"], channels=list(channels)))


def okx(*channels: str) -> Okx:
    return Okx("okx", OkxSettings(market="swap", symbols=["BTC-USDT-SWAP"], channels=list(channels)))


def extras(venue: Binance | Bybit | Okx, *symbols: str) -> list[Endpoint]:
    return [endpoint for endpoint in venue.endpoints(symbols) if endpoint.extra]


def session(venue: Binance | Bybit | Okx, *symbols: str) -> Session:
    """Of a socket with all of a venue's further streams."""
    made = venue.session("")
    made.subscribe([stream for endpoint in extras(venue, *symbols) for stream in endpoint.subscriptions], 1)
    return made


def combined(stream: str, data: object) -> str:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


def test_streams_of_binance_are_on_the_path_root_of_their_class_and_apart_from_the_books() -> None:
    venue = binance("markPrice@1s", "depth5@100ms", "!forceOrder@arr", public_path="/p", market_path="/m")
    market, public = extras(venue, "BTCUSDT", "币安人生USDT")
    names = [(one.stream, one.channel, one.symbol) for one in market.subscriptions]
    assert market.url.endswith("/m/stream")
    assert names == [
        ("btcusdt@markPrice@1s", "markPrice@1s", "BTCUSDT"),
        ("币安人生usdt@markPrice@1s", "markPrice@1s", "币安人生USDT"),
        ("!forceOrder@arr", "!forceOrder@arr", ""),
    ]
    assert public.url.endswith("/p/stream")
    assert [one.stream for one in public.subscriptions] == [
        "btcusdt@depth5@100ms",
        "币安人生usdt@depth5@100ms",
    ]
    assert venue.endpoints(["BTCUSDT"])[:2] == binance(public_path="/p", market_path="/m").endpoints(
        ["BTCUSDT"]
    )


def test_without_channels_nothing_is_added() -> None:
    for venue in (binance(), bybit(), okx()):
        assert not venue.channels
        assert not extras(venue, "BTCUSDT")


def test_a_message_of_binance_is_filed_as_it_came() -> None:
    venue = binance("markPrice@1s", "trade")
    [message] = session(venue, "BTCUSDT").received(combined("btcusdt@markPrice@1s", MARK), NOW_MS)
    assert isinstance(message, Message)
    assert (message.channel, message.symbol, message.event_ms) == ("markPrice@1s", "BTCUSDT", 1562305380000)
    assert json.loads(message.data) == MARK
    assert message.name


def test_an_event_without_a_time_gets_that_of_its_arrival() -> None:
    venue = binance("depth5@100ms", market="spot")
    [message] = session(venue, "BTCUSDT").received(
        combined("btcusdt@depth5@100ms", {"lastUpdateId": 160}), NOW_MS
    )
    assert isinstance(message, Message)
    assert (message.symbol, message.event_ms) == ("BTCUSDT", -1)


def test_a_stream_of_the_whole_market_is_split_by_symbol_and_a_bad_element_costs_no_other() -> None:
    venue = binance("!markPrice@arr@1s", "!forceOrder@arr")
    assert all(channel.whole_market for channel in venue.channels.values())
    elements = [MARK, {**MARK, "s": 7}, {**MARK, "s": "ETH{USDT"}, {**MARK, "s": "ETHUSDT"}, 5]
    events = session(venue, "BTCUSDT").received(combined("!markPrice@arr@1s", elements), NOW_MS)
    assert [event.symbol if isinstance(event, Message) else type(event) for event in events] == [
        "BTCUSDT", Unusable, Unusable, "ETHUSDT", Unusable,
    ]  # fmt: skip
    [forced] = session(venue, "BTCUSDT").received(combined("!forceOrder@arr", FORCED), NOW_MS)
    assert isinstance(forced, Message)
    assert (forced.channel, forced.symbol) == ("!forceOrder@arr", "BTCUSDT")


def test_messages_are_one_by_what_they_say() -> None:
    """Two gateways may stamp one event differently: what it is of has a time of its own."""

    def names(venue: Binance | Bybit, *frames: str) -> list[str]:
        found = [
            event
            for frame in frames
            for event in session(venue, "BTCUSDT", "ROSEUSDT").received(frame, NOW_MS)
        ]
        return [event.name for event in found if isinstance(event, Message)]

    forced = [combined("btcusdt@forceOrder", {**FORCED, "E": E, "o": {**ORDER, "q": q}}) for E, q in
              ((1568014460893, "1"), (1568014460899, "1"), (1568014460893, "2"))]  # fmt: skip
    one, again, other = names(binance("forceOrder"), *forced)
    assert one == again != other
    marks = [combined("btcusdt@markPrice", {**MARK, "E": E}) for E in (1, 2, 1)]
    one, later, again = names(binance("markPrice"), *marks)
    assert one == again != later
    later_cs = TICKERS.replace("24987956059", "24987956060")
    one, again, other = names(bybit("tickers"), TICKERS, TICKERS.replace("861686", "861699"), later_cs)
    assert one == again != other
    late = LIQUIDATED.replace("1739502303204", "1739502303299")
    one, again, other = names(bybit("allLiquidation"), LIQUIDATED, late, LIQUIDATED.replace("20000", "1"))
    assert one == again != other


def test_topics_of_bybit() -> None:
    venue = bybit("tickers", "allLiquidation", "kline.1")
    [endpoint] = extras(venue, "BTCUSDT")
    topics = ["tickers.BTCUSDT", "allLiquidation.BTCUSDT", "kline.1.BTCUSDT"]
    assert [one.stream for one in endpoint.subscriptions] == topics
    [message] = session(venue, "BTCUSDT").received(TICKERS.encode(), NOW_MS)
    assert isinstance(message, Message)
    found = (message.channel, message.symbol, message.event_ms, message.data)
    assert found == ("tickers", "BTCUSDT", 1673272861686, TICKERS.encode())


def test_channels_of_okx() -> None:
    venue = okx("mark-price", "index-tickers", "candle1m", "liquidation-orders")
    public, business = extras(venue, "BTC-USDT-SWAP")
    assert [one.stream for one in public.subscriptions] == [
        "mark-price:BTC-USDT-SWAP", "index-tickers:BTC-USDT", "liquidation-orders:SWAP",
    ]  # fmt: skip
    assert [one.stream for one in business.subscriptions] == ["candle1m:BTC-USDT-SWAP"]
    [asked] = venue.session("").subscribe(public.subscriptions, 1)
    assert json.loads(asked)["args"][1:] == [
        {"channel": "index-tickers", "instId": "BTC-USDT"},
        {"channel": "liquidation-orders", "instType": "SWAP"},
    ]
    found = []
    for frame in (MARK_PRICE, INDEX, CANDLE, LIQUIDATIONS):
        [message] = session(venue, "BTC-USDT-SWAP").received(frame, NOW_MS)
        assert isinstance(message, Message)
        found.append((message.channel, message.symbol, message.event_ms))
        assert json.loads(message.data) == json.loads(frame)["data"][0]
    assert found == [
        ("mark-price", "BTC-USDT-SWAP", 1630049139746),
        ("index-tickers", "BTC-USDT-SWAP", 1649419644492),
        ("candle1m", "BTC-USDT-SWAP", -1),
        ("liquidation-orders", "IOST-USDT-SWAP", -1),
    ]


def test_a_bad_element_of_okx_costs_no_other() -> None:
    frame = json.loads(LIQUIDATIONS)
    frame["data"] = [{"instId": ""}, 7, {"instId": "A-SWAP", "ts": "x"}, *frame["data"]]
    events = session(okx("liquidation-orders"), "BTC-USDT-SWAP").received(json.dumps(frame), NOW_MS)
    assert [type(event) for event in events] == [Unusable, Unusable, Unusable, Message]


BINANCE = (combined("btcusdt@markPrice@1s", MARK), combined("!markPrice@arr@1s", [MARK, MARK]),
           combined("btcusdt@forceOrder", FORCED), combined("!forceOrder@arr", FORCED))  # fmt: skip


@given(mutated([frame.encode() for frame in BINANCE]))
def test_rubbish_of_binance_is_a_malformed_frame_at_worst(frame: bytes) -> None:
    check(
        session(binance("markPrice@1s", "forceOrder", "!markPrice@arr@1s", "!forceOrder@arr"), "BTCUSDT"),
        frame,
    )


@given(mutated([TICKERS.encode(), LIQUIDATED.encode()]))
def test_rubbish_of_bybit_is_a_malformed_frame_at_worst(frame: bytes) -> None:
    check(session(bybit("tickers", "allLiquidation"), "BTCUSDT", "ROSEUSDT"), frame)


@given(mutated([MARK_PRICE.encode(), INDEX.encode(), CANDLE.encode(), LIQUIDATIONS.encode()]))
def test_rubbish_of_okx_is_a_malformed_frame_at_worst(frame: bytes) -> None:
    venue = okx("mark-price", "index-tickers", "candle1m", "liquidation-orders")
    check(session(venue, "BTC-USDT-SWAP"), frame)


def check(used: Session, frame: bytes) -> None:
    try:
        events = used.received(frame, NOW_MS)
    except MalformedFrame:
        return
    for event in events:
        if isinstance(event, Message):
            assert event.name
            assert event.symbol
            assert -1 <= event.event_ms <= 2**53


def test_what_is_no_event_at_all_is_told() -> None:
    used = session(binance("markPrice@1s"), "BTCUSDT")
    with pytest.raises(MalformedFrame, match="markPrice@1s"):
        used.received(combined("btcusdt@markPrice@1s", 7), NOW_MS)
    events = used.received(combined("btcusdt@markPrice@1s", [7, []]), NOW_MS)
    assert [type(event) for event in events] == [Unusable, Unusable]
