"""Rebuilding the single orders of a symbol from what Redis holds: their checkpoint and the stream's entries after
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.errors import BookWithheld, MalformedFrame, StateUnreadable
from workers.model.level3.checkpoint import decode_orders
from workers.model.level3.events import OrderMessage
from workers.model.level3.rules import OrderRules
from workers.model.level3.sync import OrderSync
from workers.store.books.shown import UNHEARD_MS, server_ms, text_of, unheard_ms, whole
from workers.store.keys import ORDERS, ORDERS_GROUP, Keys
from workers.store.log.streams import Delivered, GroupReader
from workers.store.orders.publishing import OrderStore
from workers.store.replies import unusable

PAGE: Final = 500
START: Final = b"0-0"


class OrderDecoding(NamedTuple):
    """How a venue tells its orders (`workers/venues/order_feed.py`)."""

    rules: OrderRules
    by_id: bool
    message: Callable[[bytes], OrderMessage | None]


class OrderStatement(NamedTuple):
    """What the owner of single orders said of them last."""

    fields: dict[str, str]
    owner: str
    """Who has the lease now; empty: nobody."""
    unheard_ms: int

    @property
    def heard(self) -> bool:
        """Whether it has an owner who still says something."""
        return bool(self.owner) and self.unheard_ms <= UNHEARD_MS

    def withdraws(self, published_us: int) -> bool:
        """Whether the owner has said since a publication (its µs) that none is to be shown, though it stands."""
        said_us = whole(self.fields.get("updated", "")) * 1000
        return self.fields.get("state") != "synced" and said_us >= published_us


class OrderFold:
    """A book of orders as a fold of its stream, by whoever does not own it: it asks nobody for a seed."""

    def __init__(self, sync: OrderSync, decoding: OrderDecoding, stream_id: bytes) -> None:
        self.sync = sync
        self.stream_id = stream_id
        """The entry up to and including which it is one."""
        self._decoding = decoding

    def take(self, entry: Delivered) -> None:
        """Fold one entry in; the book is out of sync where one is missing, or cannot be read."""
        try:
            message = self.message(entry)
            if message is not None:
                self.sync.on_message(message)
        except (
            Exception
        ):  # our own code failed over it: what comes next would be folded into a book without it
            self.sync.lose("failed")
            raise

    def message(self, entry: Delivered) -> OrderMessage | None:
        """The first half of `take`: what the sync is to be told next; None: nothing, it may have lost its book."""
        before, self.stream_id = self.stream_id, entry.stream_id
        follows = self._decoding.by_id or _number(entry.stream_id) == _number(before) + 1
        if entry.kind == "break" or (not follows and self.sync.synced and entry.kind != "snapshot"):
            self.sync.lose("connection" if entry.kind == "break" else "a message is missing")
            return None
        try:
            return self._decoding.message(entry.data)
        except MalformedFrame:
            self.sync.lose("malformed message")
            return None

    def continues(self, said: Mapping[str, str]) -> bool:
        """Whether it is a continuation of what the owner said last (the fields of its status)."""
        sync = self.sync
        if not sync.synced or whole(said.get("synced_at", "")) != sync.synced_us:
            return False
        if whole(said.get("purged_level2", "")) > sync.counts["purged_level2"]:
            return False
        place = (said.get("last_id"), whole(said.get("last_number", "")))
        bids, asks = sync.book.counts
        held = tuple(whole(said.get(name, "")) for name in ("orders", "bids", "asks"))
        return place != (sync.last_id, sync.last_position) or held == (len(sync.book), bids, asks)


async def rebuild_orders(
    client: Redis, keys: Keys, symbol: str, decoding: OrderDecoding, max_orders: int
) -> OrderFold:
    """The orders of a symbol now, as far as Redis tells; not in sync without a checkpoint that is.

    Nothing is written, and the exchange is not asked.

    Raises:
        StateUnreadable: the checkpoint cannot be decoded.

    Cost: one GET, one XRANGE per 500 entries; O(orders + entries · log n).
    """
    stored = await OrderStore(client, keys, 1).checkpoint(symbol)
    fold = OrderFold(OrderSync(symbol, decoding.rules, max_orders), decoding, START)
    if stored is not None:
        key = keys.orders_checkpoint(symbol)
        sync, stream_id = decode_orders(stored, decoding.rules, max_orders, key)
        fold = OrderFold(sync, decoding, stream_id.encode())
    reader = GroupReader(client, ORDERS_GROUP)
    while entries := await reader.range(keys.raw(symbol, ORDERS), fold.stream_id, PAGE):
        for entry in entries:
            fold.take(entry)
    return fold


async def trusted_orders(
    client: Redis, keys: Keys, symbol: str, decoding: OrderDecoding, max_orders: int
) -> OrderSync:
    """The orders of a symbol now, as their owner vouches for them.

    Raises:
        BookWithheld: they cannot be trusted now.
        StateUnreadable: checkpoint or status cannot be decoded.

    Cost: `rebuild_orders`, and one round trip.
    """
    fold = await rebuild_orders(client, keys, symbol, decoding, max_orders)
    said = await order_statement(client, keys, symbol)
    state = said.fields.get("state", "waiting")
    if not said.owner:
        state = "not owned"
    elif said.unheard_ms > UNHEARD_MS:
        state = "unheard"
    elif state == "synced" and not (fold.sync.trusted and fold.continues(said.fields)):
        state = "changing: ask again"
    if state != "synced":
        raise BookWithheld(symbol, state, said.fields.get("reason", ""), "the single orders of ")
    return fold.sync


async def order_statements(
    client: Redis, symbols: Sequence[tuple[Keys, str]]
) -> list[OrderStatement | StateUnreadable]:
    """What the owners said last, and whether they are heard; or which status is none. One round trip."""
    pipe: Any = client.pipeline(transaction=False)
    for keys, symbol in symbols:
        pipe.hgetall(keys.orders_status(symbol))
        pipe.hget(keys.lease(ORDERS_GROUP, symbol), "owner")
    pipe.time()
    *replies, time = await pipe.execute(raise_on_error=False)
    found: list[OrderStatement | StateUnreadable] = []
    for (keys, symbol), status, owner in zip(symbols, replies[::2], replies[1::2], strict=True):
        if (problem := unusable(keys.orders_status(symbol), status)) is not None:
            found.append(problem)
            continue
        fields = text_of(status)
        named = owner.decode(errors="replace") if isinstance(owner, bytes) else ""
        found.append(OrderStatement(fields, named, unheard_ms(fields.get("told_ms"), server_ms(time))))
    return found


async def order_statement(client: Redis, keys: Keys, symbol: str) -> OrderStatement:
    """That of one symbol. One round trip. Raises: StateUnreadable."""
    [found] = await order_statements(client, [(keys, symbol)])
    if isinstance(found, StateUnreadable):
        raise found
    return found


def _number(stream_id: bytes) -> int:
    """The log's own count of an entry, where the exchange has none."""
    return int(stream_id.partition(b"-")[2])
