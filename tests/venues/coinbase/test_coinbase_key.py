"""Single orders of Coinbase Exchange with the user's own key: what is signed, what a socket brings, settings.

The signature is as openssl makes it of `1700000000.123GET/users/self/verify` with the secret `sesame`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.errors import SettingsError
from workers.settings.loading import parse
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase
from workers.venues.messages import Ignored, Message
from workers.venues.session import Accepted, RefusedStreams

NOW_MS = 1_700_000_000_123
SECTION = """[venues.cb]
exchange = "coinbase"
market = "exchange"
symbols = ["BTC-USD"]
orders = true
"""
KEY = {
    "FLEET_VENUES__CB__API_KEY": "wOpEn",
    "FLEET_VENUES__CB__API_SECRET": "c2VzYW1l",
    "FLEET_VENUES__CB__API_PASSPHRASE": "pAsS",
}
VENUE = Coinbase(
    "cb",
    CoinbaseSettings(
        symbols=["BTC-USD", "ETH-USD"],
        market="exchange",
        orders=True,
        api_key="wOpEn",
        api_secret="c2VzYW1l",
        api_passphrase="pAsS",
    ),
)
MATCH = {"type": "match", "trade_id": 10, "sequence": 50, "maker_order_id": "m", "taker_order_id": "t", "size": "1",
         "time": "2026-11-07T08:19:27.028459Z", "product_id": "BTC-USD", "price": "400.23", "side": "sell"}  # fmt: skip


def packed(frame: Any) -> bytes:
    return json.dumps(frame).encode()


def test_single_orders_have_a_socket_of_their_own_and_a_signature():
    public, single = VENUE.endpoints(["BTC-USD", "ETH-USD"])
    assert single.extra
    assert not public.extra
    session = VENUE.session(single.url)
    session.opened(NOW_MS)
    [frame] = session.subscribe(single.subscriptions, 1)
    assert json.loads(frame) == {
        "type": "subscribe",
        "channels": [{"name": "full", "product_ids": ["BTC-USD", "ETH-USD"]}],
        "key": "wOpEn",
        "passphrase": "pAsS",
        "timestamp": "1700000000.123",
        "signature": "7V9uBb0URSSxk+7FAWfpBezFTBwKWPV/bqTHdWj7z5g=",
    }
    session.tick(NOW_MS + 60_000)
    [later] = session.subscribe(single.subscriptions[:1], 2)
    assert json.loads(later)["timestamp"] == "1700000060.123"
    [gone] = session.unsubscribe(single.subscriptions, 3)
    assert "key" not in json.loads(gone)
    [plain] = VENUE.session(public.url).subscribe(public.subscriptions, 1)
    assert "key" not in json.loads(plain)


def test_whatever_has_a_number_is_filed_by_it():
    session = VENUE.session("")
    session.subscribe(VENUE.endpoints(["BTC-USD"])[1].subscriptions, 1)
    ack = packed({"type": "subscriptions", "channels": [{"name": "full", "product_ids": ["BTC-USD"]}]})
    assert session.received(ack, NOW_MS) == [Accepted(["full:BTC-USD"])]
    for frame in (MATCH, MATCH | {"type": "received"}, MATCH | {"type": "a type of next year"}):
        [message] = session.received(packed(frame), NOW_MS)
        assert isinstance(message, Message)
        assert (message.channel, message.symbol, message.event_ms) == ("orders", "BTC-USD", 1_794_039_567_028)
        assert (message.first_id, message.update_id, message.previous_id) == (50, 50, -1)
        assert message.data == packed(frame)
    # of a stop order of one's own: it takes no number
    activated = {
        "type": "activate",
        "product_id": "BTC-USD",
        "timestamp": "1483736448.299000",
        "private": True,
    }
    assert session.received(packed(activated), NOW_MS) == [Ignored("activate")]
    refused = packed(
        {"type": "error", "message": "Authentication Failed", "reason": '{"message":"invalid signature"}'}
    )
    session.subscribe(VENUE.endpoints(["ETH-USD"])[1].subscriptions, 2)
    [event] = session.received(refused, NOW_MS)
    assert isinstance(event, RefusedStreams)
    assert event.streams == ["full:ETH-USD"]
    assert "invalid signature" in event.message


def test_a_match_among_trades_is_a_trade():
    [message] = VENUE.session("").received(packed(MATCH), NOW_MS)
    assert isinstance(message, Message)
    assert (message.channel, message.update_id) == ("aggTrade", 10)


def test_all_orders_are_asked_of_rest():
    assert VENUE.order_feed is not None
    assert VENUE.order_feed.seed_request is not None
    request = VENUE.order_feed.seed_request("BTC-USD")
    assert request.url == "https://api.exchange.coinbase.com/products/BTC-USD/book?level=3"
    assert (request.pool, request.weight) == (VENUE.pool, 1)


def refusal(text: str, environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as found:
        parse(text, "my.toml", environ)
    return str(found.value)


@pytest.mark.parametrize("name", list(KEY))
def test_without_a_part_of_the_key_single_orders_are_refused(name: str):
    parse(SECTION, "my.toml", KEY)
    said = refusal(SECTION, {each: part for each, part in KEY.items() if each != name})
    assert "my.toml, line 5, venues.cb.orders" in said
    assert f"set {name} in the environment" in said


def test_a_secret_that_is_none_is_refused_unseen():
    said = refusal(SECTION, KEY | {"FLEET_VENUES__CB__API_SECRET": "sesame!"})
    assert "environment FLEET_VENUES__CB__API_SECRET" in said
    assert "base64" in said
    assert "sesame" not in said


def test_the_passphrase_is_a_secret_too():
    rows = {key: value for key, value, _ in parse(SECTION, "my.toml", KEY).rows()}
    assert rows["venues.cb.api_passphrase"] == "***"
    said = refusal(f'{SECTION}api_passphrase = "pAsS"\n', dict(list(KEY.items())[:2]))
    assert "a secret does not belong in a file" in said
    assert "pAsS" not in said


def test_an_exchange_that_repeats_the_key_shows_it_to_nobody():
    session = VENUE.session(VENUE.endpoints(["BTC-USD"])[1].url)
    session.subscribe(VENUE.endpoints(["BTC-USD"])[1].subscriptions, 1)
    said = {"type": "error", "message": "Failed to subscribe", "reason": "wOpEn, pAsS: Invalid API Key"}
    [refused] = session.received(packed(said), NOW_MS)
    assert isinstance(refused, RefusedStreams)
    assert refused.message == "Failed to subscribe: ***, ***: Invalid API Key"


def test_advanced_tells_no_orders():
    assert "not followed" in refusal(SECTION.replace('"exchange"\ns', '"advanced"\ns'), KEY)
