"""Bitfinex's REST and the spellings of its pairs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from mutations import mutated

from workers.errors import MalformedFrame
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.bitfinex.settings import BitfinexSettings
from workers.venues.bitfinex.venue import Bitfinex

VENUE = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"]))
PAIRS = b'[["BTCUSD","DOGE:USD","TESTBTC:TESTUSD","ABCDE",7]]'
TICKERS = (b'[["tBTCUSD",1,2,3,4,5,6,90000,20,8,9],["fUSD",1,2,3],["tDOGE:USD",1,2,3,4,5,6,null,20,8,9],'
           b'["tETHUSD",1,2,3,4,5,6,1e308,20,8,9]]')  # fmt: skip
TRADES = b"[[12,1617643611128,7e-7,0.25],[11,1617643611000,-1.5,0.25]]"


def test_pairs_have_one_canonical_spelling():
    info = VENUE.info(PAIRS)
    assert list(info.symbols) == ["BTCUSD", "DOGE_USD", "TESTBTC_TESTUSD"]
    assert info.symbols["DOGE_USD"] == SymbolInfo(
        "DOGE_USD", "listed", "DOGE", "USD", "", "0.00000001", "trading"
    )
    assert (info.symbols["BTCUSD"].base_asset, info.symbols["BTCUSD"].quote_asset) == ("BTC", "USD")
    assert len(info.bad) == 2


@pytest.mark.parametrize("name", ["tBTCUSD", "tDOGE:USD", "tBTCF0:USTF0"])
def test_spellings_are_reversible(name: str):
    symbol = VENUE.symbol_of(name)
    assert ":" not in symbol
    assert VENUE.wire_symbol(symbol) == name


@pytest.mark.parametrize("name", ["", "t", "fUSD", "BTCUSD", "tbtcusd", "tA_B", "tA B", "t" + "A" * 80])
def test_what_is_no_pair_is_none(name: str):
    with pytest.raises(ValueError, match="is no pair"):
        VENUE.symbol_of(name)


def test_tickers_are_of_pairs_and_in_the_quote_asset():
    found = VENUE.tickers(TICKERS)
    assert found.rows == [Ticker("BTCUSD", 1_800_000.0, 90_000.0)]
    assert len(found.bad) == 2


def test_rows_of_tickers_may_have_more_than_today_and_nothing_where_we_do_not_look():
    """The exchange adds to its rows from time to time; a pair without orders has no best bid."""
    found = VENUE.tickers(b'[["tBTCUSD",null,null,3,4,null,6,90000,20,8,9,"new",null]]')
    assert found == ([Ticker("BTCUSD", 1_800_000.0, 90_000.0)], [])


def test_trades_are_asked_for_by_time_and_come_in_id_order():
    request = VENUE.trades_request("DOGE_USD", 5, 1617643611000)
    again = VENUE.trades_request("DOGE_USD", 5, 1617643611000)
    assert request is not None
    assert again is not None
    assert request.url.startswith(
        "https://api-pub.bitfinex.com/v2/trades/tDOGE:USD/hist?start=1617643611000&limit=10000&sort=1&_="
    )
    assert request.url != again.url
    trades = VENUE.trades("DOGE_USD", TRADES)
    assert [(t.trade_id, t.quantity, t.is_buyer_maker) for t in trades] == [
        (11, "1.5", True),
        (12, "0.0000007", False),
    ]


def test_errors_have_two_forms():
    assert VENUE.error_of(b'["error",10020,"symbol: invalid"]') == (10020, "symbol: invalid")
    assert VENUE.error_of(b'{"error":"ERR_RATE_LIMIT"}') == (0, "ERR_RATE_LIMIT")
    assert VENUE.error_of(b"<html>") == VENUE.error_of(b"[1]") == (0, "")
    with pytest.raises(MalformedFrame):
        VENUE.trades("BTCUSD", b'["error",10020,"symbol: invalid"]')


def test_markets_have_lists_of_their_own():
    futures = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"], market="futures"))
    assert VENUE.info_request().url.endswith("/v2/conf/pub:list:pair:exchange")
    assert futures.info_request().url.endswith("/v2/conf/pub:list:pair:futures")


def test_a_book_of_one_level_has_no_checksum():
    facts = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"], depth=1)).facts
    assert (facts.checksum, facts.second_source, facts.levels) == (None, "in band", 1)
    assert VENUE.facts.checksum is not None


@given(mutated([PAIRS, TICKERS, TRADES, json.dumps(["error", 1, "x"]).encode()]))
def test_mutated_replies_raise_nothing_but_malformed_frame(reply: bytes):
    VENUE.error_of(reply)
    for decode in (VENUE.info, VENUE.tickers, VENUE.time_ms, lambda page: VENUE.trades("A", page)):
        try:
            decode(reply)
        except MalformedFrame:
            pass
