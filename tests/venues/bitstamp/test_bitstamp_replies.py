"""What Bitstamp answers over REST, and its trades and books, literally; and rubbish in any of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from spoiled_json import spoiled

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Snapshot, Trade
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.facts import Continuity

BOOK = {"timestamp": "1787612486", "microtimestamp": "1787612486338338", "bids": [["78703.58", "0.1"]],
        "asks": [["78703.69", "0.36000000"]]}  # fmt: skip
TRADE = {"id": 2001939623936278528, "type": 0, "amount": 0.00921, "amount_str": "0.00921", "price": 77204,
         "price_str": "77204", "microtimestamp": "1789456400586000"}  # fmt: skip
TRANSACTION = {
    "date": "1643640186",
    "tid": "220754321",
    "amount": "0.10000000",
    "type": "1",
    "price": "38000.00",
}
SPOT = {"name": "BTC/USD", "market_symbol": "btcusd", "base_currency": "BTC", "counter_currency": "USD",
        "base_decimals": 8, "counter_decimals": 0, "trading": "Enabled", "market_type": "SPOT"}  # fmt: skip
PERPETUAL = {"name": "BTC/USD-PERP", "market_symbol": "btcusd-perp", "base_decimals": 5, "counter_decimals": 2,
             "trading": "Disabled", "market_type": "PERPETUAL"}  # fmt: skip
TICKER = {"pair": "BTC/USD", "last": "50000", "volume": "2", "vwap": "40000"}


def venue(**changes: Any) -> Bitstamp:
    return Bitstamp("bitstamp", BitstampSettings(symbols=["S"], **changes))


@given(st.from_regex(r"[a-z0-9]{2,20}(-perp)?", fullmatch=True))
def test_spellings_are_reversible(name: str):
    symbol = venue().symbol_of(name)
    assert symbol == name.upper()
    assert venue().wire_symbol(symbol) == name


def test_where_the_socket_is_and_what_goes_over_it():
    (endpoint,) = venue().endpoints(["BTCUSD", "BTCUSD-PERP"])
    assert endpoint.url == "wss://ws.bitstamp.net"
    assert [(each.stream, each.channel, each.symbol) for each in endpoint.subscriptions] == [
        ("diff_order_book_btcusd", "depth", "BTCUSD"),
        ("diff_order_book_btcusd-perp", "depth", "BTCUSD-PERP"),
        ("live_trades_btcusd", "aggTrade", "BTCUSD"),
        ("live_trades_btcusd-perp", "aggTrade", "BTCUSD-PERP"),
    ]
    (endpoint,) = venue(trades="none", depth="order_book").endpoints(["BTCUSD"])
    assert [each.stream for each in endpoint.subscriptions] == ["order_book_btcusd"]


def test_facts_follow_the_settings():
    facts = venue().facts
    assert (facts.continuity, facts.snapshots, facts.trade_ids) == (Continuity.RISING, "rest", "rising")
    whole = venue(depth="order_book").facts
    assert (whole.snapshots, whole.levels, whole.second_source) == ("in band", 100, "in band")


def test_a_book_begins_over_rest():
    request = venue().snapshot_request("BTCUSD-PERP", now_ms=1787612486338)
    assert request is not None
    assert request.url == "https://www.bitstamp.net/api/v2/order_book/btcusd-perp/?group=1&_=1787612486338"
    urls = {each.url for each in (venue().snapshot_request("BTCUSD"),) if each}
    asker = venue()
    urls |= {each.url for _ in range(3) if (each := asker.snapshot_request("BTCUSD"))}
    assert len(urls) == 3
    body = json.dumps(BOOK).encode()
    levels = [("78703.58", "0.1")], [("78703.69", "0.36000000")]
    assert venue().snapshot("BTCUSD", body) == Snapshot("BTCUSD", 1787612486338338, *levels, 1787612486338)
    frame = json.dumps({"data": BOOK, "channel": "diff_order_book_btcusd", "event": "data"}).encode()
    time = 1787612486338
    assert venue().depth(frame, "BTCUSD", "update") == DepthEvent(
        "BTCUSD", 1787612486338338, 1787612486338338, 0, time, time, *levels
    )


def test_the_texts_of_a_trade_are_kept_and_its_taker_known():
    frame = json.dumps({"data": TRADE, "channel": "live_trades_btcusd", "event": "trade"}).encode()
    identity, time = 2001939623936278528, 1789456400586
    expected = Trade("BTCUSD", identity, "77204", "0.00921", identity, identity, time, time, False)
    assert venue().trade(frame, "BTCUSD") == expected
    assert venue().trade(frame.replace(b'"type": 0', b'"type": 1'), "BTCUSD").is_buyer_maker


def test_transactions_come_out_in_id_order_each_once():
    rows = [{**TRANSACTION, "tid": identity} for identity in ("9", "8", "8", "7")]
    found = venue().trades("BTCUSD", json.dumps(rows).encode())
    assert [trade.trade_id for trade in found] == [7, 8, 9]
    assert found[0] == Trade("BTCUSD", 7, "38000.00", "0.10000000", 7, 7, 1643640186000, 1643640186000, True)


@pytest.mark.parametrize(
    ("age_ms", "span"),
    [(0, "minute"), (59_999, "minute"), (60_000, "hour"), (3_600_000, "day"), (10**9, "day")],
)
def test_a_page_of_transactions_reaches_back_far_enough(age_ms: int, span: str):
    now = 1787612486338
    assert venue().trades_request("BTCUSD", 5, now - age_ms, now).url == (
        f"https://www.bitstamp.net/api/v2/transactions/btcusd/?time={span}"
    )
    assert "time=hour" in venue().trades_request("BTCUSD", 5, now).url


def test_markets_each_by_itself():
    body = json.dumps([SPOT, PERPETUAL, {"market_symbol": "BTCEUR"}, 3]).encode()
    found = venue().info(body)
    assert list(found.symbols.values()) == [
        SymbolInfo("BTCUSD", "Enabled", "BTC", "USD", "1", "0.00000001", "trading"),
        SymbolInfo("BTCUSD-PERP", "Disabled", "BTC", "USD", "0.01", "0.00001", "paused"),
    ]
    assert [bad.symbol for bad in found.bad] == ["BTCEUR", ""]


def test_tickers_in_quote_currency():
    rows = [TICKER, {**TICKER, "pair": "ETH/USD", "volume": "nan"}, {**TICKER, "pair": "XRP/USD", "vwap": ""}]
    found = venue().tickers(json.dumps([*rows, {"pair": "NEW/USD"}]).encode())
    assert found.rows == [
        Ticker("BTCUSD", 80000.0, 50000.0), Ticker("XRPUSD", 100000.0, 50000.0), Ticker("NEWUSD", 0.0, 0.0),
    ]  # fmt: skip
    assert [bad.symbol for bad in found.bad] == ["ETH/USD"]


def test_errors():
    assert venue().error_of(
        b'{"response_code":"400.002","response_explanation":"Request rate limit exceeded"}'
    ) == (
        400002,
        "Request rate limit exceeded",
    )
    assert venue().error_of(b'{"status":"error","reason":{"a":["b"]},"code":"API0012"}') == (0, '{"a":["b"]}')
    assert venue().error_of(b"<html>") == (0, "")
    assert venue().time_request() is None


REPLIES: dict[str, tuple[Any, Callable[[Bitstamp, bytes], object]]] = {
    "book": (BOOK, lambda venue, body: venue.snapshot("BTCUSD", body)),
    "transactions": ([TRANSACTION], lambda venue, body: venue.trades("BTCUSD", body)),
    "time": (BOOK, lambda venue, body: venue.time_ms(body)),
    "markets": ([SPOT, PERPETUAL], lambda venue, body: venue.info(body)),
    "tickers": ([TICKER], lambda venue, body: venue.tickers(body)),
    "error": (
        {"code": "API1", "reason": "x", "response_code": "400.1"},
        lambda venue, body: venue.error_of(body),
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_with_rubbish_in_it_is_malformed_or_harmless(name: str):
    value, decode = REPLIES[name]

    @hypothesis_settings(max_examples=120)
    @given(spoiled(value))
    def check(body: bytes) -> None:
        try:
            decode(venue(), body)
        except MalformedFrame as error:
            str(error).encode()

    check()
