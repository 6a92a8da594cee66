"""What Bybit answers over REST, and its trades and books, literally; and rubbish in any of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from spoiled_json import spoiled

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Snapshot, Trade
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.venue import Bybit
from workers.venues.facts import Continuity

BOOK = {"s": "BTCUSDT", "b": [["65485.47", "47.081829"]], "a": [["65557.7", "16.606555"]], "ts": 1716863719031,
        "u": 230704, "seq": 1432604333, "cts": 1716863718905}  # fmt: skip
RECENT = {"execId": "2100000000007764263", "symbol": "BTCUSDT", "price": "16618.49", "size": "0.00012", "side": "Buy",
          "time": "1672052955758", "isBlockTrade": False, "isRPITrade": False, "seq": "123456"}  # fmt: skip
LINEAR = {"symbol": "BTCUSDT-26DEC25", "status": "Trading", "baseCoin": "BTC", "quoteCoin": "USDT",
          "priceFilter": {"tickSize": "0.10"}, "lotSizeFilter": {"qtyStep": "0.001"}, "deliveryTime": "0"}  # fmt: skip
SPOT = {"symbol": "BTCUSDT", "status": "PreLaunch", "baseCoin": "BTC", "quoteCoin": "USDT",
        "lotSizeFilter": {"basePrecision": "0.000001"}, "priceFilter": {"tickSize": "0.01"}}  # fmt: skip
TICKER = {"symbol": "BTCUSD", "lastPrice": "50000", "volume24h": "300000", "turnover24h": "6"}


def venue(**changes: Any) -> Bybit:
    return Bybit("bybit", BybitSettings(symbols=["S"], **changes))


def reply(result: Any) -> bytes:
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": 1672765737733}).encode()


def test_where_the_socket_is_and_what_goes_over_it():
    (endpoint,) = venue(market="linear").endpoints(["BTCUSDT"])
    assert endpoint.url == "wss://stream.bybit.com/v5/public/linear"
    assert [(each.stream, each.channel, each.symbol) for each in endpoint.subscriptions] == [
        ("orderbook.200.BTCUSDT", "depth", "BTCUSDT"),
        ("publicTrade.BTCUSDT", "aggTrade", "BTCUSDT"),
    ]
    (endpoint,) = venue(trades="none").endpoints(["BTCUSDT"])
    assert [each.channel for each in endpoint.subscriptions] == ["depth"]


def test_facts_follow_the_settings():
    facts = venue().facts
    assert (facts.continuity, facts.snapshots, facts.levels, facts.trade_ids, facts.second_source) == (
        Continuity.PLUS_ONE,
        "in band",
        200,
        "neither",
        "in band",
    )
    assert venue(continuity="none").facts.continuity is Continuity.NONE
    assert venue(depth=1000).facts.second_source == "rest"


def test_futures_send_the_type_first_and_more_than_is_known():
    data = (
        b'{"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1787612486116,"data":{"s":"BTCUSDT","b":[["1","2","x"]],'
        b'"a":[["3","0"]],"u":12,"seq":5,"new":1},"cts":1787612486108}'
    )
    expected = DepthEvent("BTCUSDT", 12, 12, -1, 1787612486116, 1787612486108, [("1", "2")], [("3", "0")])
    assert venue().depth(data, "BTCUSDT", "update") == expected
    assert venue(continuity="none").depth(data, "BTCUSDT", "update").last_id == 0


def test_a_trade_has_a_name_and_the_side_of_its_taker():
    data = b'{"T":1786310819680,"s":"BTCUSDT","S":"Sell","v":"0.004","p":"65114.20","i":"a9188a0a","BT":true}'
    time = 1786310819680
    expected = Trade("BTCUSDT", 0, "65114.20", "0.004", 0, 0, time, time, True, name="a9188a0a")
    assert venue().trade(data, "BTCUSDT") == expected
    assert not venue(block_trades="leave out").trade(data, "BTCUSDT").is_market
    assert not venue().trade(data.replace(b"Sell", b"Buy"), "BTCUSDT").is_buyer_maker
    assert venue().trade(data.replace(b"0.004", b"0"), "BTCUSDT").is_absurd


def test_recent_trades_come_out_oldest_first_each_once():
    rows = [{**RECENT, "execId": name} for name in ("c", "b", "b", "a")]
    found = venue().trades("BTCUSDT", reply({"category": "spot", "list": rows}))
    assert [trade.name for trade in found] == ["a", "b", "c"]
    time = 1672052955758
    assert found[0] == Trade("BTCUSDT", 0, "16618.49", "0.00012", 0, 0, time, time, False, name="a")
    assert venue().trades_request("BTCUSDT", 0).url == (
        "https://api.bybit.com/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60"
    )
    assert "limit=1000" in venue(market="inverse").trades_request("BTCUSD", 5, 7).url


def test_only_the_deepest_book_can_be_compared_over_rest():
    assert venue().snapshot_request("BTCUSDT") is None
    deep = venue(depth=1000)
    request = deep.snapshot_request("BTCUSDT", 50)
    assert request is not None
    assert request.url == "https://api.bybit.com/v5/market/orderbook?category=spot&symbol=BTCUSDT&limit=50"
    assert deep.snapshot("BTCUSDT", reply(BOOK), 50) == Snapshot(
        "BTCUSDT", 230704, [("65485.47", "47.081829")], [("65557.7", "16.606555")], 1716863719031, 50, True
    )


def test_instruments_page_by_page_each_by_itself():
    body = reply({"category": "linear", "list": [LINEAR, SPOT, {"symbol": "A B"}, 3],
                  "nextPageCursor": "first%3DA%26last%3DB"})  # fmt: skip
    linear = venue(market="linear")
    found = linear.info(body)
    assert list(found.symbols.values()) == [
        SymbolInfo("BTCUSDT-26DEC25", "Trading", "BTC", "USDT", "0.10", "0.001", "trading"),
        SymbolInfo("BTCUSDT", "PreLaunch", "BTC", "USDT", "0.01", "0.000001", "paused"),
    ]
    assert [bad.symbol for bad in found.bad] == ["A B", ""]
    first = "https://api.bybit.com/v5/market/instruments-info?category=linear&limit=1000"
    assert linear.info_request().url == first
    assert found.next_page is not None
    assert found.next_page.url == f"{first}&cursor=first%3DA%26last%3DB"
    assert linear.info(reply({"list": []})).next_page is None
    unquoted = linear.info(reply({"list": [], "nextPageCursor": "a&b"})).next_page
    assert unquoted is not None
    assert unquoted.url == f"{first}&cursor=a%26b"


def test_tickers_in_quote_currency():
    body = reply({"category": "inverse", "list": [TICKER]})
    assert venue(market="inverse").tickers(body).rows == [Ticker("BTCUSD", 300000.0, 50000.0)]
    assert venue(market="linear").tickers(body).rows == [Ticker("BTCUSD", 6.0, 50000.0)]


def test_time_and_errors():
    body = reply({"timeSecond": "1688639403", "timeNano": "1688639403423213947"})
    assert venue().time_ms(body) == 1688639403423
    refused = b'{"retCode":10006,"retMsg":"Too many visits!"}'
    assert venue().error_of(refused) == (10006, "Too many visits!")
    assert venue().error_of(body) == venue().error_of(b"<html>") == (0, "")
    with pytest.raises(MalformedFrame, match="10006"):
        venue().time_ms(refused)


REPLIES: dict[str, tuple[Any, Callable[[Bybit, bytes], object]]] = {
    "depth": (BOOK, lambda venue, body: venue.snapshot("BTCUSDT", body)),
    "trades": ({"list": [RECENT]}, lambda venue, body: venue.trades("BTCUSDT", body)),
    "time": ({"timeNano": "1688639403423213947"}, lambda venue, body: venue.time_ms(body)),
    "instruments": ({"list": [LINEAR, SPOT], "nextPageCursor": "a"}, lambda venue, body: venue.info(body)),
    "tickers": ({"list": [TICKER]}, lambda venue, body: venue.tickers(body)),
    "error": ({}, lambda venue, body: venue.error_of(body)),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_with_rubbish_in_it_is_malformed_or_harmless(name: str):
    result, decode = REPLIES[name]

    @hypothesis_settings(max_examples=120)
    @given(spoiled({"retCode": 0, "retMsg": "OK", "result": result}))
    def check(body: bytes) -> None:
        for market in ("linear", "inverse"):
            try:
                decode(venue(market=market), body)
            except MalformedFrame as error:
                str(error).encode()

    check()
