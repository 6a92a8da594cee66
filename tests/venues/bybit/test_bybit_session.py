"""A socket of Bybit: answers with and without a name, refusals, keep-alive, ids that begin anew; and any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from spoiled_json import cut_up, decode, spoiled

from workers.errors import MalformedFrame
from workers.venues.bybit.session import BybitSession
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.venue import Bybit
from workers.venues.messages import Ignored, Message, Refused, Subscription
from workers.venues.session import Accepted, Event, RefusedStreams, Send, Stale

TRADE = {"T": 1786310819680, "s": "BTCUSDT", "S": "Sell", "v": "0.004", "p": "65114.20", "L": "MinusTick",
         "i": "a9188a0a-82bc-50de-be60-03eedbe3cdd7", "BT": False, "RPI": False, "seq": 753843954913}  # fmt: skip
SPOT_TRADE = {"i": "2280000001739247417", "T": 1786310821917, "p": "1923.28", "v": "0.04537", "S": "Buy", "seq": 17,
              "s": "BTCUSDT", "BT": False, "RPI": False}  # fmt: skip
PONG = '{"success":true,"ret_msg":"pong","conn_id":"0970e817-426e-429a-a679-ff7f55e0b16a","req_id":"","op":"ping"}'


def book_frame(kind: str, number: int, engine: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    data = {
        "s": symbol,
        "b": [["78715", "1.271882"]],
        "a": [["78715.1", "0"]],
        "u": number,
        "seq": engine,
    }
    return {
        "topic": f"orderbook.200.{symbol}",
        "ts": 1787612486096,
        "type": kind,
        "data": data,
        "cts": 1787612486094,
    }


FRAMES: list[Any] = [
    book_frame("snapshot", 10, 100),
    book_frame("delta", 11, 101),
    {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1786310819681, "data": [TRADE, SPOT_TRADE]},
    {"success": True, "ret_msg": "subscribe", "conn_id": "d9a", "op": "subscribe"},
    {"success": False, "ret_msg": "Invalid topic: orderbook.200.XUSDT", "conn_id": "d", "op": "subscribe"},
    {"op": "pong", "args": ["1675418560633"], "conn_id": "cfcb4ocsvfriu23r3er0-1b"},
]


def streams(*symbols: str) -> list[Subscription]:
    return [Subscription(f"orderbook.200.{symbol}", "depth", symbol) for symbol in symbols]


def names(*symbols: str) -> list[str]:
    return [each.stream for each in streams(*symbols)]


def answer(name: str | None = None, problem: str = "", operation: str = "subscribe") -> str:
    named = {} if name is None else {"req_id": name}
    success = not problem
    return json.dumps({"success": success, "ret_msg": problem, "conn_id": "d", **named, "op": operation})


def session_of(**changes: Any) -> BybitSession:
    return BybitSession("bybit", BybitSettings(symbols=["S"], **changes))


def only(events: list[Event]) -> Message:
    (event,) = events
    assert isinstance(event, Message)
    return event


def test_a_request_has_ten_topics_at_most():
    frames = session_of().subscribe(streams(*(f"S{number}" for number in range(25))), 7)
    requests = [json.loads(frame) for frame in frames]
    assert [len(request["args"]) for request in requests] == [10, 10, 5]
    assert len({request["req_id"] for request in requests}) == 3
    assert requests[0]["req_id"] == "7"
    assert requests[0]["args"][0] == "orderbook.200.S0"
    (frame,) = session_of().unsubscribe(streams("A"), 8)
    assert json.loads(frame)["op"] == "unsubscribe"


@given(st.permutations([0, 1, 2]))
def test_answers_with_a_name_may_come_in_any_order(order: list[int]):
    session = session_of()
    for number in range(3):
        session.subscribe(streams(f"S{number}"), number)
    for number in order:
        assert session.received(answer(str(number)), 1) == [Accepted(names(f"S{number}"))]
    assert session.received(answer("1"), 1) == [Ignored("subscribe")]


def test_answers_without_a_name_come_in_the_order_of_the_requests():
    session = session_of()
    session.unsubscribe(streams("A"), 1)
    session.subscribe(streams("A"), 2)
    session.subscribe(streams("B"), 3)
    assert session.received(answer(), 1) == [Accepted(names("A"))]
    assert session.received(answer(""), 1) == [Accepted(names("B"))]
    assert session.received(answer(operation="unsubscribe"), 1) == []
    assert session.received(answer(problem="no"), 1) == [Refused(None, 0, "no")]


def test_the_others_of_a_refused_request_are_asked_for_again():
    session = session_of()
    session.subscribe(streams("AUSDT", "XUSDT", "BUSDT"), 1)
    problem = "Invalid topic: orderbook.200.XUSDT"
    refusal, again = session.received(answer("1", problem), 1)
    assert refusal == RefusedStreams(names("XUSDT"), 0, problem)
    assert isinstance(again, Send)
    request = json.loads(again.text)
    assert request["args"] == names("AUSDT", "BUSDT")
    taken = "error:already subscribed,topic:orderbook.200.AUSDT"
    accepted, again = session.received(answer(request["req_id"], taken), 1)
    assert accepted == Accepted(names("AUSDT"))
    assert isinstance(again, Send)
    request = json.loads(again.text)
    assert session.received(answer(request["req_id"]), 1) == [Accepted(names("BUSDT"))]


def test_the_others_of_a_refused_request_stand_where_the_setting_says_so():
    session = session_of(refusal="topic")
    session.subscribe(streams("AUSDT", "XUSDT"), 1)
    problem = "Invalid topic: orderbook.200.XUSDT"
    assert session.received(answer("1", problem), 1) == [
        RefusedStreams(names("XUSDT"), 0, problem),
        Accepted(names("AUSDT")),
    ]


def test_a_refusal_that_names_nothing_is_of_its_request():
    session = session_of()
    session.subscribe(streams("AUSDT", "BUSDT"), 1)
    session.subscribe(streams("CUSDT"), 2)
    assert session.received(answer("1", "bad"), 1) == [RefusedStreams(names("AUSDT", "BUSDT"), 0, "bad")]
    longer = "Invalid topic: orderbook.200.CUSDT-26DEC25"
    assert session.received(answer("2", longer), 1) == [RefusedStreams(names("CUSDT"), 0, longer)]


def test_a_refusal_is_of_the_topic_named_and_of_none_that_begins_like_it():
    session = session_of()
    session.subscribe(streams("CUSDT", "CUSDT-26DEC25"), 1)
    problem = "Invalid topic: orderbook.200.CUSDT-26DEC25"
    refusal, _ = session.received(answer("1", problem), 1)
    assert refusal == RefusedStreams(names("CUSDT-26DEC25"), 0, problem)


def test_an_answer_to_a_name_that_was_not_given_answers_nothing():
    session = session_of()
    session.subscribe(streams("AUSDT"), 1)
    assert session.received(answer("99"), 1) == [Ignored("subscribe")]
    assert session.received(answer("1"), 1) == [Accepted(names("AUSDT"))]


def test_a_stream_may_be_taken_back_and_asked_for_under_one_number():
    session = session_of()
    (back,) = session.unsubscribe(streams("AUSDT"), 1)
    session.subscribe(streams("AUSDT"), 1)
    assert session.received(answer("1"), 1) == [Accepted(names("AUSDT"))]
    assert session.received(answer(json.loads(back)["req_id"], operation="unsubscribe"), 1) == []


def test_a_snapshot_may_come_before_its_answer():
    session = session_of()
    session.subscribe(streams("BTCUSDT"), 1)
    frame = json.dumps(FRAMES[0]).encode()
    event = only(session.received(frame, 1))
    assert (event.kind, event.update_id, event.first_id, event.previous_id, event.event_ms, event.data) == (
        "snapshot",
        10,
        10,
        -1,
        1787612486096,
        frame,
    )
    assert session.received(answer("1"), 1) == [Accepted(names("BTCUSDT"))]


def feed_book(
    session: BybitSession, kind: str, number: int, engine: int, symbol: str = "BTCUSDT"
) -> list[Event]:
    return session.received(json.dumps(book_frame(kind, number, engine, symbol)), 1)


def test_an_id_of_one_is_a_restart_whatever_the_type_says():
    session = session_of()
    feed_book(session, "snapshot", 500, 100)
    assert only(feed_book(session, "delta", 1, 101)).kind == "restart"
    assert only(feed_book(session, "delta", 2, 102)).kind == "update"
    assert only(feed_book(session, "snapshot", 1, 103)).kind == "restart"


def test_repeated_ids_are_dropped_and_ids_that_fell_make_the_stream_stale():
    session = session_of()
    feed_book(session, "snapshot", 500, 100)
    assert feed_book(session, "delta", 500, 100) == [Ignored("repeated book message")]
    assert only(feed_book(session, "delta", 501, 101)).update_id == 501
    assert feed_book(session, "delta", 300, 102) == [Stale(names("BTCUSDT"), "reset")]
    assert feed_book(session, "delta", 301, 103) == []
    assert only(feed_book(session, "delta", 7, 103, "ETHUSDT")).kind == "update"
    assert only(feed_book(session, "snapshot", 302, 104)).kind == "restart"
    assert only(feed_book(session, "delta", 303, 105)).kind == "update"
    assert [only(feed_book(session, "snapshot", at, 106)).kind for at in (303, 310)] == [
        "snapshot",
        "snapshot",
    ]
    with pytest.raises(MalformedFrame, match="type"):
        feed_book(session, "whole", 311, 107)


def test_a_hole_is_left_to_the_readers_and_without_continuity_nothing_is_numbered():
    session = session_of()
    feed_book(session, "snapshot", 500, 100)
    assert only(feed_book(session, "delta", 505, 101)).update_id == 505
    other = session_of(continuity="none")
    feed_book(other, "snapshot", 500, 100)
    event = only(feed_book(other, "delta", 400, 101))
    assert (event.first_id, event.update_id) == (0, 0)


def test_a_ping_is_due_each_20_seconds():
    session = session_of()
    assert session.opened(1_000) == []
    assert session.tick(20_999) == []
    assert session.tick(21_000) == [Send('{"op":"ping"}')]
    assert session.received(PONG, 21_100) == session.received(json.dumps(FRAMES[5]), 21_100) == []
    assert session.tick(40_999) == []
    assert session.tick(41_000) == [Send('{"op":"ping"}')]


def test_each_trade_is_its_own_slice_and_has_its_own_name():
    first, second = session_of().received(json.dumps(FRAMES[2]), 1)
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.data, second.data) == (json.dumps(TRADE).encode(), json.dumps(SPOT_TRADE).encode())
    assert (first.name, second.name) == (TRADE["i"], SPOT_TRADE["i"])
    assert (first.channel, first.symbol, first.update_id, first.event_ms) == (
        "aggTrade",
        "BTCUSDT",
        0,
        1786310819680,
    )


@given(st.lists(st.uuids(), max_size=8), st.sampled_from([None, 1, (",", ":")]))
def test_a_frame_is_split_into_its_trades_byte_for_byte(identities: list[Any], spacing: Any):
    style = {"separators": spacing} if isinstance(spacing, tuple) else {"indent": spacing}
    rows = [json.dumps({**TRADE, "i": str(identity)}, **style) for identity in identities]
    frame = f'{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{" , ".join(rows)}]}}'
    events = session_of().received(frame, 1)
    assert [event.data.decode() for event in events if isinstance(event, Message)] == rows
    assert [event.name for event in events if isinstance(event, Message)] == list(map(str, identities))


def test_topics_that_were_not_asked_for_are_ignored():
    frame = json.dumps(FRAMES[0])
    assert session_of(depth=50).received(frame, 1) == [Ignored("orderbook.200.BTCUSDT")]
    assert session_of(trades="none").received(json.dumps(FRAMES[2]), 1) == [Ignored("publicTrade.BTCUSDT")]


def feed(data: bytes | str, **changes: Any) -> None:
    """Through a session and the decoders: a MalformedFrame or nothing."""
    venue = Bybit("bybit", BybitSettings(symbols=["S"], **changes))
    session = venue.session("")
    session.subscribe(streams("BTCUSDT", "XUSDT"), 1)
    decode(venue, lambda: session.received(data, 1))


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_frame_with_rubbish_in_it_is_malformed_or_harmless(frame: Any):
    @hypothesis_settings(max_examples=120)
    @given(st.one_of(spoiled(frame), cut_up(json.dumps(frame).encode())), st.booleans())
    def check(data: bytes, as_text: bool) -> None:
        for changes in ({}, {"continuity": "none", "refusal": "topic"}):
            feed(data.decode(errors="surrogateescape") if as_text else data, **changes)

    check()


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80)))
def test_any_bytes_are_malformed_or_harmless(data: bytes | str):
    feed(data)
