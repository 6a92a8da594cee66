"""Reading streams to their ends for somebody who keeps elsewhere how far he came, and must notice what a stream lost.

A place is the last entry read, a fingerprint of what it holds, and which entry it was of all that were ever appended
(Redis counts them). So a stream that goes on is told from one that was trimmed beyond the place, and by how many
entries, and from one whose server lost its end or was restored from older data: there the entry is gone, or is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.store.log.follower import START, Entry, entry_id
from workers.store.refusals import refusal_of

AT_ONCE: Final = 64
"""Streams asked for in one call: it bounds the size of a reply."""
UNKNOWN: Final = -1


class Place(NamedTuple):
    """How far a stream was read."""

    stream_id: str = START
    fingerprint: int = 0
    number: int = UNKNOWN
    """Which entry it was of all that were ever appended, from 1; -1: not known."""


class Read(NamedTuple):
    """What there is after a place."""

    entries: list[Entry]
    place: Place
    """After the last of them."""
    loss: Literal["", "trimmed", "rewound"] = ""
    """`trimmed`: entries were removed before they were read. `rewound`: the server lost the place, and perhaps more
    that was after it; what it has is to be read from its beginning, and some of it was read before."""
    lost: int = 0
    """How many were trimmed."""
    resumes_ms: int = 0
    """Of such a stream: the time of the first entry that there is, ms; 0: there is none."""


def fingerprint(fields: Mapping[bytes, bytes]) -> int:
    """64 bits of what an entry holds, signed."""
    digest = blake2b(digest_size=8)
    for name, value in fields.items():
        digest.update(b"%d %d " % (len(name), len(value)) + name + value)
    return int.from_bytes(digest.digest(), "big", signed=True)


def place_after(place: Place, entries: Sequence[Entry]) -> Place:
    """The place after entries that follow one another, and it."""
    if not entries:
        return place
    last_id, fields = entries[-1]
    number = UNKNOWN if place.number == UNKNOWN else place.number + len(entries)
    return Place(last_id.decode(), fingerprint(fields), number)


class Tails:
    """Reads streams after their places.

    Args:
        client: for reads, which may be repeated.
    """

    def __init__(self, client: Redis) -> None:
        self._client: Any = client

    async def read(
        self, places: Mapping[str, Place], count: int, doubted: frozenset[str] = frozenset()
    ) -> tuple[dict[str, Read], dict[str, ResponseError]]:
        """What is new, at most `count` entries a stream, never waiting; and which keys refuse, and how.

        Args:
            doubted: streams to look at even if they have nothing new: what their places say may have gone.

        Cost: one XREAD for 64 streams, and an XRANGE for each that has something; three commands for each in doubt.
        """
        found: dict[str, Read] = {}
        refused: dict[str, ResponseError] = {}
        keys = list(places)
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            news = await self._news({key: places[key].stream_id for key in some}, count, refused)
            doubts = {key for key in some if key in doubted and key not in refused}
            doubts |= await self._doubts({key: places[key] for key in news})
            for key, entries in news.items():
                if key not in doubts:
                    found[key] = Read(entries, place_after(places[key], entries))
            for key in doubts:
                found[key] = await self._read_in_doubt(key, places[key], count)
        return found, refused

    async def _news(
        self, places: Mapping[str, str], count: int, refused: dict[str, ResponseError]
    ) -> dict[str, list[Entry]]:
        try:
            found = await self._client.xread(dict(places), count=count) or []
        except ResponseError as error:
            if refusal_of(error).of_server or len(places) == 1:
                if refusal_of(error).of_server:
                    raise
                refused[next(iter(places))] = error
                return {}
            found = []
            for key, place in places.items():
                found += (await self._news({key: place}, count, refused)).items()
            return dict(found)
        return {key.decode(): entries for key, entries in found}

    async def _doubts(self, places: Mapping[str, Place]) -> set[str]:
        """Those that do not hold the entry of their place as it was."""
        pipe = self._client.pipeline(transaction=False)
        named = {key: place for key, place in places.items() if place.stream_id != START}
        for key, place in named.items():
            pipe.xrange(key, place.stream_id, place.stream_id, count=1)
        replies = await pipe.execute() if named else []
        doubts = set(places) - set(named)  # there nothing tells what was removed meanwhile
        for (key, place), there in zip(named.items(), replies, strict=True):
            if not there or fingerprint(there[0][1]) != place.fingerprint:
                doubts.add(key)
        return doubts

    async def _read_in_doubt(self, key: str, place: Place, count: int) -> Read:
        """The same for one stream, with all that tells what became of it, in one step."""
        pipe = self._client.pipeline(transaction=True)
        pipe.xrange(key, place.stream_id, place.stream_id, count=1)
        pipe.xrange(key, f"({place.stream_id}", "+", count=count)
        pipe.xinfo_stream(key)
        there, entries, stream = await pipe.execute(raise_on_error=False)
        for reply in (there, entries):
            if isinstance(reply, Exception):
                raise reply
        named = place.stream_id != START
        if isinstance(stream, ResponseError):  # there is no such key
            return Read([], Place(START, 0, 0), "rewound" if named else "")
        if isinstance(stream, Exception):
            raise stream
        added, length = int(stream["entries-added"]), int(stream["length"])
        first = stream["first-entry"]
        if there and fingerprint(there[0][1]) == place.fingerprint:
            if stream["last-generated-id"] == there[0][0]:
                place = place._replace(number=added)
            return Read(entries, place_after(place, entries))
        removed = added - length
        first_ms = entry_id(first[0])[0] if first else 0
        is_ahead = entry_id(stream["last-generated-id"]) >= entry_id(place.stream_id)
        is_past = not first or entry_id(first[0]) > entry_id(place.stream_id)
        if not named or (is_ahead and is_past and removed >= place.number):
            after = place_after(place._replace(number=removed), entries)
            lost = 0 if place.number == UNKNOWN else max(removed - place.number, 0)
            return Read(entries, after, "trimmed" if lost else "", lost, first_ms)
        return Read([], Place(START, 0, removed), "rewound", 0, first_ms)
