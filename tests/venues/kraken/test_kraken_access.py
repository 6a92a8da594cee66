"""Kraken's single orders are for those with a key: signatures, tokens, what is refused, and how fast one may ask."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.venues.kraken.access import MARGIN_MS, KrakenKey, signature
from workers.venues.kraken.session import KrakenSession
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken
from workers.venues.messages import Ignored, Message, Subscription
from workers.venues.session import Accepted, Ask, Event, RefusedStreams, Send

DOCUMENTED = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
NOW = 1_762_776_000_000
MORE: dict[str, Any] = {"orders": True, "api_key": "sesame", "api_secret": DOCUMENTED, "ping_seconds": 0}


def session_of(**more: Any) -> tuple[KrakenSession, list[Subscription]]:
    """A socket of single orders, and the streams of three pairs."""
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], **(MORE | more)))
    endpoint = venue.endpoints(["BTC-USD", "ETH-USD", "DOGE-USD"])[1]
    assert endpoint.url == "wss://ws-l3.kraken.com/v2"
    session = venue.session(endpoint.url)
    assert isinstance(session, KrakenSession)
    return session, endpoint.subscriptions


def given(token: str, expires: int = 900) -> bytes:
    return json.dumps({"error": [], "result": {"token": token, "expires": expires}}).encode()


def asked(events: list[Event]) -> Ask:
    [event] = events
    assert isinstance(event, Ask)
    return event


def sent(events: list[Event]) -> list[dict[str, Any]]:
    assert all(isinstance(event, Send) for event in events)
    return [json.loads(event.text) for event in events if isinstance(event, Send)]


def answer(session: KrakenSession, frame: dict[str, Any], symbol: str, error: str = "") -> list[Event]:
    reply = {"method": frame["method"], "req_id": frame["req_id"], "success": not error}
    if error:
        return session.received(json.dumps(reply | {"error": error, "symbol": symbol}), NOW)
    result = {"channel": "level3", "depth": frame["params"]["depth"], "symbol": symbol}
    return session.received(json.dumps(reply | {"result": result}), NOW)


def test_a_signature_is_that_of_the_document():
    body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    assert signature(DOCUMENTED, "/0/private/AddOrder", "1616492376594", body) == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )


def test_orders_are_asked_for_with_a_token_of_rest():
    session, streams = session_of()
    assert session.subscribe(streams, 1) == []
    question = asked(session.tick(NOW))
    post = question.request.post
    assert post is not None
    assert (question.request.url, post.body) == (
        "https://api.kraken.com/0/private/GetWebSocketsToken",
        f"nonce={NOW}",
    )
    assert post.headers["API-Key"] == "sesame"
    assert session.tick(NOW + 1000) == [], "one question at a time"
    [frame] = sent(question.take(given("T1"), NOW))
    assert frame["params"] == {
        "channel": "level3",
        "symbol": ["BTC/USD", "ETH/USD", "DOGE/USD"],
        "depth": 10,
        "snapshot": True,
        "token": "T1",
    }
    assert answer(session, frame, "ETH/USD") == [Accepted(["level3-10:ETH/USD"])]
    assert session.tick(NOW + 2000) == []


def test_nothing_of_a_key_is_printed():
    session, streams = session_of()
    session.subscribe(streams, 1)
    question = asked(session.tick(NOW))
    assert "sesame" not in repr(question)
    assert "API-Sign" not in repr(question)
    assert list(question.request.post.__rich_repr__()) == ["…"]


def test_a_key_that_the_exchange_does_not_know_is_refused_in_its_words():
    session, streams = session_of()
    session.subscribe(streams, 1)
    body = b'{"error":["EAPI:Invalid key"]}'
    assert asked(session.tick(NOW)).take(body, NOW) == [
        RefusedStreams([stream.stream], 0, "EAPI:Invalid key") for stream in streams
    ]
    assert session.tick(NOW + 60_000) == [], "what was refused waits until it is asked for anew"


def test_an_exchange_that_repeats_the_key_shows_it_to_nobody():
    session, streams = session_of()
    session.subscribe(streams[:1], 1)
    body = json.dumps({"error": [f"EAPI:Invalid key:sesame {DOCUMENTED}"]}).encode()
    [refused] = asked(session.tick(NOW)).take(body, NOW)
    assert isinstance(refused, RefusedStreams)
    assert refused.message == "EAPI:Invalid key:*** ***"


@pytest.mark.parametrize(
    "body", [None, b"<html>", b'{"error":[],"result":{"token":1}}', b'{"error":["EAPI:Invalid nonce"]}']
)
def test_without_an_answer_it_is_asked_again_ever_later_and_refused_in_the_end(body: bytes | None):
    session, streams = session_of()
    session.subscribe(streams, 1)
    nonces = []
    for now in (NOW, NOW + 2_000, NOW + 6_000, NOW + 14_000):
        assert now == NOW or session.tick(now - 1) == []
        question = asked(session.tick(now))
        assert question.request.post is not None
        nonces.append(question.request.post.body)
        said = question.take(body, now)
        assert bool(said) == (now == NOW + 14_000)
    assert len({*nonces}) == 4
    assert [one.streams for one in said if isinstance(one, RefusedStreams)] == [
        [one.stream] for one in streams
    ]


def test_a_token_serves_until_a_minute_before_its_end():
    session, streams = session_of()
    session.subscribe(streams[:1], 1)
    asked(session.tick(NOW)).take(given("T1"), NOW)
    last = NOW + 900_000 - MARGIN_MS - 1
    session.unsubscribe(streams[:1], 2)
    session.subscribe(streams[:1], 3)
    frames = sent(session.tick(last))
    assert [(frame["method"], frame["params"]["token"]) for frame in frames] == [
        ("unsubscribe", "T1"),
        ("subscribe", "T1"),
    ]
    session.subscribe(streams[1:], 4)
    assert isinstance(session.tick(last + 1)[0], Ask)


def test_a_token_that_is_refused_is_replaced_once():
    session, streams = session_of()
    session.subscribe(streams, 1)
    [frame] = sent(asked(session.tick(NOW)).take(given("T1"), NOW))
    for symbol in frame["params"]["symbol"]:
        assert isinstance(answer(session, frame, symbol, "ESession:Invalid session")[0], Ignored)
    question = asked(session.tick(NOW + 2000))
    [frame] = sent(question.take(given("T2"), NOW + 2000))
    assert (frame["params"]["token"], len(frame["params"]["symbol"])) == ("T2", 3)
    for symbol, stream in zip(frame["params"]["symbol"], streams, strict=True):
        said = answer(session, frame, symbol, "ESession:Invalid session")
        assert said == [RefusedStreams([stream.stream], 0, "ESession:Invalid session")]
    assert session.tick(NOW + 4000) == []
    session.subscribe(streams, 9)
    [frame] = sent(asked(session.tick(NOW + 20_000)).take(given("T3"), NOW + 20_000))
    assert answer(session, frame, "BTC/USD") == [Accepted(["level3-10:BTC/USD"])]


def test_another_refusal_is_no_matter_of_the_token():
    session, streams = session_of()
    session.subscribe(streams, 1)
    [frame] = sent(asked(session.tick(NOW)).take(given("T1"), NOW))
    said = answer(session, frame, "BTC/USD", "Currency pair not supported BTC/USD")
    assert said == [RefusedStreams(["level3-10:BTC/USD"], 0, "Currency pair not supported BTC/USD")]
    assert session.tick(NOW + 2000) == []


@pytest.mark.parametrize(("depth", "a_second"), [(10, 40), (100, 8), (1000, 2)])
def test_no_more_is_asked_for_in_a_second_than_a_user_may(depth: int, a_second: int):
    session, _ = session_of(orders_depth=depth)
    streams = [Subscription(f"level3-{depth}:A{n}/USD", "orders", f"A{n}-USD") for n in range(100)]
    session.subscribe(streams, 1)
    [first] = sent(asked(session.tick(NOW)).take(given("T"), NOW))
    assert sent(session.tick(NOW + 999)) == []
    [second] = sent(session.tick(NOW + 1000))
    assert len(first["params"]["symbol"]) == len(second["params"]["symbol"]) == a_second
    assert not set(first["params"]["symbol"]) & set(second["params"]["symbol"])


def test_orders_are_filed_after_their_snapshot_each_pair_by_itself():
    session, _ = session_of()
    one, other = (
        f'{{"symbol":"{pair}","bids":[],"asks":[],"checksum":1}}' for pair in ("BTC/USD", "ETH/USD")
    )
    early = session.received(f'{{"channel":"level3","type":"update","data":[{one}]}}', NOW)
    assert early == [Ignored("book before its snapshot")]
    both = session.received(f'{{"channel":"level3","type":"snapshot","data":[{one},{other}]}}', NOW)
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], orders=True))
    assert venue.order_feed is not None
    for event, symbol in zip(both, ("BTC-USD", "ETH-USD"), strict=True):
        assert isinstance(event, Message)
        assert (event.channel, event.symbol, event.kind) == ("orders", symbol, "snapshot")
        decoded = venue.order_feed.message(event.data)
        assert decoded is not None
        assert (decoded.whole, decoded.checksum) == (True, 1)
    assert session.received(f'{{"channel":"book","type":"update","data":[{one}]}}', NOW) == [
        Ignored("book before its snapshot")
    ], "a snapshot of orders is none of the book"


def test_nonces_rise_over_the_sockets_of_a_key_whatever_the_clock_does():
    key = KrakenKey(KrakenSettings(symbols=["S"], **MORE))
    bodies = [key.request(now).post for now in (NOW, NOW, NOW - 5000, NOW + 1)]
    assert [post.body for post in bodies if post is not None] == [f"nonce={NOW + n}" for n in range(4)]
