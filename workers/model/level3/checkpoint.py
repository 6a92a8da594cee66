"""A level-3 book's state as bytes, from which another worker goes on without asking the exchange.

Format 1: `MFL3`, one byte of version, CRC-32 of what follows (4 bytes, big endian), then zlib level 1 of one msgpack
map. Orders stand in the order of their queues; ranks and times are told as the difference from the order before, which
zlib then has less to do with. What it costs, `bench/level3.py` measures.
"""

from __future__ import annotations

from typing import Final

import msgspec

from workers.errors import BadNumber, StateUnreadable
from workers.model.books.order_book import Side
from workers.model.level3.book import DEFAULT_MAX_ORDERS, Level3Book
from workers.model.level3.rules import OrderRules
from workers.model.level3.sync import OrderSync
from workers.model.sealed import Seal

FORMAT_VERSION: Final = 1
LARGEST_STATE: Final = 512 * 1024 * 1024
"""Bytes after decompression that are still believed; a million orders have some 40 MB."""

_SEAL: Final = Seal(b"MFL3", FORMAT_VERSION, "a checkpoint of orders", LARGEST_STATE)


class StoredOrder(msgspec.Struct, array_like=True, gc=False):
    """`rank` and `placed_us` less those of the order before it in its side."""

    order_id: str
    quantity: str
    rank: int
    placed_us: int
    seen: bool


class StoredLevel(msgspec.Struct, array_like=True, gc=False):
    """A price and its queue."""

    price: str
    orders: list[StoredOrder]


class OrderCheckpoint(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a sync is. Of a book that was not synced only the counters and the reason."""

    symbol: str
    stream_id: str
    """The entry of the stream up to and including which the book is a fold."""
    synced: bool
    reason: str
    counts: dict[str, int]
    last_id: str
    last_position: int
    highest_rank: int
    synced_us: int
    last_us: int
    whole: bool
    doubts: tuple[list[float], list[float]]
    crossed_since_us: int | None
    crossed_events: int
    bids: list[StoredLevel]
    """Best first."""
    asks: list[StoredLevel]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(OrderCheckpoint)


def encode_orders(sync: OrderSync, stream_id: str) -> bytes:
    """The bytes of a sync that has folded its stream up to `stream_id`. O(orders)."""
    book = sync.book
    state = OrderCheckpoint(
        symbol=sync.symbol,
        stream_id=stream_id,
        synced=sync.synced,
        reason=sync.reason,
        counts=dict(sync.counts),
        last_id=sync.last_id,
        last_position=sync.last_position,
        highest_rank=sync.highest_rank,
        synced_us=sync.synced_us,
        last_us=sync.last_us,
        whole=book.whole,
        doubts=book.doubts,
        crossed_since_us=sync.crossing.since_us,
        crossed_events=sync.crossing.events,
        bids=_stored(book, "bid"),
        asks=_stored(book, "ask"),
    )
    return _SEAL.deflate(_encoder.encode(state))


def decode_orders(
    data: bytes, rules: OrderRules, max_orders: int = DEFAULT_MAX_ORDERS, key: str = "checkpoint"
) -> tuple[OrderSync, str]:
    """The sync, and the id of the stream's entry it goes on after. O(orders).

    Raises:
        StateUnreadable: truncated, damaged, of another format, or not the state of a book; it names `key`.
    """
    state = _state(data, key)
    sync = OrderSync(state.symbol, rules, max_orders)
    sync.synced, sync.reason = state.synced, state.reason
    sync.counts.update(state.counts)
    sync.last_id, sync.last_position = state.last_id, state.last_position
    sync.highest_rank = state.highest_rank
    sync.synced_us, sync.last_us = state.synced_us, state.last_us
    sync.crossing.since_us, sync.crossing.events = state.crossed_since_us, state.crossed_events
    sync.book.clear(whole=state.whole)
    sync.book.restore_doubts(*state.doubts)
    try:
        _fill(sync.book, "bid", state.bids)
        _fill(sync.book, "ask", state.asks)
    except (BadNumber, ValueError) as error:
        raise StateUnreadable(key, str(error).rstrip(".")) from error
    if sync.book.full:
        raise StateUnreadable(key, "it has more orders than the bound allows")
    return sync, state.stream_id


def _state(data: bytes, key: str) -> OrderCheckpoint:
    plain = _SEAL.inflate(data, key)
    try:
        return _decoder.decode(plain)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateUnreadable(key, str(error).rstrip(".")) from error


def _stored(book: Level3Book, side: Side) -> list[StoredLevel]:
    rank = placed_us = 0
    levels = []
    for queue in book.levels(side):
        orders = []
        for order in queue:
            orders.append(
                StoredOrder(
                    order.order_id, order.quantity, order.rank - rank, order.placed_us - placed_us, order.seen
                )
            )
            rank, placed_us = order.rank, order.placed_us
        levels.append(StoredLevel(queue.price, orders))
    return levels


def _fill(book: Level3Book, side: Side, levels: list[StoredLevel]) -> None:
    rank = placed_us = 0
    for level in levels:
        highest: int | None = None
        for order in level.orders:
            rank += order.rank
            placed_us += order.placed_us
            if highest is not None and rank < highest:
                raise ValueError(f"the queue at {level.price[:40]} is not in order")
            book.add(
                order.order_id,
                side,
                level.price,
                order.quantity,
                rank=rank,
                placed_us=placed_us,
                seen=order.seen,
            )
            highest = rank
