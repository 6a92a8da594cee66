"""Looking whether the streams of the symbols a worker owns can be read on: a reader sees no error where they cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.runtime.ownership import Claim
from workers.runtime.quarantine import Quarantine
from workers.runtime.steady_clock import steady_ms
from workers.store.refusals import refusal_of
from workers.store.stream_places import far_ahead, is_far, places, set_back

log = structlog.get_logger()

PLACE: Final = "place"
"""The work, as the quarantine knows it."""
LOOK_S: Final = 5.0
AT_ONCE: Final = 100
SET_BACK = Counter(
    "fleet_group_set_back_total", "Consumer groups that stood beyond the end of their stream", ["group"]
)


class ReadStream(Protocol):
    """A raw stream as its owner has read it."""

    claim: Claim
    last_stream_id: bytes

    @property
    def key(self) -> str:
        """Of the stream."""


class StreamPlaces:
    """Holds back the symbols whose stream is spoiled by an id of a far future, and sets back groups.

    Args:
        group: `books` or `trades`.
    """

    def __init__(self, client: Redis, group: str, quarantine: Quarantine) -> None:
        self._client = client
        self._group = group
        self._quarantine = quarantine
        self._due = 0.0

    def held_back(self, claim: Claim) -> str:
        """Why the stream of a symbol is not read now, and what to do; empty where it is."""
        return self._quarantine.reason(*claim, PLACE)

    def is_due(self, now: float) -> bool:
        """Whether they are to be looked at again (monotonic seconds)."""
        return now >= self._due

    async def look(self, streams: Iterable[ReadStream], now: float) -> bool:
        """Look at all of them, every few seconds (monotonic); whether it was done now. Nobody may read meanwhile.

        Raises:
            RedisError, OSError: the server did not answer, or refuses.
        """
        if now < self._due:
            return False
        self._due = now + LOOK_S
        owned = list(streams)
        for first in range(0, len(owned), AT_ONCE):
            await self._look(owned[first : first + AT_ONCE])
        return True

    async def _look(self, streams: list[ReadStream]) -> None:
        read = {stream.key: stream.last_stream_id for stream in streams}
        stand, server_ms = await places(self._client, self._group, list(read))
        now_ms = max(steady_ms(), server_ms)  # either may be wrong; a stream is not for that
        for stream in streams:
            if stream.key in stand and is_far(stand[stream.key].newest, now_ms):
                del stand[stream.key]
                await self._quarantine.failed(*stream.claim, PLACE, far_ahead(stream.key))
            else:
                self._quarantine.worked(*stream.claim, PLACE)
        try:
            beyond = await set_back(self._client, self._group, read, stand)
        except ResponseError as error:  # a key has become another since
            if refusal_of(error).of_server:
                raise
            return
        for key in beyond:
            SET_BACK.labels(self._group).inc()
            log.error("group_set_back", group=self._group, key=key, delivered=stand[key].delivered,
                      newest=stand[key].newest)  # fmt: skip
