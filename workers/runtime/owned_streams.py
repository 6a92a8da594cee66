"""Streams of owned symbols, read through a group: which may be read now, and what becomes of one that cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import structlog
from redis.exceptions import ResponseError

from workers.runtime.ownership import Claim, Ownership
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.steady_clock import steady_ms
from workers.runtime.stream_places import ReadStream, StreamPlaces
from workers.store.log.streams import Delivered, GroupReader, goes_on
from workers.store.refusals import Refusal, refusal_of
from workers.store.stream_places import start_after

log = structlog.get_logger()

READ: Final = "read"
"""The work, as the quarantine knows it."""


class OwnedStreams:
    """The streams that one worker may read.

    Args:
        reader: of the group.
        places: of the streams.
    """

    def __init__(
        self, reader: GroupReader, ownership: Ownership, quarantine: Quarantine, places: StreamPlaces
    ) -> None:
        self._reader = reader
        self._ownership = ownership
        self._quarantine = quarantine
        self._places = places
        self._breath = Breath()

    def may_read(self, claim: Claim) -> bool:
        """Whether the key can be read, and the lease surely holds: else an entry would be taken from the next owner."""
        return (
            self._ownership.safe(claim)
            and self._quarantine.due(*claim, READ)
            and not self._places.held_back(claim)
        )

    async def pending(
        self, stream: ReadStream, token: int, after: bytes, at_once: int
    ) -> AsyncIterator[list[Delivered]]:
        """What was delivered after a stream id and not acknowledged, so many entries at once, while it is ours.

        Args:
            token: the fencing number of its lease.
        """
        while entries := await self._reader.pending(stream.key, after, at_once):
            yield entries
            if goes_on(after, entries[-1].stream_id):
                self._ownership.progress.made()
            after = entries[-1].stream_id
            await self._breath.taken()
            if not self._ownership.owns(stream.claim, token):
                return

    async def cannot_read(self, stream: ReadStream, error: ResponseError) -> bool:
        """It is no stream, or has lost its group, which is made anew; whether it is held back all the same.

        Raises:
            RedisError: it is the server that refuses.
        """
        if refusal_of(error) is Refusal.NO_GROUP:
            log.error("streams_lost", key=stream.key, error=str(error))
            try:
                # what was read already is in hand; should it be lost with us, the next owner finds it in the log
                await self._reader.ensure(stream.key, start_after(stream.last_stream_id, steady_ms()))
            except ResponseError as again:
                error = again
            else:
                return False
        await self._quarantine.failed(*stream.claim, READ, error)
        return True
