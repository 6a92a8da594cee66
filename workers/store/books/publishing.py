"""What the owner of a book writes: publications and checkpoints, both only while its lease holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import dropwhile
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import LeaseLost
from workers.store.keys import BOOKS_GROUP, DEPTH, Keys
from workers.store.log.streams import Delivered, GroupReader, update_id_of
from workers.store.records import append_once
from workers.store.scripts import Argument, Scripts

PAGE: Final = 500


class Read(NamedTuple):
    """Entries of a raw stream that its owner has read by a plain read, in a row after the place of the group."""

    entries: int
    last: bytes
    """The stream id of the last."""


def _told(read: Read | None) -> bytes:
    return b"%d %b" % read if read is not None else b""


def _in_a_line(value: object) -> str:
    """A value of a status; a reason may be what somebody else wrote, and the script cannot use half a field."""
    return str(value).replace("\n", " ")


class Publication(NamedTuple):
    """One write of a book: what it changes of the shown payload and of the status."""

    symbol: str
    token: int
    payload: bytes | None
    """None: leave what is shown."""
    withdraw: bool
    """Remove what is shown (there is no payload then)."""
    status: Mapping[str, str | int | float]
    read: Read | None = None
    """What was read without the group since the last time: the group gives it to the owner."""


class Signals(NamedTuple):
    """What a publication told the owner."""

    fenced: list[str]
    """Symbols whose lease is another's now: nothing of theirs was written."""
    distrusted: dict[str, str]
    """Symbols whose book was found wrong, and why."""
    gone: Sequence[str] = ()
    """Symbols that should be shown and are not: somebody removed or spoiled them."""
    refused: Mapping[str, ResponseError] = MappingProxyType({})
    """Symbols of which a key is of another type; what their other keys hold was written."""
    replaced: str = ""
    """The type `LIVE_ORDERBOOK` had before it was made anew, empty; an empty text: none but its own."""
    elsewhere: Sequence[str] = ()
    """Symbols whose group gave out other entries than the owner had read, or none."""


class Committed(NamedTuple):
    """What a commit did."""

    acknowledged: int
    elsewhere: bool
    """As of `Signals`."""
    besides: int = 0
    """Entries up to `folded` that this owner never saw: they were given to an earlier one that read on."""


class BookStore:
    """The books of one venue in Redis.

    Args:
        client: may retry: all writes are absolute, or appended once.
        top_entries: payloads kept in each `book:{S}:top`.
    """

    def __init__(self, client: Redis, keys: Keys, top_entries: int) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._keys = keys
        self._top_entries = top_entries

    async def publish(self, publications: Sequence[Publication]) -> Signals:
        """Write several books in one call; what it tells the owner is returned."""
        if not publications:
            return Signals([], {})
        # the first thing that a server without memory refuses ends the call
        publications = sorted(publications, key=lambda made: not made.withdraw)
        keys = [self._keys.live_orderbook]
        arguments: list[Argument] = [self._top_entries]
        for symbol, token, payload, withdraw, status, read in publications:
            keys += (
                self._keys.lease(BOOKS_GROUP, symbol),
                self._keys.book_top(symbol),
                self._keys.book_status(symbol),
                self._keys.book_distrust(symbol),
                self._keys.raw(symbol, DEPTH),
            )
            fields = "".join(f"{name}\n{_in_a_line(value)}\n" for name, value in status.items())
            arguments += (symbol, token, b"-" if withdraw else payload or b"", fields, _told(read))
        reply = await self._scripts.run("books/publish", keys, arguments)
        fenced, distrusted, gone, replaced = list[str](), dict[str, str](), list[str](), ""
        refused: dict[str, ResponseError] = {}
        elsewhere = list[str]()
        for position, said in zip(reply[::2], reply[1::2], strict=True):
            signal, _, what = said.decode(errors="replace").partition(" ")
            symbol = publications[position - 1].symbol
            if signal == "REPLACED":
                replaced = what
            elif signal == "FENCED":
                fenced.append(symbol)
            elif signal == "DISTRUST":
                distrusted[symbol] = what
            elif signal == "GONE":
                gone.append(symbol)
            elif signal == "ELSEWHERE":
                elsewhere.append(symbol)
            else:
                refused[symbol] = ResponseError(what)
        return Signals(fenced, distrusted, tuple(gone), refused, replaced, tuple(elsewhere))

    async def distrust(self, symbol: str, reason: str) -> None:
        """Make the owner of a book take it out of sync, within a second or so, and sync it anew."""
        await self._client.set(self._keys.book_distrust(symbol), reason, ex=60)

    async def commit(
        self,
        symbol: str,
        token: int,
        channel: str,
        checkpoint: bytes | None,
        ids: Sequence[bytes],
        read: Read | None = None,
        folded: bytes = b"",
    ) -> Committed:
        """Store a checkpoint (None keeps the stored one) and acknowledge `ids`.

        Args:
            read: as of a `Publication`.
            folded: the id up to which all is in the checkpoint, whoever read it; empty: only `ids` are.

        Raises:
            LeaseLost: another worker owns the symbol; nothing was written.
        """
        keys = [
            self._keys.lease(BOOKS_GROUP, symbol),
            self._keys.raw(symbol, channel),
            self._keys.book_checkpoint(symbol),
        ]
        arguments: list[Argument] = [token, BOOKS_GROUP, checkpoint or b"", _told(read), folded, *ids]
        done, elsewhere, besides = await self._scripts.run("books/commit", keys, arguments)
        if done < 0:
            raise LeaseLost(symbol, token)
        return Committed(int(done), bool(elsewhere), int(besides))

    async def log_from(self, symbol: str, update_id: int) -> AsyncIterator[list[Delivered]]:
        """The depth entries from the one that contains an update id on, page by page, whoever read them.

        Cost: about 20 round trips to find the place, one per 500 entries.
        """
        reader, key = GroupReader(self._client, BOOKS_GROUP), self._keys.raw(symbol, DEPTH)
        place = await reader.place_before(key, update_id)
        before = True
        while page := await reader.range(key, place, PAGE):
            place = page[-1].stream_id
            if before:
                page = list(dropwhile(lambda entry: update_id_of(entry.stream_id) < update_id, page))
                before = not page
            if page:
                yield page

    async def keep_snapshot(self, symbol: str, body: bytes, received_us: int, kept: int) -> None:
        """Keep a REST snapshot as received, so that the stream explains itself."""
        fields: dict[str, Argument] = {"data": body, "received": received_us}
        await append_once(self._client, self._keys.raw_snapshot(symbol), fields, kept=kept, exactly=True)
