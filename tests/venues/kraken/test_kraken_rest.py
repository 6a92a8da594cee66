"""Kraken's REST and the spellings of its pairs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.interface import BadListing
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken

PAIRS = {
    "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1,
                 "lot_decimals": 8, "tick_size": "0.1", "status": "online", "ordermin": "0.00005"},
    "XDGEUR": {"altname": "XDGEUR", "wsname": "XDG/EUR", "pair_decimals": 7, "lot_decimals": 8,
               "status": "cancel_only"},
    "OLDUSD": {"altname": "OLDUSD", "wsname": "OLD/USD", "pair_decimals": 0, "lot_decimals": 0, "status": "delisted"},
    "XBTUSD.d": {"altname": "XBTUSD.d", "pair_decimals": 1, "lot_decimals": 8, "status": "online"},
    "BAD": {"wsname": 7},
    "AAPLXUSD": {"wsname": "AAPLx/USD", "pair_decimals": 2},
}  # fmt: skip
TICKERS = {
    "XXBTZUSD": {
        "a": ["1", "1", "1"],
        "c": ["90000.1", "0.1"],
        "v": ["10.0", "20.0"],
        "p": ["1.0", "90000.0"],
    },
    "UNKNOWN": {"c": ["1", "1"], "v": ["1", "1"], "p": ["1", "1"]},
    "XDGEUR": {"c": ["1", "1"], "v": ["1"], "p": ["1", "1"]},
}
TRADES = {"XXBTZUSD": [["2.5", "0.1", 1762795433.9717445, "s", "l", "", 9],
                       ["2.4", "0.2", 1762795433, "b", "m", "", 8]],
          "last": "1762795433971744500"}  # fmt: skip


def body(result: object) -> bytes:
    return json.dumps({"error": [], "result": result}).encode()


def test_pairs_have_one_canonical_spelling():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    info = venue.info(body(PAIRS))
    assert info.symbols == {
        "BTC-USD": SymbolInfo("BTC-USD", "online", "BTC", "USD", "0.1", "0.00000001", "trading"),
        "DOGE-EUR": SymbolInfo("DOGE-EUR", "cancel_only", "DOGE", "EUR", "0.0000001", "0.00000001", "paused"),
        "OLD-USD": SymbolInfo("OLD-USD", "delisted", "OLD", "USD", "1", "1", "ended"),
    }
    assert [listing.symbol for listing in info.bad] == ["", "AAPLx/USD"]
    for symbol in info.symbols:
        assert venue.symbol_of(venue.wire_symbol(symbol)) == symbol


@pytest.mark.parametrize(
    "name", ["", "/", "BTC", "BTC/", "/USD", "A/B/C", "A-B/C", "a/b", "A B/C", "x" * 90 + "/USD"]
)
def test_what_is_no_pair_is_none(name: str):
    with pytest.raises(ValueError, match="is no"):
        Kraken("kraken", KrakenSettings(symbols=["S"])).symbol_of(name)


def test_tickers_are_of_the_pairs_that_are_listed():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    venue.info(body(PAIRS))
    found = venue.tickers(body(TICKERS))
    assert found.rows == [Ticker("BTC-USD", 20.0 * 90000.0, 90000.1)]
    assert [type(bad) for bad in found.bad] == [BadListing]
    assert found.bad[0].symbol == "DOGE-EUR"


def test_trades_are_asked_for_by_time_and_come_in_id_order():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    request = venue.trades_request("BTC-USD", 8, 1762795433971)
    assert request is not None
    assert request.url == (
        "https://api.kraken.com/0/public/Trades?pair=XBT%2FUSD&since=1762795433970999999&count=1000"
    )
    trades = venue.trades("BTC-USD", body(TRADES))
    assert [(t.trade_id, t.price, t.trade_time, t.is_buyer_maker) for t in trades] == [
        (8, "2.4", 1762795433000, False), (9, "2.5", 1762795433971, True)]  # fmt: skip


def test_the_older_names_can_be_chosen():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], rest_names="altname"))
    for _ in range(2):
        request = venue.trades_request("BTC-USD", 8, 0)
        assert request is not None
        assert "pair=XBTUSD&since=0&" in request.url
        venue.info(body({**PAIRS, "OTHER": {"altname": "OTHERNAME", "wsname": "A/USD"}}))
    request = venue.trades_request("A-USD", 8, 0)
    assert request is not None
    assert "pair=OTHERNAME&" in request.url


def test_an_error_comes_with_status_200_and_is_no_page():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    error = b'{"error":["EGeneral:Too many requests"]}'
    assert venue.error_of(error) == (0, "EGeneral:Too many requests")
    assert venue.error_of(b"<html>") == (0, "")
    with pytest.raises(MalformedFrame, match="Too many requests"):
        venue.trades("BTC-USD", error)


def test_the_clock_counts_seconds():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    assert venue.time_ms(body({"unixtime": 1616336594, "rfc1123": "x"})) == 1616336594000
    with pytest.raises(MalformedFrame):
        venue.time_ms(body({}))


@given(mutated([body(PAIRS), body(TICKERS), body(TRADES), body({"unixtime": 1})]))
def test_mutated_replies_raise_nothing_but_malformed_frame(reply: bytes):
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    venue.error_of(reply)
    for decode in (venue.info, venue.tickers, venue.time_ms, lambda page: venue.trades("A-B", page)):
        try:
            decode(reply)
        except MalformedFrame:
            pass


@given(st.from_regex(r"[A-Z0-9.]{1,10}/[A-Z0-9.]{1,10}", fullmatch=True))
def test_spellings_are_reversible_but_for_the_old_names(name: str):
    venue = Kraken("kraken", KrakenSettings(symbols=["S"]))
    assets = name.split("/")
    if "XBT" not in assets and "XDG" not in assets:
        try:
            assert venue.wire_symbol(venue.symbol_of(name)) == name
        except ValueError:
            assert not name.replace("/", "").strip(".") or any(not asset.strip(".") for asset in assets)
