"""Bitfinex's single orders: the server's checksum from our own queues, the window, and what is no frame."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from zlib import crc32

import pytest

from workers.errors import MalformedFrame
from workers.model.level3.book import Level3Book
from workers.model.level3.events import OrderChange
from workers.model.level3.sync import OrderOutcome, OrderSync
from workers.venues.bitfinex.checksum import book_checksum
from workers.venues.bitfinex.orders import order_message, order_rules, orders_checksum

SNAPSHOT = (
    b"[312671,[[34753002979,7294.7,0.5],[34753002978,7294.7,1.54340371],[34753002970,7295.1,-0.2],"
    b"[34753002971,7295.1,-0.0000007]],4,1790134414850]"
)


def place_orders(book: Level3Book, row: list, first_id: int) -> int:
    """So many orders at a price as the level says it has, which add up to its amount."""
    price, count, amount = (Decimal(figure) for figure in row)
    side = "bid" if amount > 0 else "ask"
    share = Decimal("0.00000001")
    for index in range(int(count)):
        quantity = abs(amount) - share * (int(count) - 1) if index == 0 else share
        book.add(str(first_id + index), side, f"{price:f}", f"{quantity:f}")
    return first_id + int(count)


@pytest.mark.recorded
def test_the_checksum_of_the_server_comes_from_the_sums_of_our_own_queues(recorded_folder: Path):
    """The only one there is was sent of levels: they are built of as many orders as they say, and summed again."""
    vector = json.loads((recorded_folder / "venues" / "vectors" / "bitfinex_checksum.json").read_bytes())
    snapshot, update = (json.loads(text, parse_float=str, parse_int=str)[1] for text in vector["frames"][2:4])
    book, next_id = Level3Book(), 1
    for row in [*(row for row in snapshot if Decimal(row[0]) != Decimal(update[0])), update]:
        next_id = place_orders(book, row, next_id)
    book.check()
    assert len(book) == next_id - 1 == 90
    assert book_checksum(*book.level2(25)) == vector["expected"] == -1175357890


def by_hand(text: str) -> int:
    checksum = crc32(text.encode())
    return checksum - 2**32 if checksum >= 2**31 else checksum


def test_the_checksum_of_orders_is_by_id():
    sync = OrderSync("S", order_rules())
    assert sync.on_message(order_message("b", SNAPSHOT)) is OrderOutcome.APPLIED
    text = "34753002978:1.54340371:34753002970:-0.2:34753002979:0.5:34753002971:-7e-7"
    assert orders_checksum(sync.book) == by_hand(text)
    grown = b"[312671,[34753002978,7294.7,1.6],5,1790134414990]"
    assert sync.on_message(order_message("b", grown)) is OrderOutcome.APPLIED
    assert [one.order_id for one in sync.book.best("bid") or ()] == ["34753002979", "34753002978"]
    text = text.replace("1.54340371", "1.6")
    assert (
        sync.on_message(order_message("b", f'[312671,"cs",{by_hand(text)},6]'.encode()))
        is OrderOutcome.APPLIED
    )
    assert sync.on_message(order_message("b", b'[312671,"cs",1,7]')) is OrderOutcome.LOST


def test_no_more_than_25_orders_a_side_take_part():
    book = Level3Book()
    for number in range(30, 0, -1):
        book.add(str(number), "bid", "10", f"{number}")
    assert orders_checksum(book) == by_hand(":".join(f"{number}:{number}" for number in range(1, 26)))


def test_frames_become_changes():
    snapshot = order_message("b", SNAPSHOT)
    assert snapshot is not None
    assert snapshot.whole
    assert [change.rank for change in snapshot.changes] == [
        34753002970,
        34753002971,
        34753002978,
        34753002979,
    ]
    assert snapshot.changes[1] == OrderChange("put", "34753002971", "ask", "7295.1", "0.0000007", 34753002971)
    gone = order_message("b", b"[312671,[34753002978,0,-1],10,1790134415001]")
    assert gone is not None
    assert gone.changes == [OrderChange("remove", "34753002978", "ask")]
    assert (gone.time_us, gone.position, gone.whole) == (1790134415001000, 10, False)
    assert order_message("b", b'[312671,"hb",11]') is None


@pytest.mark.parametrize(
    "data", [b"", b"[1]", b"[1,[0,1,1]]", b"[1,[1,true,1]]", b'[1,"cs",1e99]', b'[1,"te",[1,2]]']
)
def test_what_is_no_frame_is_refused(data: bytes):
    with pytest.raises(MalformedFrame):
        order_message("b", data)
