"""Sockets of Bitfinex frame by frame: numbers of channels, the count of the socket, refusals, notices, rubbish."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.venues.bitfinex.checksum import as_sent, book_checksum
from workers.venues.bitfinex.session import BitfinexSession
from workers.venues.bitfinex.settings import BitfinexSettings
from workers.venues.bitfinex.venue import Bitfinex
from workers.venues.messages import Ignored, Message, Refused
from workers.venues.session import Accepted, Broken, RefusedStreams, Send, Stale

VENUE = Bitfinex("bitfinex", BitfinexSettings(symbols=["S"]))
TIME = 1790134414850
FRAMES = [
    frame.encode()
    for frame in (
        '{"event":"info","version":2,"serverId":"x","platform":{"status":1}}',
        '{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}',
        '{"event":"conf","status":"OK","flags":229376}',
        '{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"100"}',
        '{"event":"subscribed","channel":"trades","chanId":8,"symbol":"tDOGE:USD","pair":"DOGE:USD"}',
        '{"channel":"book","symbol":"tNOPE","len":"25","event":"error","msg":"symbol: invalid","code":10300}',
        '{"event":"unsubscribed","status":"OK","chanId":7}',
        f"[7,[[86704,1,0.03460649],[86719,2,-0.03483509]],1,{TIME}]",
        f"[7,[86664,0,1],2,{TIME}]",
        f'[7,"cs",1330055495,3,{TIME}]',
        f'[7,"hb",4,{TIME}]',
        f"[8,[[12,1617643611128,7e-7,0.25],[11,1617643611000,-1.5,0.25]],5,{TIME}]",
        f'[8,"te",[13,1617643612000,-0.5,0.26],6,{TIME}]',
        f'[8,"tu",[13,1617643612000,-0.5,0.26],7,{TIME}]',
    )
]


def opened() -> BitfinexSession:
    session = VENUE.session("")
    assert json.loads(session.opened(0)[0]) == {"event": "conf", "flags": 229376}
    return session


def messages(session: BitfinexSession, *frames: bytes | str) -> list[Message]:
    return [event for frame in frames for event in session.received(frame, 0) if isinstance(event, Message)]


def subscribed(stream: str, number: int) -> str:
    channel, _, symbol = stream.partition(":")
    return json.dumps({"event": "subscribed", "channel": channel, "chanId": number, "symbol": symbol})


def refused(stream: str, code: int = 10300, **without: None) -> str:
    channel, _, symbol = stream.partition(":")
    frame = {"event": "error", "channel": channel, "symbol": symbol, "code": code, "msg": "symbol: invalid"}
    return json.dumps({key: value for key, value in frame.items() if key not in without})


def test_each_stream_has_a_frame_of_its_own():
    book, trades = opened().subscribe(VENUE.endpoints(["DOGE_USD"])[0].subscriptions, 1)
    assert json.loads(book) == {"event": "subscribe", "channel": "book", "symbol": "tDOGE:USD", "prec": "P0",
                                "freq": "F0", "len": "100"}  # fmt: skip
    assert json.loads(trades) == {"event": "subscribe", "channel": "trades", "symbol": "tDOGE:USD"}


def test_frames_are_filed_by_the_numbers_of_their_channels():
    session = opened()
    found = messages(session, *FRAMES[2:5], *FRAMES[7:])
    assert [(m.channel, m.symbol, m.kind, m.event_ms) for m in found] == [
        ("depth", "BTCUSD", "snapshot", TIME),
        ("depth", "BTCUSD", "update", TIME),
        ("depth", "BTCUSD", "checksum", TIME),
        ("aggTrade", "DOGE_USD", "update", 1617643611000),
        ("aggTrade", "DOGE_USD", "update", 1617643611128),
        ("aggTrade", "DOGE_USD", "update", 1617643612000),
    ]
    events = [VENUE.depth(m.data, m.symbol, m.kind) for m in found[:3]]
    assert (events[0].bids, events[0].asks) == ([("86704", "0.03460649")], [("86719", "0.03483509")])
    assert (events[1].bids, events[1].asks, events[1].checksum) == ([("86664", "0")], [], None)
    assert (events[2].bids, events[2].asks, events[2].checksum) == ([], [], 1330055495)
    trades = [VENUE.trade(m.data, m.symbol) for m in found[3:]]
    assert [(t.trade_id, t.price, t.quantity, t.is_buyer_maker) for t in trades] == [
        (11, "0.25", "1.5", True), (12, "0.25", "0.0000007", False), (13, "0.26", "0.5", True)]  # fmt: skip


@pytest.mark.parametrize(
    ("ends", "time_ms"),
    [("", -1), (",1", -1), (f",1,{TIME}", TIME), (f",{TIME}", TIME)],
    ids=["none", "number", "both", "time"],
)
def test_the_ends_of_a_frame_tell_what_they_are(ends: str, time_ms: int):
    session = VENUE.session("")
    (message,) = messages(session, FRAMES[3], f"[7,[[86704,1,0.5]]{ends}]")
    event = VENUE.depth(message.data, "BTCUSD", message.kind)
    assert message.event_ms == event.event_time == time_ms
    assert event.bids == [("86704", "0.5")]


def test_a_snapshot_is_the_first_payload_however_short():
    session = opened()
    found = messages(
        session, FRAMES[3], "[7,[86704,1,0.5],1]", "[7,[],2]", "[7,[86704,1,0.5],3]", "[7,[[1,1,1]],4]"
    )
    assert [m.kind for m in found] == ["snapshot", "update", "update", "snapshot"]
    assert VENUE.depth(found[0].data, "BTCUSD", "snapshot").bids == [("86704", "0.5")]


def test_with_bulk_updates_a_list_is_a_change():
    session = VENUE.session("")
    found = messages(
        session,
        '{"event":"conf","status":"OK","flags":536870912}',
        FRAMES[3],
        "[7,[[1,1,1]]]",
        "[7,[[1,0,1]]]",
    )
    assert [m.kind for m in found] == ["snapshot", "update"]


def test_a_socket_whose_frames_lack_the_numbers_that_were_asked_for_is_replaced():
    """Its flags were refused: a lost frame would show nowhere."""
    session = opened()
    session.received('{"event":"conf","status":"FAILED","flags":0}', 0)
    messages(session, FRAMES[3])
    assert session.received("[7,[[1,1,1]]]", 0) == [Broken("sequence", 1, 0)]
    assert session.received("[7,[1,0,1]]", 0) == []


def test_every_array_counts_and_a_hole_breaks_the_socket_once():
    session = opened()
    messages(session, FRAMES[3])
    assert session.received('[7,"hb",1]', 0) == []
    assert session.received("[99,[1],2]", 0) == [Ignored("a channel without a name")]
    assert len(messages(session, "[7,[[1,1,1]],3]")) == 1
    assert session.received("[7,[1,1,2],5]", 0) == [Broken("sequence", 4, 5)]
    assert session.received("[7,[1,1,2],6]", 0) == []
    assert session.received('{"event":"info","code":20051}', 0) == [Ignored("info 20051")]


def test_the_count_begins_at_one():
    session = opened()
    assert session.received("[7,[[1,1,1]],2]", 0) == [Broken("sequence", 1, 2)]


def test_what_cannot_be_filed_is_not_counted():
    session = opened()
    messages(session, FRAMES[3], "[7,[[1,1,1]],1]")
    for rubbish in (
        "[7,{},2]",
        "[7,[1,1,1]]",
        '[7,"cs"]',
        "[7,[1],0]",
        "[7,[1],2,3,4]",
        "[7,[1],2,3]",
        "[]",
        "[-1,[1],2]",
    ):
        with pytest.raises(MalformedFrame):
            session.received(rubbish, 0)
    assert len(messages(session, "[7,[1,1,2],2]")) == 1


@pytest.mark.parametrize(("code", "reason"), [(20051, "restart"), (20061, "maintenance")])
def test_notices_end_the_books_of_a_socket(code: int, reason: Any):
    session = opened()
    messages(session, FRAMES[3])
    assert session.received(json.dumps({"event": "info", "code": code, "msg": "x"}), 0) == [Broken(reason)]
    assert session.received(FRAMES[7], 0) == []


def test_in_maintenance_the_books_end_and_nothing_is_asked_until_it_is_over():
    session = opened()
    messages(session, FRAMES[3])
    begins, over = ({"event": "info", "code": code, "msg": "x"} for code in (20060, 20061))
    [stale] = session.received(json.dumps(begins), 0)
    assert isinstance(stale, Stale)
    assert (stale.reason, stale.streams) == ("maintenance", ["book:tBTCUSD"])
    assert messages(session, FRAMES[4]) == []  # what the book is told meanwhile is not relied on
    streams = VENUE.endpoints(["BTCUSD"])[0].subscriptions
    assert session.unsubscribe(streams, 2) == []
    assert session.subscribe(streams, 3) == []
    assert session.received(json.dumps(over), 0) == [Broken("maintenance")]


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_each_stream_is_accepted_or_refused_once_in_any_order(order: list[int], without: set[int]):
    session = opened()
    streams = VENUE.endpoints(["BTCUSD", "DOGE_USD", "ETHUSD"])[0].subscriptions
    session.subscribe(streams, 1)
    gone, accepted = [], []
    for index in order:
        name = streams[index].stream
        frame = refused(name) if index in without else subscribed(name, 100 + index)
        for event in session.received(frame, 0):
            if isinstance(event, RefusedStreams):
                gone += event.streams
            elif isinstance(event, Accepted):
                accepted += event.streams
    assert sorted(gone) == sorted(streams[index].stream for index in without)
    assert sorted(accepted) == sorted(streams[index].stream for index in set(order) - without)
    assert not session._pending


def test_a_refusal_without_names_is_of_what_is_open():
    session = opened()
    streams = VENUE.endpoints(["BTCUSD"])[0].subscriptions
    session.subscribe(streams, 1)
    assert session.received(refused("book:tBTCUSD", channel=None), 0) == [
        RefusedStreams(["book:tBTCUSD", "trades:tBTCUSD"], 10300, "symbol: invalid")
    ]
    session.subscribe(streams[:1], 2)
    assert session.received(refused("book:tBTCUSD", 10305, channel=None, symbol=None), 0) == [
        RefusedStreams(["book:tBTCUSD"], 10305, "symbol: invalid")
    ]
    assert session.received('{"event":"error","code":10400,"msg":"unsubscribe: invalid"}', 0) == [
        Refused(None, 10400, "unsubscribe: invalid")
    ]


def test_subscribed_already_refuses_nothing_even_before_the_ack():
    session = opened()
    session.subscribe(VENUE.endpoints(["BTCUSD"])[0].subscriptions[:1], 1)
    assert session.received(refused("book:tBTCUSD", 10301), 0) == [Ignored("subscribed already")]
    assert session.received(FRAMES[3], 0) == [Accepted(["book:tBTCUSD"])]


def test_a_stream_is_taken_back_by_its_number_when_it_has_one():
    session = opened()
    streams = VENUE.endpoints(["BTCUSD"])[0].subscriptions[:1]
    session.subscribe(streams, 1)
    assert session.unsubscribe(streams, 2) == []
    _, send = session.received(FRAMES[3], 0)
    assert isinstance(send, Send)
    assert json.loads(send.text) == {"event": "unsubscribe", "chanId": 7}
    assert [json.loads(frame) for frame in session.unsubscribe(streams, 3)] == [
        {"event": "unsubscribe", "chanId": 7}
    ]
    session.received(FRAMES[6], 0)
    assert session.unsubscribe(streams, 4) == []


def test_a_stream_taken_back_and_wanted_again_before_its_ack_stays():
    session = opened()
    streams = VENUE.endpoints(["BTCUSD"])[0].subscriptions[:1]
    session.subscribe(streams, 1)
    session.unsubscribe(streams, 2)
    assert session.subscribe(streams, 3) == []
    assert session.received(FRAMES[3], 0) == [Accepted(["book:tBTCUSD"])]


def test_a_stream_asked_for_anew_begins_with_a_snapshot():
    session = VENUE.session("")
    streams = VENUE.endpoints(["BTCUSD"])[0].subscriptions[:1]
    session.subscribe(streams, 1)
    messages(session, FRAMES[3], "[7,[[1,1,1]]]")
    assert len(session.unsubscribe(streams, 2)) == len(session.subscribe(streams, 2)) == 1
    found = messages(session, "[7,[1,1,2]]", FRAMES[6], FRAMES[3].replace(b"7", b"9"), "[9,[[1,1,1]]]")
    assert [m.kind for m in found] == ["update", "snapshot"]


def test_a_snapshot_before_its_name_is_lost_and_the_stream_asked_for_anew():
    session = VENUE.session("")
    session.received("[7,[[1,1,1]]]", 0)
    assert session.received(FRAMES[3], 0) == [Accepted(["book:tBTCUSD"]), Stale(["book:tBTCUSD"], "reset")]
    assert session.received("[7,[1,1,2]]", 0) == [Ignored("what came before a snapshot")]


def test_other_channels_and_repetitions_feed_nothing():
    session = opened()
    session.received('{"event":"subscribed","channel":"ticker","chanId":3,"symbol":"tBTCUSD"}', 0)
    assert session.received("[3,[1,2,3,4],1]", 0) == [Ignored("ticker")]
    session.received(FRAMES[4], 0)
    assert session.received('[8,"tu",[13,1617643612000,-0.5,0.26],2]', 0) == [Ignored("tu")]


@pytest.mark.parametrize(
    ("plain", "sent"),
    [("0.000001", "0.000001"), ("0.00000066", "6.6e-7"), ("0.00000001", "1e-8"), ("0.000000700", "7e-7"),
     ("86704", "86704"), ("0", "0"), ("0.00000000", "0")],
)  # fmt: skip
def test_numbers_are_printed_as_javascript_does(plain: str, sent: str):
    assert as_sent(plain) == sent


def test_a_side_that_has_ended_is_passed_over():
    unsigned = crc32(b"2:1:3:-4:1:0.5")
    assert book_checksum([("2", "1"), ("1", "0.5")], [("3", "4")]) in (unsigned, unsigned - 2**32)
    assert book_checksum([], []) == 0


def digest(session: BitfinexSession, frame: bytes | str) -> None:
    """Whatever comes, only MalformedFrame may be raised, here or where a message is decoded."""
    try:
        for event in session.received(frame, 0):
            assert not isinstance(event, RefusedStreams) or event.streams
            if isinstance(event, Message) and event.channel == "depth":
                VENUE.depth(event.data, event.symbol, event.kind)
            elif isinstance(event, Message):
                VENUE.trade(event.data, event.symbol)
    except MalformedFrame:
        pass


@given(st.lists(mutated(FRAMES), min_size=1, max_size=5))
def test_mutated_frames_raise_nothing_but_malformed_frame(frames: list[bytes]):
    session = opened()
    session.subscribe(VENUE.endpoints(["BTCUSD", "DOGE_USD"])[0].subscriptions, 1)
    for frame in [*FRAMES[2:5], *frames, *FRAMES[7:]]:
        digest(session, frame)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=40)))
def test_any_bytes_raise_nothing_but_malformed_frame(frame: bytes | str):
    digest(opened(), frame)


@given(mutated(FRAMES), st.sampled_from(["snapshot", "update", "checksum"]))
def test_rubbish_where_a_book_or_a_trade_was_raises_nothing_but_malformed_frame(data: bytes, kind: Any):
    for decode in (lambda: VENUE.depth(data, "A", kind), lambda: VENUE.trade(data, "A")):
        try:
            decode()
        except MalformedFrame:
            pass
