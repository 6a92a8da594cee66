"""Rebuilding a symbol's book from what Redis holds: its checkpoint and the stream entries after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from redis.asyncio import Redis

from workers.errors import StateUnreadable, WireError
from workers.model.books.checkpoint import Checkpoint, decode_checkpoint
from workers.model.books.in_band import BookRule
from workers.model.books.order_book import DEFAULT_MAX_LEVELS, OrderBook
from workers.model.books.sync import BookSync, SequenceRule, SyncState
from workers.model.events import DepthEvent
from workers.store.keys import BOOKS_GROUP, DEPTH, Keys
from workers.store.log.streams import Delivered, GroupReader
from workers.store.replies import unusable

PAGE = 500


class Rebuilt(NamedTuple):
    """A book as a fold of its stream up to and including the entry `stream_id`."""

    sync: BookSync
    stream_id: bytes
    unusable: int
    """Entries that could not be decoded; if one mattered, the book is not in sync."""

    @property
    def state(self) -> SyncState:
        """The book says something only if this is `SYNCED`."""
        return self.sync.state

    @property
    def book(self) -> OrderBook:
        """The levels and the known range; empty unless in sync."""
        return self.sync.book


async def stored_checkpoint(client: Redis, keys: Keys, symbol: str) -> Checkpoint | None:
    """The checkpoint of a symbol's book. Raises StateUnreadable."""
    key = keys.book_checkpoint(symbol)
    pipe: Any = client.pipeline(transaction=False)
    [stored] = await pipe.get(key).execute(raise_on_error=False)
    if (problem := unusable(key, stored)) is not None:
        raise problem
    return None if stored is None else decode_checkpoint(bytes(stored), key)


async def begin(client: Redis, keys: Keys, sync: BookSync) -> bytes:
    """Bring a fresh `sync` to where the checkpoint of its symbol stands: what a takeover and `rebuild` begin with.

    Returns the id of the stream entry up to which it is a fold; `0-0` without a checkpoint, and with one whose entry is
    gone where ids do not show whether what followed it is.

    Raises:
        StateUnreadable: the checkpoint is damaged, or another book's; `sync` is as it was.
    """
    checkpoint = await stored_checkpoint(client, keys, sync.symbol)
    if checkpoint is None:
        return b"0-0"
    if checkpoint.synced and sync.rule is SequenceRule.RISING:
        pipe: Any = client.pipeline(transaction=False)
        pipe.xrange(keys.raw(sync.symbol, DEPTH), checkpoint.stream_id, checkpoint.stream_id)
        [entry] = await pipe.execute(raise_on_error=False)
        if not entry or isinstance(entry, Exception):
            return b"0-0"
    sync.restore(checkpoint)
    return checkpoint.stream_id.encode()


async def rebuild(
    client: Redis,
    keys: Keys,
    symbol: str,
    *,
    rule: BookRule,
    decode: Callable[[str, Delivered], DepthEvent],
    now_ms: int,
    at: int | None = None,
    max_levels: int = DEFAULT_MAX_LEVELS,
) -> Rebuilt:
    """The book of a symbol, now or at an update id; nothing is written and the exchange is not asked.

    Without a checkpoint, or when the stream no longer reaches back to it, the result is not in sync.

    Args:
        decode: makes the event of a symbol's entry; raises WireError for what it cannot use.
        now_ms: the time of the caller's clock, as for `BookSync`.
        at: the last update id wanted: the book then stands at it, or at the end of the last event before it.

    Raises:
        StateUnreadable: the checkpoint is damaged, or stands beyond `at`.

    Cost: one GET and one XRANGE per 500 entries; an event costs as in `BookSync`.
    """
    sync = rule.sync(symbol, max_levels=max_levels)
    stream_id, unusable = await begin(client, keys, sync), 0
    if at is not None and sync.last_update_id > at:
        problem = f"it stands at update id {sync.last_update_id}, beyond the wanted {at}"
        raise StateUnreadable(keys.book_checkpoint(symbol), problem)
    reader = GroupReader(client, BOOKS_GROUP)
    while entries := await reader.range(keys.raw(symbol, DEPTH), stream_id, PAGE):
        for entry in entries:
            try:
                event = decode(symbol, entry)
                if at is not None and event.last_id > at:
                    return Rebuilt(sync, stream_id, unusable)
                sync.on_event(event, now_ms)
            except WireError:
                unusable += 1
            stream_id = entry.stream_id
    return Rebuilt(sync, stream_id, unusable)
