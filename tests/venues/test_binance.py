"""Binance's frames and replies, literally as captured, and everything malformed that could come instead."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import MalformedFrame
from workers.model.books.sync import SequenceRule
from workers.model.events import Trade
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance, stream_symbol
from workers.venues.messages import (
    Acknowledged,
    ContractNotice,
    Ignored,
    Message,
    Refused,
    ShutdownNotice,
    Subscription,
)


def venue(market: str = "usdm", **changes: object) -> Binance:
    return Binance(market, BinanceSettings(**{"market": market, "symbols": ["BTCUSDT"], **changes}))  # type: ignore[arg-type]


FUTURES_DEPTH = (
    b'{"e":"depthUpdate","E":1790373637622,"T":1790373637613,"s":"BTCUSD_PERP","ps":"BTCUSD","U":11660059838224,'
    b'"u":11660059844303,"pu":11660059836647,"b":[["84551.10","3"]],"a":[["84551.20","0"]],"st":2}'
)
SPOT_DEPTH = (
    b'{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,'
    b'"b":[["0.0024","10"]],"a":[["0.0026","100"]]}'
)
FUTURES_TRADE = (
    b'{"e":"aggTrade","E":1790526539033,"a":3466782974,"s":"BTCUSDT","p":"84551.10","q":"0.030","nq":"0.030",'
    b'"f":8123344783,"l":8123344783,"T":1790526538883,"m":false,"st":1}'
)
RAW_TRADE = (
    b'{"e":"trade","E":1723161256322,"T":1723161256320,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006",'
    b'"X":"INSURANCE_FUND","m":false}'
)


SPOT_TICKER = (
    b'{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.23400000"}'
)
FUTURES_TICKER = (
    b'{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","ps":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30",'
    b'"A":"2.510","T":1723161256322,"E":1723161256325,"st":1}'
)


def combined(stream: str, data: bytes) -> bytes:
    return b'{"stream":"%s","data":%s}' % (stream.encode(), data)


def test_a_combined_depth_frame_keeps_the_exchange_bytes() -> None:
    spaced = FUTURES_DEPTH.replace(b'"b":', b' "b" : ')
    found = venue("coinm").split(combined("btcusd_perp@depth@100ms", spaced))
    assert isinstance(found, Message)
    assert found.data == spaced
    assert (found.channel, found.symbol, found.event_ms) == ("depth", "BTCUSD_PERP", 1790373637622)
    assert (found.first_id, found.update_id, found.previous_id) == (
        11660059838224,
        11660059844303,
        11660059836647,
    )


@pytest.mark.parametrize("stream", ["bnbbtc@depth", "bnbbtc@depth@100ms", "bnbbtc@depth@0ms"])
def test_every_diff_speed_is_depth(stream: str) -> None:
    found = venue("spot").split(combined(stream, SPOT_DEPTH))
    assert isinstance(found, Message)
    assert (found.first_id, found.update_id, found.previous_id) == (157, 160, -1)


@pytest.mark.parametrize("stream", ["btcusdt@depth20@100ms", "btcusdt@bookTicker", "btcusdt@trade"])
def test_streams_that_look_alike_are_not_taken_for_it(stream: str) -> None:
    assert isinstance(venue().split(combined(stream, FUTURES_DEPTH)), Ignored)


def test_bare_frames_are_filed_by_their_event_type() -> None:
    depth, trade = venue().split(FUTURES_DEPTH), venue().split(FUTURES_TRADE.decode())
    assert isinstance(depth, Message)
    assert depth.channel == "depth"
    assert isinstance(trade, Message)
    assert (trade.channel, trade.update_id, trade.event_ms) == ("aggTrade", 3466782974, 1790526538883)
    assert trade.data == FUTURES_TRADE


def test_key_order_and_unknown_keys_do_not_matter() -> None:
    shuffled = dict(sorted({**json.loads(FUTURES_DEPTH), "zz": {"new": [1]}}.items(), reverse=True))
    found = venue().depth(json.dumps(shuffled).encode())
    assert (found.first_id, found.last_id, found.previous_id) == (
        11660059838224,
        11660059844303,
        11660059836647,
    )
    assert found.bids == [("84551.10", "3")]
    assert found.asks == [("84551.20", "0")]


def test_an_aggregate_trade() -> None:
    assert venue().trade(FUTURES_TRADE) == Trade(
        "BTCUSDT",
        3466782974,
        "84551.10",
        "0.030",
        8123344783,
        8123344783,
        1790526538883,
        1790526539033,
        False,
        True,
    )


def test_raw_trades_are_taken_only_where_asked_for_and_off_book_fills_are_marked() -> None:
    assert isinstance(venue().split(RAW_TRADE), Ignored)
    raw = venue(trades="trade")
    found = raw.split(RAW_TRADE)
    assert isinstance(found, Message)
    assert (found.channel, found.update_id, found.event_ms) == ("aggTrade", 5266583935, 1723161256320)
    trade = raw.trade(RAW_TRADE)
    assert not trade.is_market
    assert (trade.first_trade_id, trade.last_trade_id) == (5266583935, 5266583935)


@pytest.mark.parametrize(
    ("market", "data", "update_id", "event_ms"),
    [("spot", SPOT_TICKER, 50093239212, -1), ("usdm", FUTURES_TICKER, 5123107839020, 1723161256325)],
)
def test_a_ticker_is_filed_where_it_is_followed(
    market: str, data: bytes, update_id: int, event_ms: int
) -> None:
    frame = combined("btcusdt@bookTicker", data)
    assert isinstance(venue(market).split(frame), Ignored)
    followed = venue(market, book_ticker=True)
    found = followed.split(frame)
    assert isinstance(found, Message)
    assert (found.channel, found.symbol, found.data) == ("bookTicker", "BTCUSDT", data)
    assert (found.update_id, found.event_ms, found.previous_id) == (update_id, event_ms, 0)
    best = followed.ticker(found.data)
    assert best.update_id == update_id
    assert best.bid == (("61837.63000000", "3.78826000") if market == "spot" else ("61800.20", "2.507"))
    assert best.ask == (("61837.64000000", "1.23400000") if market == "spot" else ("61800.30", "2.510"))


@pytest.mark.parametrize("data", [b'{"u":-1,"s":"X"}', b'{"s":"X"}', b'{"u":1}', b'{"u":"1","s":"X"}'])
def test_a_ticker_without_its_ids_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        venue("spot", book_ticker=True).split(combined("x@bookTicker", data))


def test_a_ticker_without_its_levels_is_malformed() -> None:
    with pytest.raises(MalformedFrame):
        venue("spot", book_ticker=True).ticker(b'{"u":1,"s":"X","b":"1","B":"1","a":"2"}')


def test_microseconds_become_milliseconds() -> None:
    found = venue("spot").split(SPOT_DEPTH.replace(b"1672515782136", b"1672515782136123"))
    assert isinstance(found, Message)
    assert found.event_ms == 1672515782136


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"result":null,"id":1}', Acknowledged(1)),
        (b'{"id":3,"result":["btcusdt@aggTrade"]}', Acknowledged(3)),
        (b'{"error":{"code":3,"msg":"Invalid JSON: EOF"}}', Refused(None, 3, "Invalid JSON: EOF")),
        (
            b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}',
            Refused(19, 4, "Too many subscriptions"),
        ),
        (b'{"code":2,"msg":"Invalid request"}', Refused(None, 2, "Invalid request")),
        (b'{"e":"serverShutdown","E":1770123456789}', ShutdownNotice()),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}', ShutdownNotice()),
    ],
)
def test_replies_errors_and_notices(frame: bytes, expected: object) -> None:
    assert venue("spot").split(frame) == expected


MALFORMED = [
    b"",
    b"hello",
    b"[1,2]",
    b"null",
    b"{}",
    b"\xff\xfe\x00",
    b'{"stream":5,"data":{}}',
    b"[" * 100_000,
    combined("btcusdt@depth@100ms", b"[]"),
    combined("btcusdt@depth@100ms", b'{"e":"depthUpdate"}'),
    combined("btcusdt@depth@100ms", FUTURES_DEPTH.replace(b"11660059844303", b"99999999999999999999999")),
    combined("btcusdt@depth@100ms", FUTURES_DEPTH.replace(b"11660059844303", b"-5")),
    combined("btcusdt@depth@100ms", FUTURES_DEPTH.replace(b"11660059844303", b"5")),
    combined("btcusdt@depth@100ms", FUTURES_DEPTH.replace(b"11660059844303", b"1.5")),
    combined("btcusdt@aggTrade", FUTURES_TRADE.replace(b"3466782974", b"-1")),
    combined("btcusdt@aggTrade", FUTURES_TRADE.replace(b"3466782974", b'"x"')),
    combined("btcusdt@aggTrade", FUTURES_DEPTH),
    combined("btcusdt@depth@100ms", FUTURES_DEPTH)[:-20],
]


@pytest.mark.parametrize("frame", MALFORMED, ids=range(len(MALFORMED)))
def test_an_unusable_frame_is_a_clear_error(frame: bytes) -> None:
    with pytest.raises(MalformedFrame) as caught:
        venue().split(frame)
    assert str(caught.value).startswith("usdm sent an unusable ")


@given(st.binary(max_size=200))
def test_no_frame_raises_anything_else(frame: bytes) -> None:
    try:
        venue().split(frame)
    except MalformedFrame:
        pass


@pytest.mark.parametrize(
    "levels",
    [b'[["84551.10"]]', b'[[84551.1,"3"]]', b'{"a":1}', b'[["1",2,[]]]', b'[["' + b"9" * 50 + b'","1"]]'],
)
def test_malformed_levels_are_found_when_the_event_is_decoded(levels: bytes) -> None:
    with pytest.raises(MalformedFrame):
        venue().depth(FUTURES_DEPTH.replace(b'[["84551.10","3"]]', levels))


@pytest.mark.parametrize("more", [b"[]", b'"9"', b'5,{"x":[1]},null'])
def test_elements_after_those_known_are_ignored_as_unknown_keys_are(more: bytes) -> None:
    event = venue().depth(FUTURES_DEPTH.replace(b'["84551.10","3"]', b'["84551.10","3",' + more + b"]"))
    assert event == venue().depth(FUTURES_DEPTH)
    assert all(type(level) is tuple for level in event.bids + event.asks)
    body = (
        b'{"lastUpdateId":5,"E":7,"bids":[["1","2",'
        + more
        + b']],"asks":[["3","4"],["5","6",'
        + more
        + b"]]}"
    )
    snapshot = venue("spot").snapshot("X", body)
    assert (snapshot.bids, snapshot.asks) == ([("1", "2")], [("3", "4"), ("5", "6")])
    assert (snapshot.last_update_id, snapshot.event_time, snapshot.limit) == (5, 7, 1000)


def test_usdm_needs_two_sockets_and_spot_one() -> None:
    depth, trades = venue("usdm", symbols=["BTCUSDT"]).endpoints(["BTCUSDT", "币安人生USDT"])
    assert depth.url == "wss://fstream.binance.com/public/stream"
    assert [wanted.stream for wanted in depth.subscriptions] == [
        "btcusdt@depth@100ms",
        "币安人生usdt@depth@100ms",
    ]
    assert trades.url == "wss://fstream.binance.com/market/stream"
    assert [wanted.stream for wanted in trades.subscriptions] == ["btcusdt@aggTrade", "币安人生usdt@aggTrade"]
    [spot] = venue("spot", depth_speed="").endpoints(["BTCUSDT"])
    assert spot.url == "wss://stream.binance.com:9443/stream"
    assert [wanted.stream for wanted in spot.subscriptions] == ["btcusdt@depth", "btcusdt@aggTrade"]
    [coinm] = venue("coinm").endpoints(["BTCUSD_PERP"])
    assert coinm.url == "wss://dstream.binance.com/stream"


def test_every_url_and_path_is_a_setting() -> None:
    one = venue(
        "usdm", websocket_url="ws://127.0.0.1:1/x/", public_path="", market_path="/m", rest_url="http://h/y/"
    )
    assert [endpoint.url for endpoint in one.endpoints(["A"])] == [
        "ws://127.0.0.1:1/x/stream",
        "ws://127.0.0.1:1/x/m/stream",
    ]
    assert one.info_request().url == "http://h/y/fapi/v1/exchangeInfo"
    [raw] = venue("usdm", trades="trade").endpoints(["A"])
    assert [wanted.stream for wanted in raw.subscriptions] == ["a@depth@100ms", "a@trade"]
    [spot] = venue("spot", book_ticker=True).endpoints(["A"])
    assert [wanted.stream for wanted in spot.subscriptions] == ["a@depth@100ms", "a@bookTicker", "a@aggTrade"]
    public, market = venue("usdm", book_ticker=True).endpoints(["A"])
    assert [wanted.stream for wanted in public.subscriptions] == ["a@depth@100ms", "a@bookTicker"]
    assert [wanted.stream for wanted in market.subscriptions] == ["a@aggTrade"]
    [none] = venue("usdm", trades="none").endpoints(["A"])
    assert [wanted.stream for wanted in none.subscriptions] == ["a@depth@100ms"]


def test_only_ascii_letters_change_case() -> None:
    assert stream_symbol("ÄİUSDT") == "Äİusdt"


def test_subscribe_is_json_with_an_integer_id() -> None:
    streams = [Subscription(name, "depth", "") for name in ("a@depth", "币@depth")]
    [frame] = venue().session("").subscribe(streams, 7)
    assert json.loads(frame) == {
        "method": "SUBSCRIBE",
        "params": ["a@depth", "币@depth"],
        "id": 7,
    }


def test_contract_notices() -> None:
    event = (
        b'{"e":"contractInfo","E":1669356423908,"s":"IOTAUSDT","ps":"IOTAUSDT","ct":"PERPETUAL",'
        b'"dt":4133404800000,"ot":1569398400000,"cs":"SETTLING"%s}'
    )
    combined = b'{"stream":"!contractInfo","data":%s}'
    notice = ContractNotice("IOTAUSDT", "SETTLING", 1669356423908)
    assert venue().split(event % b"") == notice
    assert venue().split(combined % (event % b',"st":1')) == notice
    assert venue("coinm").split(combined % (event % b',"st":2')) == notice
    assert isinstance(venue().split(combined % (event % b',"st":2')), Ignored)  # the other market's
    with pytest.raises(MalformedFrame):
        venue().split(b'{"stream":"!contractInfo","data":{"s":"A"}}')


def test_announcements_come_on_the_market_path_of_the_futures() -> None:
    assert venue("spot").announcements() is None
    assert venue().announcements() == ("wss://fstream.binance.com/market/stream", "!contractInfo")
    assert venue("coinm").announcements() == ("wss://dstream.binance.com/stream", "!contractInfo")
    assert venue(market_path="").announcements() == ("wss://fstream.binance.com/stream", "!contractInfo")


def test_rules() -> None:
    assert venue("spot").book_rule.sequence is SequenceRule.SPOT
    assert venue("coinm").book_rule.sequence is SequenceRule.FUTURES


def test_the_exchanges_clock() -> None:
    binance = venue()
    assert binance.time_request().url == "https://fapi.binance.com/fapi/v1/time"
    assert binance.time_ms(b'{"serverTime":1499827319559}') == 1_499_827_319_559
    for body in (b"{}", b"<html>", b'{"serverTime":-1}'):
        with pytest.raises(MalformedFrame):
            binance.time_ms(body)
