"""Where streams and their consumer groups stand, and whether what comes can ever be filed and read.

Redis gives a stream rising ids only, and a group what lies after its place. An entry of somebody else's with an id of a
far year, or a group that was set there, thus shuts out all that follows without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.store.log.follower import START, entry_id

FAR_MS: Final = 7 * 86_400_000
"""No clock that messages are taken in by (`ingest.max_clock_skew_ms`) is ahead of another by this much."""


class Place(NamedTuple):
    """How far a stream and a group of it have come."""

    newest: str
    """The greatest id the stream ever had."""
    delivered: str | None
    """The id up to which the group was given everything; None: there is no such group."""


def is_far(stream_id: str | bytes, now_ms: int) -> bool:
    """Whether an entry's id is of a time nobody can have filed it at."""
    return entry_id(stream_id)[0] > now_ms + FAR_MS


def start_after(stream_id: bytes, now_ms: int) -> str:
    """Where a group that is made anew begins, for a reader that has read up to an entry."""
    return START if is_far(stream_id, now_ms) else stream_id.decode()


def far_ahead(key: str) -> StateUnreadable:
    """What to say of a stream whose newest id is far ahead."""
    return StateUnreadable(key, "an id in it is of a far future, so that nothing can be filed after it")


async def places(client: Redis, group: str, keys: Sequence[str]) -> tuple[dict[str, Place], int]:
    """The places of streams, without those that are none, and the server's time, ms.

    Cost: one round trip, two commands a stream, O(1) each.
    """
    pipe: Any = client.pipeline(transaction=True)
    pipe.time()
    for key in keys:
        pipe.xinfo_stream(key)
        pipe.xinfo_groups(key)
    time, *rest = await pipe.execute(raise_on_error=False)
    if isinstance(time, Exception):
        raise time
    replies, found = iter(rest), {}
    for key, stream, groups in zip(keys, replies, replies, strict=True):
        if isinstance(stream, ResponseError) or isinstance(groups, ResponseError):
            continue  # there is none, or it is of another type: who reads it is told so
        delivered = [_text(row["last-delivered-id"]) for row in groups if _text(row["name"]) == group]
        found[key] = Place(_text(stream["last-generated-id"]), delivered[0] if delivered else None)
    return found, time[0] * 1000 + time[1] // 1000


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


async def set_back(
    client: Redis, group: str, read: Mapping[str, bytes], stand: Mapping[str, Place]
) -> list[str]:
    """Make the groups anew that stand beyond the end of their streams, where they would never be given anything.

    Args:
        read: by key, the entry up to which the reader has read; where that is beyond the end too, the whole stream is
            read again (what was folded before is known by its ids).

    Returns their keys. Cost: one round trip.
    """
    pipe: Any = client.pipeline(transaction=True)
    beyond = []
    for key, place in stand.items():
        newest = entry_id(place.newest)
        if place.delivered is not None and entry_id(place.delivered) > newest:
            start = read[key].decode() if entry_id(read[key]) <= newest else START
            pipe.xgroup_destroy(key, group)
            pipe.xgroup_create(key, group, id=start)
            beyond.append(key)
    if beyond:
        await pipe.execute()
    return beyond


async def far_streams(client: Redis, keys: Sequence[str]) -> list[StateUnreadable]:
    """Those of some streams whose newest id is far ahead of the server's clock. Cost: as of `places`."""
    found, now_ms = await places(client, "", keys)
    return [far_ahead(key) for key, place in found.items() if is_far(place.newest, now_ms)]
