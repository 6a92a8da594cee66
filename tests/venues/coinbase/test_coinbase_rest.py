"""Coinbase's REST: products, trades, clocks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase

ADVANCED = Coinbase("coinbase", CoinbaseSettings(symbols=["S"]))
EXCHANGE = Coinbase("coinbase", CoinbaseSettings(symbols=["S"], market="exchange"))
BTC = {"product_id": "BTC-USD", "price": "60000.5", "price_increment": "0.01", "base_increment": "0.00000001",
       "status": "online", "is_disabled": False, "trading_disabled": False, "product_type": "SPOT", "alias": "",
       "base_currency_id": "BTC", "quote_currency_id": "USD", "volume_24h": "2",
       "approximate_quote_24h_volume": "120001"}  # fmt: skip
PRODUCTS = json.dumps({"products": [
    BTC, {**BTC, "product_id": "BTC-USDC", "quote_currency_id": "USDC", "alias": "BTC-USD"},
    {**BTC, "product_id": "OLD-USD", "status": "delisted", "approximate_quote_24h_volume": ""},
    {**BTC, "product_id": "BTC-PERP-INTX", "product_type": "FUTURE"}, {"product_id": 7}]}).encode()  # fmt: skip
EXCHANGE_PRODUCTS = json.dumps([
    {"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "quote_increment": "0.01",
     "base_increment": "0.00000001", "status": "online", "trading_disabled": False},
    {"id": "ETH-USD", "base_currency": "ETH", "quote_currency": "USD", "quote_increment": "0.01",
     "base_increment": "0.00000001", "status": "online", "trading_disabled": True}, {}]).encode()  # fmt: skip
STATS = b'{"BTC-USD":{"stats_30day":{"volume":"9"},"stats_24hour":{"last":"100","volume":"3"}},"BAD":{}}'
TRADE = {"trade_id": "12", "product_id": "BTC-USD", "price": "1.5", "size": "2", "time": "2026-08-09T21:05:48.167634Z",
         "side": "BUY"}  # fmt: skip
TRADES = json.dumps({"trades": [TRADE, {**TRADE, "trade_id": "11", "side": "SELL"}]}).encode()
EXCHANGE_TRADES = json.dumps(
    [{**TRADE, "trade_id": 12, "side": "sell"}, {**TRADE, "trade_id": 11, "side": "buy"}]
).encode()


def test_advanced_lists_spot_products_and_marks_aliases():
    info = ADVANCED.info(PRODUCTS)
    assert {symbol: (entry.phase, entry.status) for symbol, entry in info.symbols.items()} == {
        "BTC-USD": ("trading", "online"), "BTC-USDC": ("paused", "alias of BTC-USD"),
        "OLD-USD": ("ended", "delisted")}  # fmt: skip
    assert info.symbols["BTC-USD"] == SymbolInfo(
        "BTC-USD", "online", "BTC", "USD", "0.01", "0.00000001", "trading"
    )
    assert len(info.bad) == 1


def test_exchange_lists_its_products():
    info = EXCHANGE.info(EXCHANGE_PRODUCTS)
    assert {symbol: entry.phase for symbol, entry in info.symbols.items()} == {
        "BTC-USD": "trading",
        "ETH-USD": "paused",
    }
    assert len(info.bad) == 1


def test_tickers_are_in_the_quote_asset():
    assert ADVANCED.tickers(PRODUCTS).rows[0] == Ticker("BTC-USD", 120001.0, 60000.5)
    assert ADVANCED.tickers(PRODUCTS).rows[2] == Ticker("OLD-USD", 120001.0, 60000.5)
    found = EXCHANGE.tickers(STATS)
    assert found.rows == [Ticker("BTC-USD", 300.0, 100.0)]
    assert [bad.symbol for bad in found.bad] == ["BAD"]
    assert EXCHANGE.tickers_request().url.endswith("/products/stats")


def test_what_is_not_traded_yet_has_no_numbers_and_may_not_name_its_assets():
    new = {"product_id": "NEW-EUR", "price": "", "volume_24h": "", "approximate_quote_24h_volume": "",
           "is_disabled": True}  # fmt: skip
    body = json.dumps({"products": [new]}).encode()
    assert ADVANCED.tickers(body) == ([Ticker("NEW-EUR", 0.0, 0.0)], [])
    assert ADVANCED.info(body).symbols["NEW-EUR"] == SymbolInfo("NEW-EUR", "", "NEW", "EUR", "", "", "paused")
    found = EXCHANGE.tickers(
        b'{"NEW-EUR":{"stats_24hour":{"last":"","volume":""}},"B":{"stats_24hour":{"last":"x"}}}'
    )
    assert found.rows == [Ticker("NEW-EUR", 0.0, 0.0)]
    assert [bad.symbol for bad in found.bad] == ["B"]


def test_exchange_pages_hold_the_ids_from_one_on():
    request = EXCHANGE.trades_request("BTC-USD", 500, 0)
    assert request is not None
    assert request.url == "https://api.exchange.coinbase.com/products/BTC-USD/trades?limit=1000&after=1500"
    trades = EXCHANGE.trades("BTC-USD", EXCHANGE_TRADES)
    assert [(t.trade_id, t.is_buyer_maker, t.trade_time) for t in trades] == [
        (11, True, 1786309548167), (12, False, 1786309548167)]  # fmt: skip


@pytest.mark.parametrize(("seconds", "end"), [(0, ""), (60, "&end=1786309608")])
def test_advanced_pages_are_asked_for_by_time(seconds: int, end: str):
    venue = Coinbase("coinbase", CoinbaseSettings(symbols=["S"], backfill_seconds=seconds))
    request = venue.trades_request("BTC-USD", 500, 1786309548167)
    assert request is not None
    assert request.url == (
        "https://api.coinbase.com/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1000&start=1786309548"
        + end
    )
    assert [(t.trade_id, t.is_buyer_maker) for t in venue.trades("BTC-USD", TRADES)] == [
        (11, False),
        (12, True),
    ]


def test_clocks():
    assert (
        ADVANCED.time_ms(b'{"iso":"x","epochSeconds":"1708367433","epochMillis":"1708367433123"}')
        == 1708367433123
    )
    assert EXCHANGE.time_ms(b'{"iso":"2015-01-07T23:47:25.201Z","epoch":1420674445.201}') == 1420674445201
    with pytest.raises(MalformedFrame):
        ADVANCED.time_ms(b'{"epochMillis":"-1"}')


def test_errors_say_what_is_wrong():
    assert EXCHANGE.error_of(b'{"message":"NotFound"}') == (0, "NotFound")
    assert ADVANCED.error_of(b'{"error":"unknown","message":""}') == (0, "unknown")
    assert ADVANCED.error_of(b"<html>") == (0, "")


@given(
    st.sampled_from([ADVANCED, EXCHANGE]),
    mutated([PRODUCTS, EXCHANGE_PRODUCTS, STATS, TRADES, EXCHANGE_TRADES, b'{"epochMillis":"1"}']),
)
def test_mutated_replies_raise_nothing_but_malformed_frame(venue: Coinbase, reply: bytes):
    venue.error_of(reply)
    for decode in (venue.info, venue.tickers, venue.time_ms, lambda page: venue.trades("A-B", page)):
        try:
            decode(reply)
        except MalformedFrame:
            pass
