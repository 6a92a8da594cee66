"""A socket of Bitstamp: answers in any order, errors that name nothing, keep-alive, order by time; and any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from spoiled_json import cut_up, decode, spoiled

from workers.errors import MalformedFrame
from workers.venues.bitstamp.session import BitstampSession
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.messages import Ignored, Message, Refused, ShutdownNotice, Subscription
from workers.venues.session import Accepted, RefusedStreams, Send

BOOK = {"timestamp": "1787612486", "microtimestamp": "1787612486338338", "bids": [["78703.58", "0.00000000"]],
        "asks": [["78703.69", "0.36000000"]]}  # fmt: skip
TRADE = {"id": 2001939623936278528, "id_str": "2001939623936278528", "type": 0, "amount": 0.00921,
         "amount_str": "0.00921", "price": 77204, "price_str": "77204", "timestamp": "1789456400586",
         "microtimestamp": "1789456400586000", "buy_order_id": 2050545360601216}  # fmt: skip
PROBLEM = {"code": None, "message": "Invalid channel provided."}
ERROR = {"event": "bts:error", "channel": "", "data": PROBLEM}
FRAMES: list[Any] = [
    {"data": BOOK, "channel": "diff_order_book_btcusd", "event": "data"},
    {"data": BOOK, "channel": "order_book_btcusd", "event": "data"},
    {"data": TRADE, "channel": "live_trades_btcusd-perp", "event": "trade"},
    {"event": "bts:subscription_succeeded", "channel": "diff_order_book_btcusd", "data": {}},
    ERROR,
    {"event": "bts:error", "channel": "live_trades_xusd", "data": {"code": 4, "message": "no"}},
    {"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}},
    {"event": "bts:request_reconnect", "channel": "", "data": None},
]


def streams(*symbols: str) -> list[Subscription]:
    return [Subscription(f"diff_order_book_{symbol.lower()}", "depth", symbol) for symbol in symbols]


def session_of(**changes: Any) -> BitstampSession:
    return BitstampSession("bitstamp", BitstampSettings(symbols=["S"], **changes))


def accepted(channel: str) -> str:
    return json.dumps({"event": "bts:subscription_succeeded", "channel": channel, "data": {}})


def book_frame(microseconds: int) -> bytes:
    book = {**BOOK, "microtimestamp": str(microseconds)}
    return json.dumps({"data": book, "channel": "diff_order_book_btcusd", "event": "data"}).encode()


def test_each_channel_has_a_frame_of_its_own():
    frames = session_of().subscribe(streams("BTCUSD", "BTCUSD-PERP"), 7)
    assert [json.loads(frame) for frame in frames] == [
        {"event": "bts:subscribe", "data": {"channel": "diff_order_book_btcusd"}},
        {"event": "bts:subscribe", "data": {"channel": "diff_order_book_btcusd-perp"}},
    ]
    (frame,) = session_of().unsubscribe(streams("BTCUSD"), 8)
    assert json.loads(frame)["event"] == "bts:unsubscribe"
    assert len(session_of().subscribe(streams("X" * 64), 1)[0]) < 512


@given(st.permutations(["AUSD", "BUSD", "CUSD", "error"]))
def test_an_error_is_of_the_channel_that_stays_without_an_answer(order: list[str]):
    session = session_of()
    session.subscribe(streams("AUSD", "BUSD", "CUSD", "DUSD"), 1)
    told = []
    for name in order:
        frame = json.dumps(ERROR) if name == "error" else accepted(f"diff_order_book_{name.lower()}")
        told += session.received(frame, 1)
    refused = [event for event in told if isinstance(event, RefusedStreams)]
    assert refused == [RefusedStreams(["diff_order_book_dusd"], 0, "Invalid channel provided.")]
    assert {event.streams[0] for event in told if isinstance(event, Accepted)} == {
        f"diff_order_book_{name}" for name in ("ausd", "busd", "cusd")
    }
    assert session.received(json.dumps(ERROR), 1) == [Refused(None, 0, "Invalid channel provided.")]


def test_an_error_whose_channel_does_not_show_is_of_all_that_wait():
    session = session_of()
    session.opened(0)
    session.subscribe(streams("AUSD", "BUSD", "CUSD"), 1)
    session.received(accepted("diff_order_book_busd"), 1)
    assert session.received(json.dumps(ERROR), 1_000) == []
    assert session.tick(10_999) == []
    assert session.tick(11_000) == [
        RefusedStreams(["diff_order_book_ausd", "diff_order_book_cusd"], 0, "Invalid channel provided.")
    ]
    assert session.tick(12_000) == []


def test_an_error_may_name_its_channel():
    session = session_of()
    session.subscribe([Subscription("live_trades_xusd", "aggTrade", "XUSD"), *streams("AUSD")], 1)
    assert session.received(json.dumps(FRAMES[5]), 1) == [RefusedStreams(["live_trades_xusd"], 4, "no")]
    assert session.received(json.dumps(FRAMES[5]), 1) == [Refused(None, 4, "no")]


def test_a_heartbeat_is_due_each_20_seconds():
    session = session_of()
    assert session.opened(1_000) == []
    assert session.tick(20_999) == []
    assert session.tick(21_000) == [Send('{"event":"bts:heartbeat"}')]
    assert session.received(json.dumps(FRAMES[6]), 21_100) == []
    assert session.tick(40_999) == []


def test_a_reconnect_is_asked_for():
    assert session_of().received(json.dumps(FRAMES[7]), 1) == [ShutdownNotice()]


def test_books_are_ordered_by_their_time():
    session = session_of()
    for microseconds in (2_000_001, 2_000_001, 3_000_000):
        (event,) = session.received(book_frame(microseconds), 1)
        assert isinstance(event, Message)
        assert (
            event.symbol,
            event.kind,
            event.update_id,
            event.first_id,
            event.previous_id,
            event.event_ms,
        ) == (
            "BTCUSD",
            "update",
            microseconds,
            microseconds,
            0,
            microseconds // 1000,
        )
        assert event.data == book_frame(microseconds)
    assert session.received(book_frame(2_999_999), 1) == [Ignored("book message out of order")]


def test_whole_books_are_snapshots():
    (event,) = session_of(depth="order_book").received(json.dumps(FRAMES[1]), 1)
    assert isinstance(event, Message)
    assert event.kind == "snapshot"
    assert session_of().received(json.dumps(FRAMES[1]), 1) == [Ignored("data order_book_btcusd")]


def test_ids_of_trades_have_64_bits():
    (event,) = session_of().received(json.dumps(FRAMES[2]), 1)
    assert isinstance(event, Message)
    assert (event.channel, event.symbol, event.update_id, event.event_ms) == (
        "aggTrade",
        "BTCUSD-PERP",
        2001939623936278528,
        1789456400586,
    )


@pytest.mark.parametrize("channel", ["diff_order_book_BTCUSD", "diff_order_book_", "diff_order_book_btc/usd"])
def test_a_channel_of_no_symbol_is_malformed(channel: str):
    with pytest.raises(MalformedFrame):
        session_of().received(json.dumps({**FRAMES[0], "channel": channel}), 1)


def feed(data: bytes | str, **changes: Any) -> None:
    """Through a session and the decoders: a MalformedFrame or nothing."""
    venue = Bitstamp("bitstamp", BitstampSettings(symbols=["S"], **changes))
    session = venue.session("")
    session.subscribe(streams("AUSD"), 1)
    decode(venue, lambda: [*session.received(data, 1), *session.tick(60_000)])


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_a_frame_with_rubbish_in_it_is_malformed_or_harmless(frame: Any):
    @hypothesis_settings(max_examples=120)
    @given(st.one_of(spoiled(frame), cut_up(json.dumps(frame).encode())), st.booleans())
    def check(data: bytes, as_text: bool) -> None:
        for changes in ({}, {"depth": "order_book"}):
            feed(data.decode(errors="surrogateescape") if as_text else data, **changes)

    check()


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80)))
def test_any_bytes_are_malformed_or_harmless(data: bytes | str):
    feed(data)
