"""Sockets of Coinbase frame by frame: the count, acks, refusals, snapshots, sides, rubbish."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase
from workers.venues.facts import Continuity
from workers.venues.messages import Ignored, Message, Refused
from workers.venues.session import Accepted, Broken, Event, RefusedStreams, Send

ADVANCED = Coinbase("coinbase", CoinbaseSettings(symbols=["S"]))
EXCHANGE = Coinbase("coinbase", CoinbaseSettings(symbols=["S"], market="exchange"))
VENUES = {"advanced": ADVANCED, "exchange": EXCHANGE}
TIME = "2026-08-24T22:34:13.813365299Z"


def packed(frame: Any) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def advanced(channel: str, number: int, *events: Any) -> bytes:
    return packed({"channel": channel, "timestamp": TIME, "sequence_num": number, "events": list(events)})


def book(kind: str, *levels: tuple[str, str, str], product: str = "BTC-USD") -> dict[str, Any]:
    updates = [{"side": side, "event_time": "2026-08-24T22:34:13.592233Z", "price_level": price, "new_quantity": size}
               for side, price, size in levels]  # fmt: skip
    return {"type": kind, "product_id": product, "updates": updates}


def sold(trade_id: int, side: str = "SELL") -> dict[str, str]:
    return {"product_id": "BTC-USD", "trade_id": str(trade_id), "price": "65083.67", "size": "0.01034361",
            "time": "2026-08-09T21:05:48.167634Z", "side": side}  # fmt: skip


MATCH = {"type": "match", "trade_id": 298130, "sequence": 127066231, "time": "2019-06-01T00:00:10.382000Z",
         "product_id": "ZEC-USDC", "size": "0.22815391", "price": "90.34000000", "side": "sell"}  # fmt: skip
FRAMES = {
    "advanced": [
        advanced("l2_data", 0, book("snapshot", ("bid", "1.5", "2"), ("offer", "1.6", "3"))),
        advanced("l2_data", 1, book("update", ("bid", "1.5", "0")), book("snapshot", product="ETH-USD")),
        advanced("market_trades", 2, {"type": "snapshot", "trades": [sold(8), sold(7)]}),
        advanced("subscriptions", 3, {"subscriptions": {"level2": ["BTC-USD"], "heartbeats": ["heartbeats"]}}),
        advanced("heartbeats", 4, {"current_time": "2026-08-09 21:05:48 +0000 UTC m=+4", "heartbeat_counter": 41691}),
        packed({"type": "error", "message": "Invalid product_ids: NO-PE"}),
    ],
    "exchange": [
        packed({"type": "snapshot", "product_id": "BTC-USD", "bids": [["6500.11", "0.45"]],
                "asks": [["6500.15", "0.57"]]}),
        packed({"type": "l2update", "product_id": "BTC-USD", "changes": [["sell", "6500.15", "660.5"]],
                "time": "2021-04-17T16:43:37.075687Z"}),
        packed(MATCH),
        packed({"type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": "BTC-USD"}),
        packed({"type": "subscriptions", "channels": [{"name": "level2_50", "product_ids": ["BTC-USD"]}]}),
        packed({"type": "error", "message": "Failed to subscribe", "reason": "NO-PE is not a valid product"}),
    ],
}  # fmt: skip


def messages(session: Any, *frames: bytes | str) -> list[Message]:
    return [event for frame in frames for event in session.received(frame, 0) if isinstance(event, Message)]


def test_advanced_has_a_frame_for_each_channel():
    session = ADVANCED.session("")
    assert [json.loads(frame) for frame in session.opened(0)] == [
        {"type": "subscribe", "channel": "heartbeats"}
    ]
    frames = session.subscribe(ADVANCED.endpoints(["BTC-USD", "ETH-USD"])[0].subscriptions, 1)
    products = ["BTC-USD", "ETH-USD"]
    assert [json.loads(frame) for frame in frames] == [
        {"type": "subscribe", "product_ids": products, "channel": "level2"},
        {"type": "subscribe", "product_ids": products, "channel": "market_trades"},
    ]


def test_exchange_has_one_frame_and_a_heartbeat_with_the_trades():
    session = EXCHANGE.session("")
    assert session.opened(0) == []
    (frame,) = session.subscribe(EXCHANGE.endpoints(["BTC-USD"])[0].subscriptions, 1)
    channels = [
        {"name": name, "product_ids": ["BTC-USD"]} for name in ("level2_batch", "matches", "heartbeat")
    ]
    assert json.loads(frame) == {"type": "subscribe", "channels": channels}
    (frame,) = session.unsubscribe(EXCHANGE.endpoints(["BTC-USD"])[0].subscriptions[:1], 2)
    assert json.loads(frame) == {"type": "unsubscribe", "channels": channels[:1]}


def test_the_facts_say_what_can_be_proven():
    assert (ADVANCED.facts.continuity, EXCHANGE.facts.continuity) == (Continuity.CONNECTION, Continuity.NONE)
    assert ADVANCED.facts.subscriptions == 8
    assert not ADVANCED.facts.continuity.by_id


def test_advanced_frames_of_several_events_are_cut_into_exact_slices():
    session = ADVANCED.session("")
    found = messages(session, *FRAMES["advanced"][:2])
    assert [(m.symbol, m.kind) for m in found] == [
        ("BTC-USD", "snapshot"),
        ("BTC-USD", "update"),
        ("ETH-USD", "snapshot"),
    ]
    assert found[0].data == FRAMES["advanced"][0]
    assert all(m.data in FRAMES["advanced"][1] and m.data != FRAMES["advanced"][1] for m in found[1:])
    first, second, _ = (ADVANCED.depth(m.data, m.symbol, m.kind) for m in found)
    assert (first.bids, first.asks) == ([("1.5", "2")], [("1.6", "3")])
    assert (first.event_time, first.transaction_time) == (1787610853813, 1787610853592)
    assert (second.bids, second.asks, second.event_time) == ([("1.5", "0")], [], 1787610853592)
    assert {m.event_ms for m in found} == {1787610853813}


def test_an_empty_update_counts():
    session = ADVANCED.session("")
    found = messages(session, advanced("l2_data", 0, book("snapshot")), advanced("l2_data", 1, book("update")),
                     advanced("l2_data", 2, book("update")))  # fmt: skip
    assert [m.kind for m in found] == ["snapshot", "update", "update"]
    assert ADVANCED.depth(found[1].data, "BTC-USD", "update").bids == []


def test_acks_and_heartbeats_are_in_the_count_and_errors_are_not():
    session = ADVANCED.session("")
    frames = FRAMES["advanced"]
    events = [
        event for frame in (*frames[:3], frames[5], *frames[3:5]) for event in session.received(frame, 0)
    ]
    assert not [event for event in events if isinstance(event, Broken)]
    assert session.received(advanced("l2_data", 6, book("update")), 0) == [Broken("sequence", 5, 6)]
    assert session.received(advanced("l2_data", 7, book("snapshot")), 0) == []


def test_a_socket_may_begin_to_count_anywhere():
    session = ADVANCED.session("")
    assert session.received(advanced("l2_data", 9, book("update")), 0) == [
        Ignored("book before its snapshot")
    ]
    assert session.received(advanced("l2_data", 9, book("update")), 0) == [Broken("sequence", 10, 9)]


def test_what_cannot_be_filed_is_not_counted():
    session = ADVANCED.session("")
    messages(session, advanced("l2_data", 0, book("snapshot")))
    for rubbish in (
        advanced("l2_data", 1, book("other")),
        advanced("l2_data", 1, book("update", product="a b")),
        advanced("market_trades", 1, {"trades": {}}),
        packed({"channel": "l2_data", "events": []}),
        packed({"channel": "l2_data", "sequence_num": 1}),
    ):
        with pytest.raises(MalformedFrame):
            session.received(rubbish, 0)
    assert len(messages(session, advanced("l2_data", 1, book("update")))) == 1


def test_lists_of_trades_come_oldest_first_and_their_side_is_the_makers():
    session = ADVANCED.session("")
    found = messages(
        session, FRAMES["advanced"][2], advanced("market_trades", 3, {"trades": [sold(9, "BUY")]})
    )
    assert [m.update_id for m in found] == [7, 8, 9]
    trades = [ADVANCED.trade(m.data, m.symbol) for m in found]
    assert [t.is_buyer_maker for t in trades] == [False, False, True]
    assert (trades[0].trade_id, trades[0].price, trades[0].trade_time) == (7, "65083.67", 1786309548167)
    (match,) = messages(EXCHANGE.session(""), packed({**MATCH, "type": "last_match"}))
    assert (match.channel, match.symbol, match.update_id) == ("aggTrade", "ZEC-USDC", 298130)
    assert not EXCHANGE.trade(match.data, match.symbol).is_buyer_maker


def test_exchange_rubbish_that_has_been_seen_is_passed_over():
    session = EXCHANGE.session("")
    messages(session, FRAMES["exchange"][0])
    changes = [["buy", "1", "0.-10000"], ["buy", "2", "0"], ["sell", "3", "4", 5]]
    frame = {"type": "l2update", "product_id": "BTC-USD", "time": "0001-01-01T00:00:00Z", "changes": changes}
    (message,) = messages(session, packed(frame))
    event = EXCHANGE.depth(message.data, "BTC-USD", "update")
    assert message.event_ms == event.event_time == -1
    assert (event.bids, event.asks) == ([("2", "0")], [("3", "4")])
    whole = {
        "type": "snapshot",
        "product_id": "BTC-USD",
        "bids": [["1", "0.-10000"], ["2", "3"]],
        "asks": [["4", "-1"]],
    }
    event = EXCHANGE.depth(packed(whole), "BTC-USD", "snapshot")
    assert (event.bids, event.asks) == ([("2", "3")], [])


@pytest.mark.parametrize("market", VENUES)
def test_changes_pass_from_the_first_snapshot_on_and_wait_for_one_after_an_unsubscription(market: str):
    venue, numbers = VENUES[market], iter(range(20))
    session = venue.session("")

    def kinds(kind: str) -> list[str]:
        if market == "advanced":
            frame = advanced("l2_data", next(numbers), book(kind))
        else:
            frame = FRAMES["exchange"][0 if kind == "snapshot" else 1]
        return [event.kind for event in session.received(frame, 0)]  # type: ignore[union-attr]

    assert kinds("update") == ["book before its snapshot"]
    assert [*kinds("snapshot"), *kinds("update"), *kinds("snapshot")] == ["snapshot", "update", "snapshot"]
    session.unsubscribe(venue.endpoints(["BTC-USD"])[0].subscriptions, 1)
    assert kinds("update") == ["book before its snapshot"]
    assert [*kinds("snapshot"), *kinds("update")] == ["snapshot", "update"]


def listed(market: str, number: int, streams: list[str]) -> bytes:
    by_channel: dict[str, list[str]] = {}
    for stream in streams:
        channel, _, product = stream.partition(":")
        by_channel.setdefault(channel, []).append(product)
    if market == "advanced":
        return advanced("subscriptions", number, {"subscriptions": by_channel})
    channels = [{"name": name, "product_ids": products} for name, products in by_channel.items()]
    return packed({"type": "subscriptions", "channels": channels})


@given(st.sampled_from(sorted(VENUES)), st.permutations(range(6)))
def test_each_stream_is_accepted_once_though_acks_list_all(market: str, order: list[int]):
    venue = VENUES[market]
    session = venue.session("")
    streams = venue.endpoints(["BTC-USD", "ETH-USD", "SOL-USD"])[0].subscriptions
    session.subscribe(streams, 1)
    seen: list[str] = []
    for number, _ in enumerate(order):
        names = [streams[index].stream for index in order[: number + 1]]
        (event,) = session.received(listed(market, number, names), 0)
        assert event == Accepted([streams[order[number]].stream])
        seen += event.streams  # type: ignore[union-attr]
    assert sorted(seen) == sorted(stream.stream for stream in streams)
    assert session.received(listed(market, 6, seen), 0) == []
    assert session.received(packed({"type": "error", "message": "x"}), 0) == [Refused(None, 0, "x")]


@pytest.mark.parametrize("market", VENUES)
def test_a_refusal_names_its_product_and_the_others_are_asked_for_again(market: str):
    venue = VENUES[market]
    session = venue.session("")
    sent = session.subscribe(venue.endpoints(["BTC-USD", "NO-PE"])[0].subscriptions, 1)
    gone: list[str] = []
    again: list[Any] = []
    for _ in sent:
        events: list[Event] = session.received(FRAMES[market][5], 0)
        gone += [stream for event in events if isinstance(event, RefusedStreams) for stream in event.streams]
        again += [json.loads(event.text) for event in events if isinstance(event, Send)]
    assert sorted(gone) == sorted(s.stream for s in venue.endpoints(["NO-PE"])[0].subscriptions)
    if market == "advanced":
        assert again == [{"type": "subscribe", "product_ids": ["BTC-USD"], "channel": channel}
                         for channel in ("level2", "market_trades")]  # fmt: skip
    else:
        assert [channel["name"] for channel in again[0]["channels"]] == [
            "level2_batch",
            "matches",
            "heartbeat",
        ]
        assert {product for channel in again[0]["channels"] for product in channel["product_ids"]} == {
            "BTC-USD"
        }
    left = [stream.stream for stream in venue.endpoints(["BTC-USD"])[0].subscriptions]
    refused = session.received(packed({"type": "error", "message": "no"}), 0)
    assert refused == [RefusedStreams(left[: len(left) // len(again)], 0, "no")]
    assert session.received(listed(market, 0, left), 0) == [Accepted(left)]


def test_a_refusal_that_names_nothing_is_of_the_oldest_request():
    session = EXCHANGE.session("")
    first, second = (EXCHANGE.endpoints([symbol])[0].subscriptions for symbol in ("BTC-USD", "ETH-USD"))
    session.subscribe(first, 1)
    session.subscribe(second, 2)
    error = packed({"type": "error", "message": "Failed to subscribe", "reason": "authentication required"})
    message = "Failed to subscribe: authentication required"
    assert session.received(error, 0) == [RefusedStreams([stream.stream for stream in first], 0, message)]
    assert session.received(error, 0) == [RefusedStreams([stream.stream for stream in second], 0, message)]
    assert session.received(error, 0) == [Refused(None, 0, message)]


def digest(market: str, session: Any, frame: bytes | str) -> None:
    """Whatever comes, only MalformedFrame may be raised, here or where a message is decoded."""
    try:
        for event in session.received(frame, 0):
            assert not isinstance(event, RefusedStreams | Accepted) or event.streams
            if isinstance(event, Message) and event.channel == "depth":
                VENUES[market].depth(event.data, event.symbol, event.kind)
            elif isinstance(event, Message):
                VENUES[market].trade(event.data, event.symbol)
    except MalformedFrame:
        pass


@given(st.data(), st.sampled_from(sorted(VENUES)))
def test_mutated_frames_raise_nothing_but_malformed_frame(data: st.DataObject, market: str):
    session = VENUES[market].session("")
    session.subscribe(VENUES[market].endpoints(["BTC-USD", "NO-PE"])[0].subscriptions, 1)
    for frame in [*data.draw(st.lists(mutated(FRAMES[market]), min_size=1, max_size=5)), *FRAMES[market]]:
        digest(market, session, frame)


@given(st.sampled_from(sorted(VENUES)), st.one_of(st.binary(max_size=60), st.text(max_size=40)))
def test_any_bytes_raise_nothing_but_malformed_frame(market: str, frame: bytes | str):
    digest(market, VENUES[market].session(""), frame)


@given(st.sampled_from(sorted(VENUES)), mutated([*FRAMES["advanced"], *FRAMES["exchange"]]))
def test_rubbish_where_a_book_or_a_trade_was_raises_nothing_but_malformed_frame(market: str, data: bytes):
    venue = VENUES[market]
    for decode in (lambda: venue.depth(data, "A-B", "update"), lambda: venue.trade(data, "A-B")):
        try:
            decode()
        except MalformedFrame:
            pass
