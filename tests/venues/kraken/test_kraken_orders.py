"""Kraken's single orders: the example of its guide from our own queues, and what is no message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal
from zlib import crc32

import pytest

from workers.errors import MalformedFrame
from workers.model.level3.checkpoint import decode_orders, encode_orders
from workers.model.level3.events import OrderChange
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.venues.kraken.orders import order_message, order_rules, orders_checksum
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken

NOON = "2025-11-10T12:00:00"
NOON_NS = 1762776000 * 10**9


def order(number: int, price: str, quantity: str, event: str = "", at: str = "") -> str:
    head = f'"event":"{event}",' if event else ""
    time = at or f"{NOON}.{number:09d}Z"
    return (
        f'{{{head}"order_id":"O{number}","limit_price":{price},"order_qty":{quantity},"timestamp":"{time}"}}'
    )


def frame(kind: str, bids: list[str], asks: list[str], checksum: int = 0) -> bytes:
    return (
        f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{",".join(bids)}],'
        f'"asks":[{",".join(asks)}],"checksum":{checksum},"timestamp":"{NOON}.5Z"}}]}}'
    ).encode()


def guide(recorded_folder: Path) -> tuple[dict, list[str], list[str]]:
    vector = json.loads((recorded_folder / "venues" / "vectors" / "kraken_l3_checksum.json").read_text())
    rows = [
        [order(index + first, one["limit_price"], one["order_qty"]) for index, one in enumerate(vector[side])]
        for side, first in (("bids", 1), ("asks", 101))
    ]
    return vector, *rows


@pytest.mark.recorded
def test_the_example_of_the_guide_comes_from_our_own_queues(recorded_folder: Path):
    vector, bids, asks = guide(recorded_folder)
    assert crc32(vector["string"].encode()) == vector["expected_crc32"] == 1063832831
    for snapshot in (
        frame("snapshot", bids, asks, 1063832831),
        frame("snapshot", bids[::-1], asks[::-1], 1063832831),
    ):
        sync = OrderSync("BTC-USD", order_rules(10))
        assert sync.on_message(order_message("kraken", snapshot)) is OrderOutcome.APPLIED
        assert (len(sync.book), orders_checksum(sync.book), sync.counts["checksums"]) == (35, 1063832831, 1)
        sync.book.check()


@pytest.mark.recorded
def test_another_order_of_a_queue_is_found(recorded_folder: Path):
    _, bids, asks = guide(recorded_folder)
    later = asks[0].replace(NOON, "2025-11-10T12:00:01")
    sync = OrderSync("BTC-USD", order_rules(10))
    assert (
        sync.on_message(order_message("kraken", frame("snapshot", bids, [later, *asks[1:]], 1063832831)))
        is OrderOutcome.LOST
    )
    assert sync.reason == "checksum"


def test_updates_keep_and_lose_places_and_the_window_is_cut():
    sync = OrderSync("S", order_rules(2))
    sync.on_message(order_message("k", frame("snapshot", [order(1, "10.0", "1"), order(2, "10.0", "2")], [])))
    grown = order(1, "10.0", "5.0", "modify", f"{NOON}.9Z")
    sync.on_message(order_message("k", frame("update", [grown, order(3, "9.0", "1e-05", "add")], [])))
    assert [one.order_id for one in sync.book.best("bid") or ()] == ["O1", "O2"]
    assert sync.book.level2()[0] == [("10.0", "7"), ("9.0", "0.00001")]
    moved = order(1, "9.0", "5.0", "modify", f"{NOON}.9Z")
    sync.on_message(order_message("k", frame("update", [moved], [])))
    assert [one.order_id for queue in sync.book.levels("bid") for one in queue] == ["O2", "O3", "O1"]
    sync.on_message(order_message("k", frame("update", [order(4, "11.0", "1", "add")], [])))
    assert sync.book.level2()[0] == [("11.0", "1"), ("10.0", "2")]
    sync.on_message(order_message("k", frame("update", [order(3, "9.0", "0", "delete")], [])))
    assert (sync.synced, sync.counts["unknown"]) == (True, 1)


def test_messages_become_changes():
    message = order_message(
        "k", frame("update", [order(25, "0.50", "2.50", "modify")], [order(1, "1", "0", "delete")])
    )
    assert message.changes == [
        OrderChange("set", "O25", "bid", "0.50", "2.50", NOON_NS + 25, NOON_NS // 1000),
        OrderChange("remove", "O1", "ask", "1", "0", NOON_NS + 1, NOON_NS // 1000),
    ]
    assert (message.time_us, message.whole, message.checksum) == (NOON_NS // 1000 + 500_000, False, None)
    assert order_message("k", frame("snapshot", [], [], 7)).checksum == 7


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"channel":"level3","type":"update","data":[]}',
        frame("update", [order(1, "1", "1", "twist")], []),
        frame("update", [order(1, '"x"', "1", "add")], []),
        frame("update", [order(1, "1", "1", "add", "yesterday")], []),
        frame("update", [order(1, "1", "1", "add", "9999-12-31T23:59:59Z")], []),
    ],
)
def test_what_is_no_message_is_refused(data: bytes):
    with pytest.raises(MalformedFrame):
        order_message("k", data)


@pytest.mark.parametrize("setting", ["keep", "lose"])
def test_whether_an_order_that_is_made_larger_keeps_its_place_is_a_setting(setting: Literal["keep", "lose"]):
    venue = Kraken("kraken", KrakenSettings(symbols=["S"], orders=True, orders_larger=setting))
    assert venue.order_feed is not None
    sync = OrderSync("BTC-USD", venue.order_feed.rules)
    bids = [order(1, "12.0", "0.10000"), order(2, "12.0", "0.10000")]
    sync.on_message(order_message("kraken", frame("snapshot", bids, [], crc32(b"12010000" * 2))))
    sums = {"keep": crc32(b"1202000012010000"), "lose": crc32(b"1201000012020000")}
    larger = frame("update", [order(1, "12.0", "0.20000", "modify", f"{NOON}.4Z")], [], sums[setting])
    assert sync.on_message(order_message("kraken", larger)) is OrderOutcome.APPLIED


def test_a_snapshot_without_a_time_is_as_late_as_its_newest_order():
    whole = frame("snapshot", [order(1, "12.0", "1"), order(7_000, "12.0", "1")], [])
    whole = whole.replace(f',"timestamp":"{NOON}.5Z"}}]'.encode(), b"}]")
    assert order_message("kraken", whole).time_us == (NOON_NS + 7_000) // 1000


def test_an_order_of_an_absurd_time_has_none_and_its_book_can_be_stored():
    rows = [order(1, "12", "1"), order(2, "12", "1", at="0001-01-01T00:00:00Z")]
    rows.append(order(3, "12", "1", at="2262-04-11T23:47:16.854775807Z"))
    sync = OrderSync("BTC-USD", order_rules(10))
    assert sync.on_message(order_message("kraken", frame("snapshot", rows, []))) is OrderOutcome.APPLIED
    restored, _ = decode_orders(encode_orders(sync, "1-0"), sync.rules)
    assert [each.order_id for each in restored.book.best("bid") or ()] == ["O2", "O1", "O3"]
    assert restored.book.age_us("O2", NOON_NS // 1000) is None


def test_two_books_at_different_messages_do_not_seem_to_stand_at_the_same_one():
    """Whoever follows a book compares it with its owner's where both stand at the same message."""
    first, later = frame("update", [], []), frame("update", [], []).replace(b".5Z", b".6Z")
    positions = [order_message("kraken", one).position for one in (first, later)]
    assert positions == [NOON_NS // 1000 + 500_000, NOON_NS // 1000 + 600_000]
