"""Sockets of Kraken frame by frame: acks, refusals, snapshots, notices, rubbish."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.venues.kraken.checksum import book_checksum
from workers.venues.kraken.session import KrakenSession
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken
from workers.venues.messages import Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send

VENUE = Kraken("kraken", KrakenSettings(symbols=["S"]))
URLS = ["wss://ws.kraken.com/v2", "wss://ws.kraken.com"]
BOOK = {"symbol": "BTC/USD", "bids": [{"price": 1.5, "qty": 2.0}], "asks": [], "checksum": 7,
        "timestamp": "2026-08-24T22:21:58.343688Z"}  # fmt: skip
TRADE = {"symbol": "BTC/USD", "side": "buy", "price": 105944.2, "qty": 0.00027625, "ord_type": "limit",
         "trade_id": 10218208, "timestamp": "2023-10-06T17:35:55.440295Z"}  # fmt: skip
STATUS = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 806193442143087786}
FRAMES = [
    json.dumps(frame, separators=(",", ":")).encode()
    for frame in (
        {"channel": "book", "type": "snapshot", "data": [BOOK]},
        {"channel": "book", "type": "update", "data": [BOOK, {**BOOK, "symbol": "ETH/USD"}]},
        {"channel": "trade", "type": "update", "data": [TRADE, {**TRADE, "trade_id": 10218207}]},
        {"channel": "status", "type": "update", "data": [STATUS]},
        {"channel": "heartbeat"},
        {"method": "pong", "req_id": 7},
        {"method": "subscribe", "success": True, "req_id": 2,
         "result": {"channel": "book", "depth": 10, "symbol": "BTC/USD"}},
        {"error": "Currency pair not supported XBT/USD", "method": "subscribe", "req_id": 2, "success": False,
         "symbol": "XBT/USD"},
        {"event": "systemStatus", "status": "online", "connectionID": 17413893361151983591},
        {"event": "subscriptionStatus", "pair": "XBT/USD", "status": "subscribed", "channelName": "book-10"},
        [320, {"as": [["58729.4", "0.45", "1617666423.606671"]], "bs": []}, "book-1000", "XBT/USD"],
        [320, {"b": [["55225.0", "0.5", "1617640142.435065", "r"]], "c": "226497374"}, "book-1000", "XBT/USD"],
        [320, {"a": [["55226.0", "0.5", "1617640142.4"]]}, {"b": [], "c": "1"}, "book-10", "XBT/USD"],
        [337, [["5541.2", "0.1", "1534614057.3", "s", "l", ""]], "trade", "XBT/USD"],
    )
]  # fmt: skip


def session_with(symbols: list[str], request_id: int = 1) -> tuple[KrakenSession, list[dict[str, Any]]]:
    session = VENUE.session(URLS[0])
    assert isinstance(session, KrakenSession)
    frames = session.subscribe(VENUE.endpoints(symbols)[0].subscriptions, request_id)
    return session, [json.loads(frame) for frame in frames]


def reply(request: dict[str, Any], symbol: str, error: str = "") -> str:
    params = request["params"]
    if error:
        return json.dumps({"error": error, "method": request["method"], "req_id": request["req_id"],
                           "success": False, "symbol": symbol})  # fmt: skip
    result = {"channel": params["channel"], "symbol": symbol, "depth": params.get("depth", 0)}
    return json.dumps(
        {"method": request["method"], "req_id": request["req_id"], "success": True, "result": result}
    )


def test_one_frame_a_channel_asks_for_all():
    _, (book, trade) = session_with(["BTC-USD", "ETH-USD"])
    assert book["params"] == {
        "channel": "book",
        "symbol": ["BTC/USD", "ETH/USD"],
        "depth": 10,
        "snapshot": True,
    }
    assert trade["params"] == {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": True}
    assert book["req_id"] != trade["req_id"]


def test_an_unsubscription_names_the_depth():
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], depth=25))
    (frame,) = venue.session(URLS[0]).unsubscribe(venue.endpoints(["BTC-USD"])[0].subscriptions[:1], 2)
    assert json.loads(frame)["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_each_stream_is_accepted_or_refused_once_in_any_order(order: list[int], refused: set[int]):
    session, requests = session_with(["BTC-USD", "ETH-USD", "SOL-USD"])
    replies = [(request, symbol) for request in requests for symbol in request["params"]["symbol"]]
    accepted, gone = [], []
    for index in order:
        request, symbol = replies[index]
        (event,) = session.received(
            reply(request, symbol, "Currency pair not supported" * (index in refused)), 0
        )
        (gone if isinstance(event, RefusedStreams) else accepted).extend(event.streams)  # type: ignore[union-attr]
    names = [f"book-10:{s}/USD" for s in ("BTC", "ETH", "SOL")] + [
        f"trade:{s}/USD" for s in ("BTC", "ETH", "SOL")
    ]
    assert sorted(gone) == sorted(names[index] for index in refused)
    assert sorted(accepted + gone) == sorted(names)


def test_a_refusal_that_names_nothing_is_of_the_whole_request():
    session, (book, _) = session_with(["BTC-USD", "ETH-USD"])
    frame = json.dumps(
        {"method": "subscribe", "success": False, "error": "Depth not supported", "req_id": book["req_id"]}
    )
    assert session.received(frame, 0) == [
        RefusedStreams(["book-10:BTC/USD", "book-10:ETH/USD"], 0, "Depth not supported")
    ]


def test_a_stream_that_is_subscribed_already_is_not_refused():
    session, (book, _) = session_with(["BTC-USD"])
    assert session.received(reply(book, "BTC/USD", "Already subscribed"), 0) == [
        Accepted(["book-10:BTC/USD"])
    ]


def test_the_refusal_of_an_unsubscription_costs_no_stream():
    session, _ = session_with(["BTC-USD"])
    (frame,) = session.unsubscribe(VENUE.endpoints(["BTC-USD"])[0].subscriptions[:1], 9)
    event = session.received(reply(json.loads(frame), "BTC/USD", "Subscription Not Found"), 0)
    assert event == [Refused(9, 0, "Subscription Not Found")]


def test_changes_pass_from_the_first_snapshot_on_also_before_the_ack():
    session, _ = session_with(["BTC-USD"])
    snapshot, update = FRAMES[0], FRAMES[0].replace(b"snapshot", b"update")
    assert session.received(update, 0) == [Ignored("book before its snapshot")]
    kinds = [event.kind for frame in (snapshot, update, snapshot) for event in session.received(frame, 0)
             if isinstance(event, Message)]  # fmt: skip
    assert kinds == ["snapshot", "update", "snapshot"]


def test_after_an_unsubscription_changes_wait_for_the_next_snapshot():
    session, _ = session_with(["BTC-USD"])
    session.received(FRAMES[0], 0)
    (frame,) = session.unsubscribe(VENUE.endpoints(["BTC-USD"])[0].subscriptions[:1], 2)
    update = FRAMES[0].replace(b"snapshot", b"update")
    assert isinstance(session.received(update, 0)[0], Message)
    session.received(reply(json.loads(frame), "BTC/USD"), 0)
    assert session.received(update, 0) == [Ignored("book before its snapshot")]


def test_a_frame_of_two_books_is_cut_into_exact_slices():
    session = VENUE.session(URLS[0])
    frame = FRAMES[1].replace(b"update", b"snapshot").replace(b"1.5", b"0.00005100", 1)
    messages = [event for event in session.received(frame, 0) if isinstance(event, Message)]
    assert [message.symbol for message in messages] == ["BTC-USD", "ETH-USD"]
    assert all(message.data in frame and message.data[:1] == b"{" for message in messages)
    first = VENUE.depth(messages[0].data, "BTC-USD", "snapshot")
    assert (first.bids, first.asks, first.checksum) == ([("0.00005100", "2.0")], [], 7)
    assert first.event_time == messages[0].event_ms == 1787610118343


def test_trades_come_one_by_one_in_the_order_of_their_ids():
    session = VENUE.session(URLS[0])
    messages = [event for event in session.received(FRAMES[2], 0) if isinstance(event, Message)]
    assert [(m.channel, m.first_id, m.update_id) for m in messages] == [
        ("aggTrade", 10218207, 10218207), ("aggTrade", 10218208, 10218208)]  # fmt: skip
    trade = VENUE.trade(messages[1].data, messages[1].symbol)
    assert (trade.trade_id, trade.price, trade.quantity) == (10218208, "105944.2", "0.00027625")
    assert not trade.is_buyer_maker
    sold = VENUE.trade(messages[1].data.replace(b"buy", b"sell"), "BTC-USD")
    assert sold.is_buyer_maker


@pytest.mark.parametrize(
    ("systems", "events"),
    [
        (["online", "maintenance"], [Ignored("status online"), Broken("maintenance")]),
        (["maintenance", "online"], [Ignored("status maintenance"), Broken("maintenance")]),
        (
            ["online", "post_only", "online"],
            [Ignored(f"status {s}") for s in ("online", "post_only", "online")],
        ),
    ],
)
def test_maintenance_ends_the_books_of_a_socket(systems: list[str], events: list[Event]):
    session = VENUE.session(URLS[0])
    seen = [
        event
        for system in systems
        for event in session.received(FRAMES[3].replace(b"online", system.encode()), 0)
    ]
    assert seen == events
    broken = any(isinstance(event, Broken) for event in events)
    assert (session.received(FRAMES[0], 0) == []) is broken


@pytest.mark.parametrize("url", URLS)
def test_a_ping_goes_out_every_half_minute(url: str):
    session = VENUE.session(url)
    assert session.opened(1_000) == []
    assert session.tick(30_000) == []
    (ping,) = session.tick(31_000)
    assert isinstance(ping, Send)
    assert session.tick(31_001) == []
    assert session.received('{"method":"pong","req_id":1}' if "v2" in url else '{"event":"pong"}', 0) == []


def test_a_v1_update_of_two_maps_is_one_change():
    session = VENUE.session(URLS[1])
    for side in (b'"as"', b'"bs"'):  # a whole book may have one side alone
        whole = b'[320,{%b:[["58729.4","0.45","1617666423.606671"]]},"book-1000","XBT/USD"]' % side
        (message,) = session.received(whole, 0)
        assert isinstance(message, Message)
        event = VENUE.depth(message.data, "BTC-USD", message.kind)
        assert (message.kind, len(event.bids), len(event.asks)) == (
            "snapshot",
            side == b'"bs"',
            side == b'"as"',
        )
    (message,) = session.received(FRAMES[12], 0)
    assert isinstance(message, Message)
    event = VENUE.depth(message.data, "BTC-USD", message.kind)
    assert (event.bids, event.asks, event.checksum) == ([], [("55226.0", "0.5")], 1)
    assert message.event_ms == 1617640142400


def test_v1_speaks_the_old_names_and_names_what_is_refused():
    session = VENUE.session(URLS[1])
    streams = VENUE.endpoints(["BTC-USD", "DOGE-EUR"])[0].subscriptions
    (frame,) = session.subscribe(streams[:-1], 3)  # of trades there are none to be asked for
    assert json.loads(frame)["pair"] == ["XBT/USD", "XDG/EUR"]
    error = {
        "event": "subscriptionStatus",
        "pair": "XDG/EUR",
        "status": "error",
        "errorMessage": "Currency pair not supported",
    }
    assert session.received(json.dumps(error), 0) == [
        RefusedStreams(["book-10:DOGE/EUR"], 0, "Currency pair not supported")
    ]
    assert session.received(FRAMES[13], 0) == [Ignored("trade")]


def test_a_side_with_few_levels_gives_the_checksum_what_it_has():
    assert book_checksum([], []) == 0
    assert book_checksum([("0.50", "1.0")], []) == book_checksum([], [("5.0", "10")])


def digest(session: Any, frame: bytes | str) -> None:
    """Whatever comes, only MalformedFrame may be raised, here or where a message is decoded."""
    try:
        events = session.received(frame, 0)
        for event in events:
            if isinstance(event, Message):
                if event.channel == "depth":
                    VENUE.depth(event.data, event.symbol, event.kind)
                else:
                    VENUE.trade(event.data, event.symbol)
            assert not isinstance(event, RefusedStreams) or event.streams
    except MalformedFrame:
        pass


@given(st.sampled_from(URLS), st.lists(mutated(FRAMES), min_size=1, max_size=5))
def test_mutated_frames_raise_nothing_but_malformed_frame(url: str, frames: list[bytes]):
    session = VENUE.session(url)
    session.subscribe([Subscription("book-10:BTC/USD", "depth", "BTC-USD")], 1)
    for frame in frames:
        digest(session, frame)
        digest(session, FRAMES[0])


@given(st.sampled_from(URLS), st.one_of(st.binary(max_size=60), st.text(max_size=40)))
def test_any_bytes_raise_nothing_but_malformed_frame(url: str, frame: bytes | str):
    digest(VENUE.session(url), frame)


@given(mutated(FRAMES))
def test_rubbish_where_a_book_or_a_trade_was_raises_nothing_but_malformed_frame(data: bytes):
    for decode in (lambda: VENUE.depth(data, "A-B", "update"), lambda: VENUE.trade(data, "A-B")):
        try:
            decode()
        except MalformedFrame:
            pass
