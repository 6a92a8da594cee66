"""What the fleet holds in Redis, read for a check or a display."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.model.books.checkpoint import Checkpoint
from workers.model.trades.latest import decode_member
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.schema import Settings
from workers.store.books.rebuilding import stored_checkpoint
from workers.store.books.shown import SymbolReading, read_symbols, text_of, whole
from workers.store.keys import DEPTH, TRADES
from workers.store.log.streams import NO_HOLE, undelivered
from workers.store.replies import unusable
from workers.store.trades.latest import ids_after_of
from workers.terminal.output import Totals
from workers.verification.truth import HeldBars

PAGE: Final = 5_000
LAST_ENTRIES: Final = 10
Entry = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True, eq=False)
class Book:
    """One symbol of one venue."""

    context: VenueContext
    symbol: str

    @property
    def name(self) -> str:
        """`BTCUSDT` of the first venue, `spot:BTCUSDT` of another: as its keys have it."""
        return f"{self.context.keys.prefix}{self.symbol}"


class GroupState(NamedTuple):
    """How far a consumer group has come with one stream."""

    exists: bool = False
    waiting: int = 0
    pending: int = 0
    breaks: int = 0
    """How many of the pending ones are breaks at the end of the stream: they wait for the next trade."""

    @property
    def caught_up(self) -> bool:
        """Whether everything in the stream that can be acknowledged has been delivered and is."""
        return self.exists and self.waiting == 0 and self.pending == self.breaks


class Gap(NamedTuple):
    """Ids of a channel that were missing, as `gaps:{S}` tells them."""

    first: int
    last: int
    reason: str


class FleetReader:
    """Reads of one fleet's keys.

    Args:
        client: a client of its Redis.
        settings: the fleet's settings.
    """

    def __init__(self, client: Redis, settings: Settings) -> None:
        self.client = client
        self.contexts = venue_contexts(settings)
        self.books = [Book(context, symbol) for context in self.contexts for symbol in context.symbols]
        self._top_from: dict[str, str] = {}

    async def refresh(self) -> None:
        """Take in which symbols the fleet follows now: the settings alone tell only those they name."""
        for context in self.contexts:
            with suppress(
                StateUnreadable
            ):  # the keeper publishes again soon; until then what was known holds
                await context.symbols.refresh(self.client)
        known = {(book.context.name, book.symbol): book for book in self.books}
        self.books = [
            known.get((context.name, symbol)) or Book(context, symbol)
            for context in self.contexts
            for symbol in context.symbols
        ]

    def is_listed(self, book: Book) -> bool:
        """Whether the exchange lists a symbol, as far as the keeper has said."""
        return book.symbol not in book.context.symbols.unlisted

    def unlisted(self) -> list[str]:
        """A sentence for each symbol that the settings name and its exchange does not list."""
        return [
            f"{book.name}: {book.context.symbols.why_silent(book.symbol)}."
            for book in self.books
            if not self.is_listed(book)
        ]

    async def shown(self, context: VenueContext) -> dict[str, dict[str, Any]]:
        """The published payload of every book of a venue that is in sync."""
        found = {}
        for symbol, payload in (await self._hash(context.keys.live_orderbook)).items():
            with suppress(msgspec.DecodeError):  # not ours; the next publication replaces it
                if isinstance(content := msgspec.json.decode(payload), dict):
                    found[symbol] = content
        return found

    async def totals(self) -> Totals:
        """Books in sync, messages taken in and trades applied so far."""
        pipe = self.client.pipeline(transaction=False)
        for context in self.contexts:
            pipe.hlen(context.keys.live_orderbook)
        for book in self.books:
            keys = book.context.keys
            pipe.hget(keys.trades_state(book.symbol), "applied_count")
            pipe.xinfo_stream(keys.raw(book.symbol, DEPTH))
            pipe.xinfo_stream(keys.raw(book.symbol, TRADES))
        replies = await pipe.execute(raise_on_error=False)
        synced = sum(found for found in replies[: len(self.contexts)] if isinstance(found, int))
        messages = trades = 0
        for place in range(len(self.contexts), len(replies), 3):
            applied, *streams = replies[place : place + 3]
            trades += whole(applied.decode(errors="replace")) if isinstance(applied, bytes) else 0
            messages += sum(_added(stream) for stream in streams if not isinstance(stream, Exception))
        return Totals(synced, messages, trades)

    async def published(self, book: Book) -> list[dict[str, Any]]:
        """The payloads published since the last call."""
        key = book.context.keys.book_top(book.symbol)
        entries = await self._entries(key, self._top_from.get(key, "-"))
        if entries:
            self._top_from[key] = f"({entries[-1][0].decode()}"
        return [msgspec.json.decode(fields[b"data"]) for _, fields in entries]

    async def _entries(self, key: str, after: str, count: int | None = None) -> list[Entry]:
        # redis-py's types cover decoded replies and both protocols at once; ours are bytes.
        return cast(list[Entry], await self.client.xrange(key, min=after, count=count))

    async def _hash(self, key: str) -> dict[str, str]:
        """What a hash holds; nothing where the key is none."""
        try:
            found = await self.client.hgetall(key)
        except ResponseError as error:
            if unusable(key, error) is None:
                raise
            return {}
        return text_of(cast(dict[bytes, bytes], found))

    async def status(self, book: Book) -> dict[str, str]:
        """The status hash of a book."""
        return await self._hash(book.context.keys.book_status(book.symbol))

    async def owner(self, book: Book, role: str) -> str:
        """The worker that holds the lease of a symbol in a role; empty when nobody does."""
        return (await self._hash(book.context.keys.lease(role, book.symbol))).get("owner", "")

    async def checkpoint(self, book: Book) -> Checkpoint | None:
        """The stored checkpoint of a book.

        Raises:
            StateUnreadable: it cannot be decoded.
        """
        return await stored_checkpoint(self.client, book.context.keys, book.symbol)

    async def gaps(self, book: Book) -> int:
        """How many holes were recorded; what only marks ids, and what others wrote there, is none."""
        key = book.context.keys.gaps(book.symbol)
        try:
            entries = await self._entries(key, "-")
            return sum(fields.get(b"repaired", b"") not in (b"", NO_HOLE.encode()) for _, fields in entries)
        except ResponseError as error:
            if unusable(key, error) is None:
                raise
            return 0

    async def readings(self, context: VenueContext) -> list[tuple[Book, SymbolReading]]:
        """What Redis says of every symbol of a venue."""
        books = [book for book in self.books if book.context is context]
        found = await read_symbols(self.client, context.keys, [book.symbol for book in books])
        return list(zip(books, found, strict=True))

    async def holes(self, book: Book, channel: str) -> list[Gap]:
        """The holes recorded of a channel."""
        entries = await self._entries(book.context.keys.gaps(book.symbol), "-")
        return [
            Gap(int(fields[b"from"]), int(fields[b"to"]), fields[b"reason"].decode())
            for _, fields in entries
            if fields.get(b"channel") == channel.encode()
        ]

    async def group(self, book: Book, channel: str, group: str) -> GroupState:
        """How far a group has come with one raw stream."""
        key = book.context.keys.raw(book.symbol, channel)
        try:
            groups = await self.client.xinfo_groups(key)
        except ResponseError:
            return GroupState()
        for found in groups:
            if found["name"] == group.encode():
                pending = int(found["pending"])
                waiting = await undelivered(self.client, key, found)
                return GroupState(
                    True, waiting, pending, await self._breaks_at_end(key, group) if pending else 0
                )
        return GroupState()

    async def _breaks_at_end(self, key: str, group: str) -> int:
        """How many breaks that nothing has followed yet a group has pending, of the last few entries of a stream."""
        last = cast(list[Entry], await self.client.xrevrange(key, count=LAST_ENTRIES))
        at_end = takewhile(lambda entry: entry[1].get(b"kind") == b"break", last)
        breaks = [stream_id for stream_id, _ in at_end]
        if not breaks:
            return 0
        return len(await self.client.xpending_range(key, group, breaks[-1], "+", len(breaks)))

    async def ids_after(self, book: Book) -> int:
        """The newest trade time before the ids of trades began anew, ms; 0: they never did."""
        return await ids_after_of(self.client, book.context.keys, book.symbol)

    async def last_trade_id(self, book: Book) -> int | None:
        """The last aggregate id of the trades fold."""
        found = (await self._hash(book.context.keys.trades_state(book.symbol))).get("last_id", "")
        last_id = whole(found, -1)
        return last_id if last_id >= 0 else None

    async def long_windows_lag(self, book: Book) -> bool:
        """Whether trades are folded that the windows of 5 m and longer do not show yet."""
        found = (await self._hash(book.context.keys.trades_state(book.symbol))).get("long_windows", "")
        return bool(found) and not found.endswith("|")

    async def trades(self, book: Book) -> list[tuple[float, Mapping[str, Any]]]:
        """The whole latest set: score and member."""
        members: list[tuple[float, Mapping[str, Any]]] = []
        key = book.context.keys.trades_latest(book.symbol)
        while True:
            page = cast(
                list[tuple[bytes, float]],
                await self.client.zrange(key, len(members), len(members) + PAGE - 1, withscores=True),
            )
            for member, score in page:
                row = decode_member(member, book.symbol, int(score))
                members.append((float(score), msgspec.structs.asdict(row)))
            if len(page) < PAGE:
                return members

    async def bars(self, book: Book, interval: str) -> HeldBars:
        """The bar stream and the stats hash of one interval."""
        if interval not in INTERVALS_MS:
            raise ValueError(interval)
        keys = book.context.keys
        key = keys.bars(book.symbol, interval)
        closed = [bar async for bar in self._bar_stream(key)]
        try:
            added = _added(await self.client.xinfo_stream(key))
        except ResponseError:
            added = 0
        stats = await self._hash(keys.stats(book.symbol, interval))
        return HeldBars(closed, stats, trimmed=added > len(closed))

    async def _bar_stream(self, key: str) -> AsyncIterator[dict[str, str]]:
        after = "-"
        while page := await self._entries(key, after, PAGE):
            for _, fields in page:
                yield text_of(fields)
            after = f"({page[-1][0].decode()}"

    async def leftovers(self) -> list[str]:
        """Keys of these symbols that exist already."""
        found = []
        for book in self.books:
            keys = book.context.keys
            names = [
                keys.raw(book.symbol, DEPTH),
                keys.raw(book.symbol, TRADES),
                keys.trades_state(book.symbol),
                keys.book_checkpoint(book.symbol),
            ]
            found += [name for name in names if await self.client.exists(name)]
        return found


def _added(stream: Mapping[str, Any]) -> int:
    return int(stream.get("entries-added", stream["length"]))
