"""Appending to the raw streams, and reading them as the one owner of a symbol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from workers.model.events import Kind
from workers.store.log.appending import Place, call_of
from workers.store.records import append_once
from workers.store.refusals import refusal_of
from workers.store.scripts import Argument, Scripts

_READ: Final = b"XREADGROUP"
"""As bytes, redis-py knows no parser for it and leaves the reply as it came: a list an entry, not a dict."""
MOST_DIGITS = 17
"""Of a time in µs: beyond the year 5000 nothing is believed."""
CONSUMER = "owner"
"""The one consumer name of every group: a symbol has one owner at a time, and names that die leak."""
OTHER_TIME_MS = 10_000
"""By how much the times may differ that two lines file one event under."""
COUNTED = 1_000
"""Entries not yet delivered that are counted one by one."""
GAPS_LOOKED_AT = 100
"""Newest entries of a gaps stream among which a hole is looked for."""
SAME_GAP_MS = 3_600_000
"""How long a hole of the same ids is the same hole: no raw stream reaches back that far, by default."""
NO_HOLE: Final = "no hole"
"""In place of how a hole was repaired: the ids are marked, and none is missing."""
_GAP: Final = ("channel", "from", "to", "repaired")


class RawEntry(NamedTuple):
    """One exchange message on its way into a stream."""

    key: str
    event_ms: int
    update_id: int
    data: bytes
    received_us: int
    line: str
    kind: Kind | Literal["lost"] = "update"
    """`lost` is never in the log: a line does not receive the named trades of a symbol any more."""
    turn: str = ""
    """Of books that the exchange does not number: what a line writes over one socket; no blanks. Unique for ever."""
    number: int = 0
    """Its place in the turn: it rises. Of a break of named trades: since when the line did not receive them, ms. Where
    ids only order, and do not show what is missing: 1."""
    name: str = ""
    """Of trades whose ids only name them: the exchange's name of it."""

    @property
    def numbered(self) -> bool:
        """Whether the log numbers it (`NumberedStreams`); else it goes by its `update_id`."""
        return bool(self.turn or self.name)


class Appended(NamedTuple):
    """What became of a batch."""

    appended: int
    repeats: int
    resets: int
    repeats_by_key: dict[str, int]
    leads: list[tuple[str, int]]
    """For a sample of the repeats: the line that was first, and by how many µs."""


class UpdateIds(NamedTuple):
    """Update ids that a stream has."""

    ids: set[int]
    newest: int
    """-1: nothing."""


class Delivered(NamedTuple):
    """One stream entry as a reader gets it; `data` is empty for one trimmed before it was read."""

    stream_id: bytes
    data: bytes
    received_us: int
    kind: str = "update"
    """What the entry says it is: of depth streams, a `Kind`."""


class RawStreams:
    """The write side of the raw streams.

    Args:
        client: may retry: the script drops what a first, unanswered try had appended already.
        id_reset_ms: see `lua/log/append.lua`.
    """

    def __init__(self, client: Redis, id_reset_ms: int) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._id_reset_ms = id_reset_ms
        self._last_ids: dict[str, Place] = {}
        """By key ms and update id of the entry that was appended last, where that is known for sure."""

    async def append(self, entries: Sequence[RawEntry], retention_ms: Mapping[str, int]) -> Appended:
        """Append a batch in one call; repeats are dropped and counted.

        Args:
            entries: in the order received; those of one stream in the order of its updates.
            retention_ms: for each stream key, how much older than its newest an entry may become.

        Cost: one round trip.
        """
        call = call_of(entries, retention_ms, self._last_ids, self._id_reset_ms)
        keys = list(call.newest)
        for key in keys:
            self._last_ids.pop(key, None)
        reply = await self._scripts.run("log/append", keys, call.arguments)
        counts, firsts = reply[3 : 3 + len(keys)] or [0] * len(keys), reply[3 + len(keys) :]
        for (key, entry), repeats in zip(call.newest.items(), counts, strict=True):
            # a repeat may have another time, and other kinds have other ids
            if not repeats and entry.kind == "update":
                self._last_ids[key] = (entry.event_ms, entry.update_id)
        leads = [(line.decode(), lead) for line, lead in zip(firsts[::2], firsts[1::2], strict=True)]
        return Appended(reply[0], reply[1], reply[2], dict(zip(keys, counts, strict=True)), leads)

    async def trim(self, retention_ms: Mapping[str, int], newest_ms: int) -> None:
        """Trim streams as entries of a time (exchange ms) would, for want of memory to append any: nobody else does, so
        it would stay full. What cannot be trimmed stays as it is. One round trip."""
        client: Any = self._client
        pipe = client.pipeline(transaction=False)
        for key, kept_ms in retention_ms.items():
            pipe.xtrim(key, minid=max(0, newest_ms - kept_ms))
        with suppress(RedisError, OSError):
            await pipe.execute(raise_on_error=False)

    async def update_ids(self, key: str, first_ms: int, last_ms: int) -> UpdateIds:
        """The update ids a stream has of some time, and its newest. One round trip per 1,000 entries, and one more.

        A line may have filed an event under another time than the other line would have: some seconds more are read.
        """
        client: Any = self._client
        newest = await client.xrevrange(key, count=1)
        ids: set[int] = set()
        start, end = f"{max(0, first_ms - OTHER_TIME_MS)}-0", str(last_ms + OTHER_TIME_MS)
        while page := await client.xrange(key, min=start, max=end, count=COUNTED):
            ids.update(int(entry[0].partition(b"-")[2]) for entry in page)
            start = f"({page[-1][0].decode()}"
        return UpdateIds(ids, int(newest[0][0].partition(b"-")[2]) if newest else -1)


def received_of(text: bytes) -> int:
    """When an entry says it was received, µs; 0, which is not known, for what is no such time."""
    return int(text) if text.isdigit() and len(text) <= MOST_DIGITS else 0


def delivered(entries: Iterable[tuple[bytes, Mapping[bytes, bytes] | None]]) -> list[Delivered]:
    """Raw stream entries as the client gave them, as readers get them."""
    found = []
    for stream_id, fields in entries:
        if fields and b"data" in fields:
            kind = fields.get(b"kind", b"update").decode(errors="replace")
            found.append(
                Delivered(stream_id, fields[b"data"], received_of(fields.get(b"received", b"")), kind)
            )
        else:
            found.append(Delivered(stream_id, b"", 0))
    return found


def unparsed(entries: Iterable[tuple[bytes, Sequence[bytes] | None]]) -> list[Delivered]:
    """The same as `delivered`, of entries as the server gave them: id, and names and values in turn."""
    found = []
    for stream_id, fields in entries:
        if fields and len(fields) == 6 and fields[0] == b"data" and fields[2] == b"received":
            found.append(Delivered(stream_id, fields[1], received_of(fields[3])))
        elif fields:
            found += delivered([(stream_id, dict(zip(fields[::2], fields[1::2], strict=True)))])
        else:
            found.append(Delivered(stream_id, b"", 0))
    return found


def update_id_of(stream_id: bytes) -> int:
    """The update id at which the event of a stream entry ends."""
    return parts(stream_id)[1]


def goes_on(before: bytes, after: bytes) -> bool:
    """Whether a reader came further in a stream, from one id to another."""
    return parts(after) > parts(before)


def parts(stream_id: bytes) -> tuple[int, int]:
    """The ms and the update id of a stream id; `0` is short for `0-0`."""
    ms, _, update_id = stream_id.partition(b"-")
    return int(ms), int(update_id or 0)


class GroupReader:
    """Reads several streams through one consumer group, as their owner.

    Args:
        client: must not retry by itself (see `connect_reader`).
        group: `books`, `trades` or `archive`.
    """

    def __init__(self, client: Redis, group: str) -> None:
        self._client: Any = client
        self.group = group
        self.refused: dict[str, ResponseError] = {}
        """By key, why the last call of `new` could not read that stream: another type, or no such group."""

    async def ensure(self, key: str, start: str = "0") -> bool:
        """Make the group on a stream unless it is there; True when it was made now."""
        try:
            await self._client.xgroup_create(key, self.group, id=start, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" in str(error):
                return False
            raise
        return True

    async def new(self, keys: Sequence[str], count: int) -> dict[str, list[Delivered]]:
        """Entries nobody read yet, at most `count` per stream; never blocks. What one key refuses is in `refused`.

        Cost: one round trip; one more, with a command a stream, while a key among them refuses: Redis answers for all
        or for none.

        Raises:
            RedisError: no stream could be read, whatever its key holds.
        """
        self.refused = {}
        if not keys:
            return {}
        try:
            found = await self._read(keys, [">"] * len(keys), count)
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            return await self._each(keys, count)
        return {key.decode(): unparsed(entries) for key, entries in found}

    async def _each(self, keys: Sequence[str], count: int) -> dict[str, list[Delivered]]:
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.execute_command(_READ, "GROUP", self.group, CONSUMER, "COUNT", count, "STREAMS", key, ">")
        entries: dict[str, list[Delivered]] = {}
        for key, reply in zip(keys, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(reply, ResponseError) and not refusal_of(reply).of_server:
                self.refused[key] = reply
            elif isinstance(reply, Exception):
                raise reply
            else:
                for _, found in reply.items() if isinstance(reply, dict) else reply or []:
                    entries[key] = unparsed(found)
        return entries

    async def pending(self, key: str, after: bytes | str, count: int) -> list[Delivered]:
        """Entries delivered to an owner but not acknowledged, in stream order, after a stream id."""
        for _, entries in await self._read([key], [after], count):
            return unparsed(entries)
        return []

    async def _read(
        self, keys: Sequence[str], after: Sequence[bytes | str], count: int
    ) -> Iterable[tuple[bytes, Sequence[Any]]]:
        found = await self._client.execute_command(
            _READ, "GROUP", self.group, CONSUMER, "COUNT", count, "STREAMS", *keys, *after
        )
        return found.items() if isinstance(found, dict) else found or []

    async def range(self, key: str, after: bytes | str, count: int, until: str = "+") -> list[Delivered]:
        """Entries of the log itself after a stream id, up to another, whoever read them."""
        start = f"({after.decode() if isinstance(after, bytes) else after}"
        return delivered(await self._client.xrange(key, min=start, max=until, count=count))

    async def before(self, key: str, stream_id: bytes, count: int) -> list[Delivered]:
        """Entries of the log itself before a stream id, the newest first, whoever read them."""
        return delivered(await self._client.xrevrange(key, max=b"(" + stream_id, count=count))

    async def place_before(self, key: str, update_id: int) -> bytes:
        """A place in the log from which on nothing that ends at an update id or later is missing.

        What ends before it comes in the same ms as the last such entry, or there is no such entry (`0-0`). By
        bisection of the times, as stream ids tell both. Cost: a round trip for each halving.
        """
        newest = await self._client.xrevrange(key, count=1)
        if not newest:
            return b"0-0"
        oldest = await self._client.xrange(key, count=1)
        place, low, high = b"0-0", parts(oldest[0][0])[0], parts(newest[0][0])[0]
        while low <= high:
            middle = (low + high) // 2
            found = await self._client.xrange(key, min=middle, max="+", count=1)
            ms, ends = parts(found[0][0]) if found else (high, update_id)
            if ends < update_id:
                place, low = found[0][0], ms + 1
            else:
                high = middle - 1
        return bytes(place)

    async def acknowledge(self, key: str, ids: Sequence[bytes]) -> int:
        """Acknowledge entries without storing anything."""
        done = 0
        for first in range(0, len(ids), 1000):
            done += int(await self._client.xack(key, self.group, *ids[first : first + 1000]))
        return done

    async def lag(self, key: str) -> tuple[int, int]:
        """(entries not yet delivered, entries delivered but not acknowledged); (0, 0) without a group."""
        try:
            groups = await self._client.xinfo_groups(key)
        except ResponseError:
            return 0, 0
        for group in groups:
            name = group["name"]
            if (name.decode() if isinstance(name, bytes) else name) == self.group:
                return await undelivered(self._client, key, group), int(group["pending"])
        return 0, 0


async def newest_ids(client: Redis, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Up to which time (exchange ms) and update id streams have come; (0, 0) for one that is empty. One round trip.

    A key that is no stream is left out: whose it is says who appends there.
    """
    pipe: Any = client.pipeline(transaction=False)
    for key in keys:
        pipe.xrevrange(key, count=1)
    replies = await pipe.execute(raise_on_error=False)
    return {
        key: parts(reply[0][0]) if reply else (0, 0)
        for key, reply in zip(keys, replies, strict=True)
        if not isinstance(reply, RedisError)
    }


async def newest_ms(client: Redis, keys: Sequence[str]) -> dict[str, int]:
    """Up to which time streams have come, exchange ms, as `newest_ids` reads it."""
    return {key: ms for key, (ms, _) in (await newest_ids(client, keys)).items()}


async def undelivered(client: Any, key: str, group: Mapping[str, Any]) -> int:
    """Entries of a stream not yet delivered to a group, from its row of XINFO GROUPS.

    The server's own `lag` is not to be trusted when it is not 0: one restarted from its append-only file has
    lost count and goes on saying too much, and after a deletion it does not know. Up to `COUNTED` they are counted.
    """
    lag = group.get("lag")
    if lag == 0:
        return 0
    last = group["last-delivered-id"]
    start = f"({last.decode() if isinstance(last, bytes) else last}"
    there = len(await client.xrange(key, min=start, max="+", count=COUNTED))
    return there if there < COUNTED else max(there, int(lag or 0))


class GapRecord(NamedTuple):
    """A hole, for `gaps:{S}`: ids `first..last` of a channel were never seen."""

    channel: str
    first: int
    last: int
    reason: str
    repaired: str


async def gap_recorded(client: Any, key: str, channel: str, reason: str, last: int) -> bool:
    """Whether one of the newest holes recorded is of this channel and reason, and ends with this id."""
    entries = await client.xrevrange(key, count=GAPS_LOOKED_AT)
    named = {b"channel": channel.encode(), b"reason": reason.encode(), b"to": b"%d" % last}
    return any(named.items() <= fields.items() for _, fields in entries)


async def record_gap(client: Any, key: str, gap: GapRecord, kept: int) -> bool:
    """Append to the gaps stream of a symbol, which keeps about `kept` entries; False when it was there already.

    A hole is one and the same by channel, ids and what became of it, whoever tells of it: after a takeover the next
    owner comes to the same place of the stream.
    """
    fields: dict[str, Argument] = {
        "channel": gap.channel,
        "from": gap.first,
        "to": gap.last,
        "reason": gap.reason,
        "repaired": gap.repaired,
    }
    return await append_once(
        client, key, fields, kept=kept, identity=_GAP, looked_at=GAPS_LOOKED_AT, within_ms=SAME_GAP_MS
    )
