"""Single orders of Coinbase Exchange, on streams that obey its documents: no recording of one is public."""

from __future__ import annotations

import msgspec
import pytest

from workers.errors import MalformedFrame
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.venues.coinbase.exchange_session import ExchangeSession
from workers.venues.coinbase.orders import RULES, order_message, order_seed
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.messages import Message, Subscription

TIME = "2014-11-07T08:19:27.028459Z"


def event(kind: str, sequence: int, **fields: object) -> bytes:
    return msgspec.json.encode(
        {"type": kind, "sequence": sequence, "product_id": "BTC-USD", "time": TIME, **fields}
    )


def seed(sequence: int) -> bytes:
    bids = [["200.1", "2", "first"], ["200.1", "3", "second"], ["199", "1", "third"]]
    return msgspec.json.encode({"sequence": sequence, "bids": bids, "asks": [["200.3", "5.5", "ask"]]})


def synced() -> OrderSync:
    sync = OrderSync("BTC-USD", RULES)
    for sequence in (9, 10):
        assert sync.on_message(order_message("c", event("noop", sequence))) is OrderOutcome.BUFFERED
    assert sync.on_seed(order_seed("c", seed(9))) is OrderOutcome.APPLIED
    return sync


def bids(sync: OrderSync) -> list[tuple[str, str, str]]:
    return [(one.order_id, queue.price, one.quantity) for queue in sync.book.levels("bid") for one in queue]


def test_a_life_of_orders():
    sync = synced()
    for frame in (
        event("received", 11, order_id="new", price="200.1", size="1", side="buy", order_type="limit"),
        event("open", 12, order_id="new", price="200.1", remaining_size="1", side="buy"),
        event("match", 13, maker_order_id="first", taker_order_id="t", price="200.1", size="0.5", side="buy"),
        event("done", 14, order_id="t", reason="filled", side="sell", remaining_size="0"),
        event("change", 15, order_id="second", old_size="3", new_size="1.2", price="200.1", side="buy"),
        event("change", 16, order_id="never opened", old_size="3", new_size="1", price="1", side="buy"),
        event("activate", 17, order_id="stop", side="buy"),
    ):
        assert sync.on_message(order_message("c", frame)) is OrderOutcome.APPLIED
    rest = ("third", "199", "1")
    assert bids(sync) == [("first", "200.1", "1.5"), ("second", "200.1", "1.2"), ("new", "200.1", "1"), rest]
    place = sync.book.place("new")
    assert place is not None
    assert (place.position, place.quantity_ahead, place.exact) == (2, "2.7", True)
    assert sync.book.age_us("new", 1415348367028459 + 5) == 5
    for frame in (
        event("match", 18, maker_order_id="first", taker_order_id="t", price="200.1", size="1.5", side="buy"),
        event("done", 19, order_id="first", reason="filled", side="buy", remaining_size="0"),
        event("change", 20, order_id="second", new_size="1.2", new_price="199.0", price="200.1", side="buy"),
        event("done", 21, order_id="new", reason="canceled", side="buy", remaining_size="1", price="200.1"),
    ):
        assert sync.on_message(order_message("c", frame)) is OrderOutcome.APPLIED
    assert bids(sync) == [rest, ("second", "199", "1.2")]
    sync.book.check()


def test_one_number_less_costs_the_book():
    sync = synced()
    assert sync.on_message(order_message("c", event("noop", 10))) is OrderOutcome.REPEATED
    assert sync.on_message(order_message("c", event("noop", 12))) is OrderOutcome.LOST
    assert len(sync.book) == 0


@pytest.mark.parametrize("size", ["2.5", "1e5"])
def test_a_fill_that_cannot_be_costs_the_book(size: str):
    frame = event(
        "match", 11, maker_order_id="first", taker_order_id="t", price="200.1", size=size, side="buy"
    )
    assert synced().on_message(order_message("c", frame)) is OrderOutcome.LOST


@pytest.mark.parametrize(
    "frame", [b"", b"{}", event("open", -1), event("open", 3), event("open", 3, side="both")]
)
def test_what_is_no_message_is_refused(frame: bytes):
    with pytest.raises(MalformedFrame):
        order_message("c", frame)
    with pytest.raises(MalformedFrame):
        order_seed("c", frame)


def test_a_market_order_has_null_where_it_has_no_figure():
    """As the documents have it: a change whose price is null is of a market order, which never rests."""
    sync = synced()
    for sequence, frame in enumerate(
        (
            {"type": "received", "order_id": "m", "size": None, "price": None, "funds": "3", "side": "buy"},
            {
                "type": "change",
                "order_id": "m",
                "price": None,
                "old_funds": "3",
                "new_funds": "1",
                "side": "buy",
            },
            {
                "type": "change",
                "order_id": "m",
                "price": None,
                "old_size": "3",
                "new_size": "1",
                "side": "buy",
            },
            {"type": "done", "order_id": "m", "price": None, "remaining_size": None, "reason": None},
            {"type": "of another day", "order_id": {"id": 1}, "price": 12.5, "side": "both"},
        ),
        11,
    ):
        message = order_message("c", event(str(frame.pop("type")), sequence, **frame))
        assert sync.on_message(message) is OrderOutcome.APPLIED, frame
    assert bids(sync) == [("first", "200.1", "2"), ("second", "200.1", "3"), ("third", "199", "1")]


def test_only_a_new_price_moves_an_order():
    sync = synced()
    sync.on_message(
        order_message("c", event("change", 11, order_id="first", side="buy", new_size="1", price="200"))
    )
    assert bids(sync)[0] == ("first", "200.1", "1"), "smaller: it keeps its place"
    sync.on_message(
        order_message(
            "c", event("change", 12, order_id="first", side="buy", old_price="200.1", new_price="199")
        )
    )
    assert bids(sync) == [("second", "200.1", "3"), ("third", "199", "1"), ("first", "199", "1")]


def test_a_socket_files_what_has_null_for_its_reason():
    session = ExchangeSession("c", CoinbaseSettings(market="exchange", symbols=["BTC-USD"]))
    session.subscribe([Subscription("full:BTC-USD", "orders", "BTC-USD")], 1)
    [message] = session.received(event("done", 7, order_id="m", reason=None, message=None), 0)
    assert isinstance(message, Message)
    assert (message.channel, message.update_id) == ("orders", 7)
