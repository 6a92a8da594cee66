"""Bitstamp's single orders: the recording of 500 events, and what is no event."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from venue_recordings import bare_frames

from workers.errors import MalformedFrame
from workers.model.level3.events import OrderChange
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.venues.bitstamp.orders import LIVE, SEEDED, order_message, order_numbers, order_seed
from workers.venues.bitstamp.session import BitstampSession
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.messages import Message


@pytest.fixture
def frames(recorded_folder: Path) -> list[bytes]:
    return list(bare_frames(recorded_folder / "venues" / "tickvault" / "bitstamp_live_orders.jsonl"))[1:]


@pytest.mark.recorded
def test_the_recorded_chain_holds_500_times_of_500(frames: list[bytes]):
    sync = OrderSync("BTC-USD", LIVE)
    outcomes = []
    for frame in frames:
        message = order_message("bitstamp", frame)
        wire = msgspec.json.decode(frame)["data"]
        assert message.time_us == int(wire["microtimestamp"])
        outcomes.append(sync.on_message(message))
        sync.book.check()
    assert outcomes == [OrderOutcome.APPLIED] * 500
    assert (sync.synced, sync.book.crossed, len(sync.book)) == (True, False, 96)
    assert not any(level.complete for side in sync.book.top(100) for level in side)


@pytest.mark.recorded
@pytest.mark.parametrize("missing", [1, 250, 498])
def test_one_recorded_event_less_costs_the_book(frames: list[bytes], missing: int):
    sync = OrderSync("BTC-USD", LIVE)
    outcomes = [
        sync.on_message(order_message("bitstamp", frame))
        for frame in frames[:missing] + frames[missing + 1 :]
    ]
    assert outcomes.index(OrderOutcome.LOST) == missing
    assert sync.counts["lost"] == 1


@pytest.mark.recorded
def test_the_recorded_seed_bears_out_the_orders_that_were_seen(frames: list[bytes], recorded_folder: Path):
    """REST was asked 0.9 s after the last event, and its reply was cut to 120 levels: of 92 orders that
    rested within its prices 40 are in it, all as the book had them; most quotes of this market live shorter."""
    sync = OrderSync("BTC-USD", LIVE)
    for frame in frames:
        sync.on_message(order_message("bitstamp", frame))
    seed = order_seed(
        "bitstamp", (recorded_folder / "venues" / "tickvault" / "bitstamp_snapshot_l3.json").read_bytes()
    )
    assert (seed.position, len(seed.orders)) == (1787620347152764, 240)
    by_id = {order.order_id: order for order in seed.orders}
    low, high = (Decimal(seed.orders[index].price) for index in (119, 239))
    resting = [
        order
        for side in ("bid", "ask")
        for queue in sync.book.levels(side)
        for order in queue
        if low <= Decimal(queue.price) <= high
    ]
    both = [order for order in resting if order.order_id in by_id]
    assert (len(both), len(resting)) == (40, 92)
    for order in both:
        given = by_id[order.order_id]
        assert (order.queue.side, order.queue.price, order.quantity) == (
            given.side,
            given.price,
            given.quantity,
        )


@pytest.mark.recorded
def test_the_stream_joins_a_seed_of_its_time(frames: list[bytes]):
    """The reply is made from the recording itself: what a book had after 200 events."""
    whole = OrderSync("BTC-USD", LIVE)
    messages = [order_message("bitstamp", frame) for frame in frames]
    for message in messages[:200]:
        whole.on_message(message)
    sides = {
        f"{side}s": [
            [queue.price, order.quantity, order.order_id]
            for queue in whole.book.levels(side)
            for order in queue
        ]
        for side in ("bid", "ask")
    }
    body = msgspec.json.encode({"microtimestamp": str(messages[199].position), **sides})
    sync = OrderSync("BTC-USD", SEEDED)
    for message in messages[150:250]:
        assert sync.on_message(message) is OrderOutcome.BUFFERED
    assert sync.on_seed(order_seed("bitstamp", body)) is OrderOutcome.APPLIED
    for message in messages[200:]:
        whole.on_message(message)
    for message in messages[250:]:
        assert sync.on_message(message) is OrderOutcome.APPLIED
    assert sync.book.level2() == whole.book.level2()
    assert sync.counts["replaced"] == 0


def event(name: str, **fields: object) -> bytes:
    data = {
        "id_str": "7",
        "order_type": 1,
        "microtimestamp": "5",
        "amount_str": "0.10",
        "price_str": "9.5",
        **fields,
    }
    ids = {
        "event_id": "000659d4-cba3-ac00-0001-000102000020",
        "pre_event_id": "000659d4-cba3-ac00-0000-000101000020",
    }
    return msgspec.json.encode({"data": data, "event": name, "channel": "live_orders_btcusd", **ids})


def test_events_become_changes():
    created = order_message("bitstamp", event("order_created"))
    assert created.changes == [OrderChange("add", "7", "ask", "9.5", "0.10", time_us=5)]
    assert created.position == int("000659d4cba3ac00", 16)
    assert order_message("bitstamp", event("order_changed", order_type=0)).changes == [
        OrderChange("set", "7", "bid", "9.5", "0.10")
    ]
    assert order_message("bitstamp", event("order_deleted")).changes[0].ending == "cancelled"
    assert order_message("bitstamp", event("order_deleted", amount_str="0")).changes[0].ending == "filled"
    for nothing in (event("order_created", price_str="0"), event("order_created", amount_str="0.00000000")):
        assert order_message("bitstamp", nothing).changes == []


def test_the_end_of_an_order_without_a_price_costs_nothing():
    sync = OrderSync("S", LIVE)
    assert (
        sync.on_message(order_message("bitstamp", event("order_deleted", price_str="0")))
        is OrderOutcome.APPLIED
    )
    assert (sync.synced, sync.counts["unknown"]) == (True, 1)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"\xff",
        event("order_created", id_str="x"),
        event("order_created").replace(b"-cba3-", b"-"),
    ],
)
def test_what_is_no_event_is_refused(frame: bytes):
    with pytest.raises(MalformedFrame):
        order_message("bitstamp", frame)
    with pytest.raises(MalformedFrame):
        order_seed("bitstamp", frame)


@pytest.mark.recorded
def test_the_numbers_by_which_events_are_filed_rise_and_chain_as_their_ids_do(frames: list[bytes]):
    session = BitstampSession("bitstamp", BitstampSettings(symbols=["BTCUSD"], orders=True))
    messages = [event for frame in frames for event in session.received(frame, 0)]
    assert [(one.channel, one.symbol, one.data) for one in messages if isinstance(one, Message)] == [
        ("orders", "BTCUSD", frame) for frame in frames
    ]
    numbers = [(one.previous_id, one.update_id) for one in messages if isinstance(one, Message)]
    assert all(before < number < 2**64 for before, number in numbers)
    assert [number for _, number in numbers][:-1] == [before for before, _ in numbers][1:]


@pytest.mark.parametrize(
    "event_id", ["ffffffff-ffff-ffff-0000-000101000020", "000659d4-cba3-ac00-2000-000101000020"]
)
def test_an_id_that_no_stream_can_file_is_malformed(event_id: str):
    frame = {"event_id": event_id, "pre_event_id": "000659d4-cba3-8108-0000-000100000020"}
    with pytest.raises(MalformedFrame, match="its id is none"):
        order_numbers("bitstamp", msgspec.json.encode(frame))
