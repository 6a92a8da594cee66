"""Reading the trade streams of the tapes one worker owns: each stream by itself where one of them cannot be read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import structlog
from prometheus_client import Counter
from redis.exceptions import ResponseError

from workers.model.trades.fold import Hole
from workers.runtime.owned_streams import READ, OwnedStreams
from workers.runtime.ownership import Ownership
from workers.runtime.pulse import Breath
from workers.runtime.quarantine import Quarantine
from workers.runtime.stream_places import StreamPlaces
from workers.store.log.streams import GroupReader
from workers.store.log.trades import missing_in_log
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

STOLEN = Counter(
    "fleet_trades_read_elsewhere_total", "Trades an earlier owner read after a takeover", ["venue"]
)

PENDING_AT_ONCE = 500
READ_AT_ONCE = 20_000
"""Entries read in one round, of all streams: a reply of some megabytes, which holds up neither Redis nor us."""


class TapeReading:
    """The reading side of the trades role.

    Args:
        tapes: those owned, by raw stream key.
        read_count: entries of one stream in one reply.
        places: of the streams.
    """

    def __init__(
        self,
        reader: GroupReader,
        tapes: Mapping[str, OwnedTape],
        ownership: Ownership,
        quarantine: Quarantine,
        read_count: int,
        places: StreamPlaces,
    ) -> None:
        self._reader = reader
        self._tapes = tapes
        self._ownership = ownership
        self._quarantine = quarantine
        self._read_count = read_count
        self._places = places
        self._streams = OwnedStreams(reader, ownership, quarantine, places)
        self._breath = Breath()
        self.has_more = False
        """Whether the last round of reading left something in a stream."""

    async def take_up(self, tape: OwnedTape) -> None:
        """What was read by an earlier owner and not applied comes first.

        Raises:
            RedisError, OSError: the server did not answer, or refuses.
        """
        try:
            await self._reader.ensure(tape.key)
            await self._take_pending(tape, b"0")
        except ResponseError as error:
            await self._cannot_read(tape, error)

    async def read(self, keys: Iterable[str] | None = None, *, reread: bool = False) -> set[str]:
        """One round: what is new in the streams of the tapes that have room for it; the keys of those that brought any.

        Args:
            keys: of the streams to read; None: all.
            reread: a lost reply may have carried entries of any tape: they are pending now.

        Raises:
            RedisError, OSError: the server did not answer, or refuses.
        """
        if self._places.is_due(now := time.monotonic()):
            safe = [tape for tape in self._tapes.values() if self._ownership.safe(tape.claim)]
            await self._places.look(safe, now)
        if reread:
            for tape in self._tapes.values():
                tape.reread = True
        tapes = [self._tapes[key] for key in (self._tapes if keys is None else keys) if key in self._tapes]
        for tape in tapes:
            tape.read_all = False
        for tape in tapes:
            if tape.reread and self._streams.may_read(tape.claim):
                await self._read_pending(tape)
        listening = [tape for tape in tapes if tape.listens and self._streams.may_read(tape.claim)]
        return await self._take_new([tape.key for tape in listening])

    async def _read_pending(self, tape: OwnedTape) -> None:
        try:
            await self._take_pending(tape, tape.last_stream_id)
        except ResponseError as error:
            await self._cannot_read(tape, error)
        else:
            tape.reread = False

    async def _cannot_read(self, tape: OwnedTape, error: ResponseError) -> None:
        """The stream of one symbol is no stream, or has lost its group.

        Raises:
            RedisError: it is the server that refuses.
        """
        tape.reread = True
        await self._streams.cannot_read(tape, error)

    async def _take_new(self, wanted: Sequence[str]) -> set[str]:
        """Read from streams, and once more from those that have more, as far as the round's share goes."""
        most, left, taken = self._read_count, READ_AT_ONCE, set[str]()
        while wanted and left > 0 and most > 0:
            count = max(1, min(most, left // len(wanted)))
            found = await self._reader.new(wanted, count)
            refused = dict(self._reader.refused)
            for key, error in refused.items():
                if (owned := self._tapes.get(key)) is not None:
                    await self._cannot_read(owned, error)
            taken.update(found)
            for key, entries in found.items():
                left -= len(entries)
                if (owned := self._tapes.get(key)) is not None:
                    owned.take(entries)
                self._ownership.progress.made()
                await self._breath.taken()
            more = [key for key, entries in found.items() if len(entries) == count]
            for key in set(wanted).difference(more, refused):
                if (owned := self._tapes.get(key)) is not None:
                    owned.read_all = True
                    self._quarantine.worked(*owned.claim, READ)
            wanted, most = more, most - count
        self.has_more = bool(wanted)
        return taken

    async def _take_pending(self, tape: OwnedTape, after: bytes) -> None:
        async for entries in self._streams.pending(tape, int(tape.token), after, PENDING_AT_ONCE):
            tape.take(entries)

    async def read_elsewhere(self, tape: OwnedTape, hole: Hole) -> bool:
        """Take in missing trades that an earlier owner read and did not apply; whether the first of them was there.

        Raises:
            RedisError, OSError: the server did not answer, or refuses.
        """
        if not tape.waiting:
            return False
        entries = await missing_in_log(self._reader, tape.key, hole, tape.waiting[0], tape.ids_since)
        if not tape.put_back(entries):
            return False
        STOLEN.labels(tape.claim.context.name).inc()
        log.warning(
            "entries_read_elsewhere", symbol=tape.claim.symbol, first=hole.expected, last=hole.seen - 1
        )
        return tape.waiting[0][1].trade_id <= hole.expected

    async def discard(self, tapes: Iterable[OwnedTape]) -> None:
        """Acknowledge what was passed over."""
        for tape in tapes:
            if tape.useless:
                ids, tape.useless = tape.useless, []
                try:
                    await self._reader.acknowledge(tape.key, ids)
                except ResponseError as error:  # they are read and passed over again
                    await self._cannot_read(tape, error)
