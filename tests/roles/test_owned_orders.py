"""A book of orders as its owner shows it: crossed though nothing comes, and beside a book of levels that is none."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from workers.model.books.top_of_book import TopOfBook, encode_top
from workers.model.level3.events import OrderChange, OrderMessage, OrderSeed
from workers.model.level3.sync import OrderSync
from workers.orders.book import OwnedOrders
from workers.orders.level2 import Level2Watch
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.settings.loading import parse
from workers.store.log.streams import Delivered
from workers.store.orders.rebuilding import OrderDecoding, OrderFold

SETTINGS = """
[venues.bitstamp]
exchange = "bitstamp"
market = "all"
symbols = ["BTCUSD"]
orders = true
orders_seed = false
"""
BEGAN_US = 1_787_620_344_704_000


def owned(sync: OrderSync | None = None) -> OwnedOrders:
    settings = parse(SETTINGS, "a test", {}).settings
    [context] = venue_contexts(settings)
    feed = context.venue.order_feed
    assert feed is not None
    book = OwnedOrders(
        Claim(context, "BTCUSD"), 1, feed, sync or OrderSync("BTCUSD", feed.rules), settings.orders
    )
    book.alive = True
    return book


def created(number: int, order_type: int, price: str) -> Delivered:
    ids = [f"{BEGAN_US + each:016x}" for each in (number - 1, number)]
    before_id, event_id = (f"{text[:8]}-{text[8:12]}-{text[12:]}-0000-000100000020" for text in ids)
    order = {"id_str": str(number), "order_type": order_type, "microtimestamp": str(BEGAN_US + number),
             "amount_str": "1.5", "price_str": price}  # fmt: skip
    frame = {"data": order, "event": "order_created", "event_id": event_id, "pre_event_id": before_id}
    return Delivered(f"1-{number}".encode(), msgspec.json.encode(frame), BEGAN_US)


def test_a_book_that_stays_crossed_is_withheld_though_nothing_more_comes():
    """The exchange's time stands still meanwhile; ours does not."""
    book = owned()
    for entry in (created(1, 0, "100"), created(2, 1, "101"), created(3, 0, "102")):
        book.take(entry)
    now = time.monotonic()
    book.read_until(now + 3, end=True)
    assert book.sync.book.crossed
    assert book.withheld(now) == ""
    assert book.withheld(now + 1.5) == "crossed"
    book.take(created(4, 1, "103"))
    assert book.withheld(now + 1.5) == "crossed"
    book.sync.book.remove("3")
    book.take(created(5, 1, "104"))
    assert book.withheld(now + 3) == ""


def test_what_could_not_be_read_for_a_while_is_shown_once_something_has_followed():
    """The entries of that while may be gone with the key."""
    book = owned()
    book.take(created(1, 0, "100"))
    now = time.monotonic()
    assert book.withheld(now) == ""
    book.cannot_be_read("its key is a string")
    assert book.withheld(now) == "unreadable"
    book.cannot_be_read("")
    assert book.withheld(now) == "stale"
    book.take(created(2, 1, "101"))
    assert book.withheld(now) == ""


def test_a_book_that_came_into_sync_while_its_loss_was_stored_is_stored_at_once():
    book = owned()
    book.lose("connection")
    _, ids = book.checkpoint()
    book.take(created(1, 0, "100"))
    now = time.monotonic()
    book.committed(ids, now)
    assert book.commit_due(now)
    book.checkpoint()
    book.changed = True
    assert not book.commit_due(now)


def test_a_fold_that_failed_over_an_entry_is_none_any_more():
    """Who follows orders goes on with the next entry, whatever befell it."""
    book = owned()

    def message(data: bytes) -> OrderMessage | None:
        if data == b"odd":
            raise OverflowError("nobody foresaw it")
        return book.feed.message(data)

    decoding = OrderDecoding(book.feed.rules, True, message)
    fold = OrderFold(OrderSync("BTCUSD", book.feed.rules), decoding, b"0-0")
    fold.take(created(1, 0, "100"))
    assert fold.sync.synced
    with pytest.raises(OverflowError):
        fold.take(Delivered(b"1-2", b"odd", BEGAN_US))
    assert not fold.sync.synced


class Shown:
    """A venue's `LIVE_ORDERBOOK`, as long as a test wants."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    async def books_of(self, symbols: list[str]) -> dict[str, bytes]:
        return dict.fromkeys(symbols, self._payload)


async def test_a_book_of_levels_that_is_none_is_compared_with_nothing():
    book = owned()
    rules = book.feed.rules
    sync = OrderSync("BTCUSD", rules._replace(beginning=type(rules.beginning).REST))
    sync.on_message(OrderMessage(BEGAN_US, [], "1", "0", position=1))
    bid, ask = (
        OrderChange("add", side, side, price, "1") for side, price in (("bid", "100"), ("ask", "101"))
    )
    sync.on_seed(OrderSeed(1, [bid, ask]))
    book = owned(sync)
    book.best.note(sync)
    levels: dict[str, Any] = {"T": 0, "synced_at": 0, "received": 0, "published": 0, "u": 1}
    top = TopOfBook(s="BTCUSD", b=[("x", "1")], a=[("101", "1")], E=BEGAN_US // 1000 + 500, **levels)
    for payload in (b"{", encode_top(top)):
        watch: Any = Level2Watch({"bitstamp": Shown(payload)}, 1)  # type: ignore[dict-item]
        await watch.look([book], 1.0)
        sync.on_message(OrderMessage(BEGAN_US + 2_000_000, [], "2", "1", position=2))
        book.best.note(sync)
        book.compare_at = 0.0
        await watch.look([book], 2.0)
    assert sync.synced
