"""A socket of OKX: answers in any order, refusals, keep-alive, ids that begin anew; and any bytes at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from spoiled_json import cut_up, decode, spoiled

from workers.errors import MalformedFrame
from workers.ingest.line import Line
from workers.settings.schema import IngestSettings
from workers.store.keys import Keys
from workers.store.log.streams import RawEntry
from workers.venues.messages import ContractNotice, Ignored, Message, Refused, ShutdownNotice, Subscription
from workers.venues.okx.session import OkxSession
from workers.venues.okx.settings import OkxSettings
from workers.venues.okx.venue import Okx
from workers.venues.session import Accepted, RefusedStreams, Send, Stale

BOOK = {"asks": [["8476.98", "415", "0", "13"]], "bids": [["8476.97", "256", "0", "12"]], "ts": "1597026383085",
        "checksum": 0, "seqId": 123456, "prevSeqId": -1}  # fmt: skip
TRADE = {"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306", "side": "buy",
         "ts": "1630048897897", "count": "3", "source": "0", "seqId": 1234}  # fmt: skip
DOUBTED = (
    '{"event":"error","code":"60018","msg":"Wrong URL or channel:books,instId:BTC-USDX doesn\'t exist.",'
    '"connId":"a4d3ae55"}'
)
FRAMES: list[Any] = [
    {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": "snapshot", "data": [BOOK]},
    {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": "update", "data": [BOOK, BOOK]},
    {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [TRADE, TRADE]},
    {"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": [TRADE]},
    {"arg": {"channel": "instruments", "instType": "SPOT"}, "data": [{"instId": "A-B", "state": "preopen"}]},
    {
        "id": "1",
        "event": "subscribe",
        "arg": {"channel": "books", "instId": "BTC-USDT"},
        "connId": "32f4414f",
    },
    {"event": "error", "code": "60012", "msg": "Illegal request", "connId": "a4d3ae55"},
    {"event": "notice", "code": "64008", "msg": "…", "connId": "a4d3ae55"},
]


def session_of(**changes: Any) -> OkxSession:
    return OkxSession("okx", OkxSettings(symbols=["S"], **changes))


def depth_stream(symbol: str) -> Subscription:
    return Subscription(f"books:{symbol}", "depth", symbol)


def book_frame(action: str, number: int, previous: int, symbol: str = "BTC-USDT", **changes: Any) -> str:
    book = {**BOOK, "seqId": number, "prevSeqId": previous, **changes}
    return json.dumps({"arg": {"channel": "books", "instId": symbol}, "action": action, "data": [book]})


def acknowledgement(symbol: str) -> str:
    return json.dumps({"event": "subscribe", "arg": {"channel": "books", "instId": symbol}, "connId": "a"})


def test_streams_are_asked_for_in_one_frame():
    (frame,) = session_of().subscribe([depth_stream("BTC-USDT"), depth_stream("ETH-USDT")], 7)
    assert json.loads(frame) == {
        "id": "7",
        "op": "subscribe",
        "args": [{"channel": "books", "instId": "BTC-USDT"}, {"channel": "books", "instId": "ETH-USDT"}],
    }


def test_a_long_request_is_cut_into_frames_that_the_exchange_takes():
    streams = [depth_stream(f"{'X' * 40}{number}-USDT") for number in range(900)]
    for frames in (session_of().subscribe(streams, 7), session_of().unsubscribe(streams, 8)):
        assert max(map(len, frames)) < 65_536
        assert len({json.loads(frame)["id"] for frame in frames}) == len(frames) == 3
        assert sum(len(json.loads(frame)["args"]) for frame in frames) == 900


@given(st.permutations(["A-USDT", "B-USDT", "C-USDT"]))
def test_answers_may_come_in_any_order(symbols: list[str]):
    session = session_of()
    session.subscribe([depth_stream(symbol) for symbol in ("A-USDT", "B-USDT")], 1)
    session.subscribe([depth_stream("C-USDT")], 2)
    for symbol in symbols:
        assert session.received(acknowledgement(symbol), 1) == [Accepted([f"books:{symbol}"])]
    assert session.received(FRAMES_TEXT[6], 1) == [Refused(None, 60012, "Illegal request")]


FRAMES_TEXT = [json.dumps(frame) for frame in FRAMES]


def test_a_refusal_is_of_the_stream_that_its_text_names():
    session = session_of()
    session.subscribe([depth_stream(symbol) for symbol in ("BTC-USD", "BTC-USDX", "BTC-USDX-SWAP")], 1)
    (event,) = session.received(DOUBTED, 1)
    assert isinstance(event, RefusedStreams)
    assert (event.streams, event.code) == (["books:BTC-USDX"], 60018)
    assert session.received(acknowledgement("BTC-USD"), 1) == [Accepted(["books:BTC-USD"])]


def test_a_refusal_of_what_was_not_asked_for_blames_no_stream():
    session = session_of()
    session.subscribe([depth_stream("BTC-USDT")], 1)
    (event,) = session.received(DOUBTED, 1)
    assert isinstance(event, Refused)


def test_a_refusal_without_a_name_is_of_its_request_or_of_the_oldest():
    session = session_of()
    session.subscribe([depth_stream("A-USDT")], 1)
    session.subscribe([depth_stream("B-USDT"), depth_stream("C-USDT")], 2)
    frame = '{"id":"2","event":"error","code":"60012","msg":"Illegal request","connId":"a4d3ae55"}'
    assert session.received(frame, 1) == [
        RefusedStreams(["books:B-USDT", "books:C-USDT"], 60012, "Illegal request")
    ]
    assert session.received(FRAMES_TEXT[6], 1) == [RefusedStreams(["books:A-USDT"], 60012, "Illegal request")]
    session.subscribe([depth_stream("D-USDT"), depth_stream("E-USDT"), depth_stream("F-USDT")], 2)
    session.received(acknowledgement("D-USDT"), 1)
    session.unsubscribe([depth_stream("E-USDT")], 3)
    assert session.received(frame, 1) == [RefusedStreams(["books:F-USDT"], 60012, "Illegal request")]


def test_a_snapshot_may_come_before_its_answer():
    session = session_of()
    session.subscribe([depth_stream("BTC-USDT")], 1)
    (event,) = session.received(book_frame("snapshot", 5, -1), 1)
    assert isinstance(event, Message)
    assert (event.kind, event.update_id, event.previous_id, event.event_ms) == (
        "snapshot",
        5,
        -1,
        1597026383085,
    )
    assert session.received(acknowledgement("BTC-USDT"), 1) == [Accepted(["books:BTC-USDT"])]


def test_ids_that_begin_anew_make_the_stream_stale_until_a_snapshot():
    session = session_of()
    session.received(book_frame("snapshot", 500, -1), 1)
    assert session.received(book_frame("update", 3, 500), 1) == [Stale(["books:BTC-USDT"], "reset")]
    assert session.received(book_frame("update", 7, 3), 1) == []
    (other,) = session.received(book_frame("update", 9, 8, "ETH-USDT"), 1)
    assert isinstance(other, Message)
    (event,) = session.received(book_frame("snapshot", 8, -1), 1)
    assert isinstance(event, Message)
    assert event.kind == "restart"
    (event,) = session.received(book_frame("update", 9, 8), 1)
    assert isinstance(event, Message)
    assert event.kind == "update"


def test_ids_that_begin_anew_go_on_where_the_setting_says_so():
    session = session_of(sequence_reset="continue")
    session.received(book_frame("snapshot", 500, -1), 1)
    (event,) = session.received(book_frame("update", 3, 500), 1)
    assert isinstance(event, Message)
    assert (event.kind, event.update_id, event.previous_id) == ("update", 3, 500)


def test_a_message_without_change_and_a_hole_are_left_to_the_readers():
    session = session_of()
    session.received(book_frame("snapshot", 500, -1), 1)
    for number, previous in ((500, 500), (510, 505)):
        (event,) = session.received(book_frame("update", number, previous), 1)
        assert isinstance(event, Message)
        assert (event.update_id, event.previous_id) == (number, previous)


def test_word_that_a_book_stands_still_ends_no_book():
    """A minute after the last change, and each minute after that, an id follows itself."""
    okx = Okx("okx", OkxSettings(symbols=["BTC-USDT"]))
    entries: list[RawEntry] = []
    line = Line(okx, Keys("okx:"), "a", IngestSettings(), ["BTC-USDT"], entries.append)
    frames = [("snapshot", 500, -1), ("update", 510, 500), *[("update", 510, 510)] * 3, ("update", 512, 510)]
    book = okx.book_rule.sync("BTC-USDT")
    for minute, (action, number, previous) in enumerate(frames):
        ms = int(BOOK["ts"]) + minute * 60_000  # type: ignore[call-overload]
        [message] = line.frame(book_frame(action, number, previous, ts=str(ms)), ms * 1000) or ()
        assert isinstance(message, Message)  # the stream lives
        book.on_event(okx.depth(message.data, "BTC-USDT", message.kind), ms)
        assert book.publishable
    assert [entry.update_id for entry in entries] == [500, 510, 512]


def test_a_ping_is_due_after_silence_and_its_answer_is_no_json():
    session = session_of()
    assert session.opened(1_000) == []
    assert session.tick(20_999) == []
    assert session.tick(21_000) == [Send("ping")]
    assert session.tick(40_999) == []
    assert session.tick(41_000) == [Send("ping")]
    assert session.received("pong", 42_000) == session.received(b"pong", 42_000) == []
    assert session.tick(61_999) == []


def test_notices_and_unknown_channels():
    session = session_of()
    assert session.received(FRAMES_TEXT[7], 1) == [ShutdownNotice()]
    assert session.received(FRAMES_TEXT[4], 1) == [ContractNotice("A-B", "preopen", -1)]
    assert session.received(FRAMES_TEXT[2], 1) == [Ignored("trades")]


def test_each_trade_of_a_frame_is_its_own_slice():
    session = session_of(trades="trades")
    first, second = session.received(FRAMES_TEXT[2], 1)
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert first.data == second.data == json.dumps(TRADE).encode()
    assert (first.channel, first.update_id, first.event_ms) == ("aggTrade", 130639474, 1630048897897)


@given(st.lists(st.integers(0, 2**63 - 1), max_size=8).map(sorted), st.sampled_from([None, 1, (",", ":")]))
def test_a_frame_is_split_into_its_trades_byte_for_byte(identities: list[int], spacing: Any):
    style = {"separators": spacing} if isinstance(spacing, tuple) else {"indent": spacing}
    rows = [json.dumps({**TRADE, "tradeId": str(identity)}, **style) for identity in identities]
    frame = f'{{"arg":{{"channel":"trades-all","instId":"BTC-USDT"}},"data":[{" , ".join(rows)}]}}'
    events = session_of().received(frame, 1)
    assert [event.data.decode() for event in events if isinstance(event, Message)] == rows
    assert [event.update_id for event in events if isinstance(event, Message)] == identities


def test_a_frame_of_two_books_is_split_and_each_is_decoded():
    books = [{**BOOK, "seqId": 12, "prevSeqId": 11}, {**BOOK, "seqId": 15, "prevSeqId": 12}]
    frame = json.dumps({"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": "update", "data": books})
    events = [event for event in session_of().received(frame, 1) if isinstance(event, Message)]
    assert [event.data for event in events] == [json.dumps(book).encode() for book in books]
    venue = Okx("okx", OkxSettings(symbols=["S"]))
    found = [venue.depth(event.data, event.symbol, event.kind) for event in events]
    assert [(depth.previous_id, depth.last_id) for depth in found] == [(11, 12), (12, 15)]
    with pytest.raises(MalformedFrame, match="2 books"):
        venue.depth(frame.encode(), "BTC-USDT", "update")


def test_a_book_without_ids_is_refused_where_it_is_not_expected():
    frame = '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"ts":"1"}]}'
    with pytest.raises(MalformedFrame, match="seqId"):
        session_of().received(frame, 1)


def feed(data: bytes | str, **changes: Any) -> None:
    """Through a session and the decoders: a MalformedFrame or nothing."""
    venue = Okx("okx", OkxSettings(symbols=["S"], **changes))
    session = venue.session("")
    session.subscribe([depth_stream("BTC-USDT")], 1)
    decode(venue, lambda: session.received(data, 1))


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_frame_with_rubbish_in_it_is_malformed_or_harmless(frame: Any):
    @hypothesis_settings(max_examples=120)
    @given(st.one_of(spoiled(frame), cut_up(json.dumps(frame).encode())), st.booleans())
    def check(data: bytes, as_text: bool) -> None:
        for changes in ({}, {"trades": "trades", "legacy": True}):
            feed(data.decode(errors="surrogateescape") if as_text else data, **changes)

    check()


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80)))
def test_any_bytes_are_malformed_or_harmless(data: bytes | str):
    feed(data)
