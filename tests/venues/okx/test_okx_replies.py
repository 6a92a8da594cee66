"""What OKX answers over REST, and its trades and books, literally; and rubbish in any of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from spoiled_json import spoiled

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Trade
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.facts import Continuity
from workers.venues.okx.settings import OkxSettings
from workers.venues.okx.venue import Okx, checksum

TRADE = {"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306", "side": "buy",
         "ts": "1630048897897", "count": "3"}  # fmt: skip
SPOT = {"instId": "BTC-USDT", "state": "live", "tickSz": "0.1", "lotSz": "0.00000001", "baseCcy": "BTC",
        "quoteCcy": "USDT", "instFamily": ""}  # fmt: skip
SWAP = {"instId": "BTC-USD-SWAP", "state": "suspend", "tickSz": "0.1", "lotSz": "1", "baseCcy": "", "quoteCcy": "",
        "instFamily": "BTC-USD", "ctVal": "100"}  # fmt: skip
TICKER = {"instId": "BTC-USDT", "last": "50000", "vol24h": "2", "volCcy24h": "100000"}


def venue(**changes: Any) -> Okx:
    return Okx("okx", OkxSettings(symbols=["S"], **changes))


def reply(*rows: Any) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": rows}).encode()


def test_where_the_sockets_are():
    public, business = venue().endpoints(["BTC-USDT"])
    assert public.url == "wss://ws.okx.com:8443/ws/v5/public"
    assert business.url == "wss://ws.okx.com:8443/ws/v5/business"
    assert [each.stream for each in (*public.subscriptions, *business.subscriptions)] == [
        "books:BTC-USDT",
        "trades-all:BTC-USDT",
    ]
    (both,) = venue(trades="trades").endpoints(["BTC-USDT"])
    assert [(each.stream, each.channel) for each in both.subscriptions] == [
        ("books:BTC-USDT", "depth"),
        ("trades:BTC-USDT", "aggTrade"),
    ]
    assert len(venue(trades="none").endpoints(["BTC-USDT"])) == 1


def test_facts_follow_the_settings():
    assert (venue().facts.continuity, venue().facts.trade_ids) == (Continuity.PREVIOUS, "consecutive")
    assert venue(trades="trades").facts.trade_ids == "rising"
    assert venue().facts.checksum is None
    assert venue(depth="books50-l2-tbt").facts.levels == 50


def test_a_checksum_goes_on_with_the_longer_side():
    asks = [("3366.8", "9"), ("3368", "8"), ("3372", "8")]
    assert checksum([("3366.1", "7")], asks) == crc32(b"3366.1:7:3366.8:9:3368:8:3372:8")
    assert checksum([], asks) == crc32(b"3366.8:9:3368:8:3372:8")
    assert checksum([("3366.1", "7")], []) == crc32(b"3366.1:7") - 2**32


def test_a_level_has_more_than_price_and_quantity():
    data = (
        b'{"asks":[["8476.98","415","0","13","new"]],"bids":[["8476.97","0"]],"ts":"1597026383085","checksum":-855196043,'
        b'"prevSeqId":9,"seqId":12,"more":{}}'
    )
    expected = DepthEvent(
        "S", 12, 12, 9, 1597026383085, 0, [("8476.97", "0")], [("8476.98", "415")], "update", -855196043
    )
    assert venue().depth(data, "S", "update") == expected
    whole = b'{"arg":{"channel":"books","instId":"S"},"action":"update","data":[%s]}' % data
    assert venue().depth(whole, "S", "update") == expected
    assert venue().depth(whole, "S", "snapshot").previous_id == -1


def test_a_trade_of_three_fills_has_three_ids():
    data = json.dumps(TRADE).encode()
    expected = Trade("BTC-USDT", 130639474, "42219.9", "0.12060306", 130639472, 130639474, 1630048897897, 1630048897897,
                     False)  # fmt: skip
    assert venue(trades="trades").trade(data, "BTC-USDT") == expected
    other = venue(trades="trades", trade_range="first").trade(data, "BTC-USDT")
    assert (other.first_trade_id, other.last_trade_id) == (130639474, 130639476)
    assert venue().trade(data.replace(b"buy", b"sell"), "BTC-USDT").is_buyer_maker


def test_a_page_of_trades_begins_at_the_id_asked_for():
    assert venue().trades_request("BTC-USDT", 1001).url == (
        "https://www.okx.com/api/v5/market/history-trades?instId=BTC-USDT&type=1&after=1101&limit=100"
    )
    assert "after=1000&" in venue(history="newer").trades_request("BTC-USDT", 1001).url
    assert "/market/trades?" in venue().trades_request("BTC-USDT", 0).url
    rows = [{**TRADE, "tradeId": str(identity)} for identity in (9, 8, 8, 7)]
    assert [trade.trade_id for trade in venue().trades("BTC-USDT", reply(*rows))] == [7, 8, 9]


def test_instruments_each_by_itself():
    found = venue(market="swap").info(
        reply(SPOT, SWAP, {"instId": "BTC USDT"}, {"instId": 3}, {"state": "live"})
    )
    assert found.symbols == {
        "BTC-USDT": SymbolInfo(
            "BTC-USDT", "live", "BTC", "USDT", "0.1", "0.00000001", "trading"
        ),
        "BTC-USD-SWAP": SymbolInfo("BTC-USD-SWAP", "suspend", "BTC", "USD", "0.1", "1", "paused"),
    }  # fmt: skip
    assert [bad.symbol for bad in found.bad] == ["BTC USDT", "", ""]
    assert venue(market="swap").info_request().url.endswith("/api/v5/public/instruments?instType=SWAP")


def test_tickers_in_quote_currency():
    assert venue().tickers(reply(TICKER)).rows == [Ticker("BTC-USDT", 100000.0, 50000.0)]
    swap = {**TICKER, "instId": "BTC-USD-SWAP", "volCcy24h": "2"}
    assert venue(market="swap").tickers(reply(swap)).rows == [Ticker("BTC-USD-SWAP", 100000.0, 50000.0)]
    assert [bad.symbol for bad in venue().tickers(reply({**TICKER, "last": "inf"})).bad] == ["BTC-USDT"]


def test_time_and_errors():
    assert venue().time_ms(reply({"ts": "1597026383085"})) == 1597026383085
    refused = b'{"code":"50011","msg":"Too Many Requests","data":[]}'
    assert venue().error_of(refused) == (50011, "Too Many Requests")
    assert venue().error_of(b"<html>") == (0, "")
    with pytest.raises(MalformedFrame, match="50011"):
        venue().time_ms(refused)
    assert venue().snapshot_request("BTC-USDT") is None


def test_the_stream_of_listings():
    found = venue(market="futures").announcements()
    assert (found.url, found.stream) == ("wss://ws.okx.com:8443/ws/v5/public", "instruments:FUTURES")


REPLIES: dict[str, tuple[Any, Callable[[Okx, bytes], object]]] = {
    "trades": ({"code": "0", "data": [TRADE]}, lambda venue, body: venue.trades("BTC-USDT", body)),
    "time": ({"code": "0", "data": [{"ts": "1597026383085"}]}, lambda venue, body: venue.time_ms(body)),
    "instruments": ({"code": "0", "data": [SPOT, SWAP]}, lambda venue, body: venue.info(body)),
    "tickers": ({"code": "0", "data": [TICKER]}, lambda venue, body: venue.tickers(body)),
    "error": ({"code": "50011", "msg": "Too Many Requests"}, lambda venue, body: venue.error_of(body)),
    "snapshot": ({}, lambda venue, body: venue.snapshot("BTC-USDT", body)),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_with_rubbish_in_it_is_malformed_or_harmless(name: str):
    value, decode = REPLIES[name]

    @hypothesis_settings(max_examples=120)
    @given(spoiled(value))
    def check(body: bytes) -> None:
        for market in ("spot", "swap"):
            try:
                decode(venue(market=market), body)
            except MalformedFrame as error:
                str(error).encode()

    check()
