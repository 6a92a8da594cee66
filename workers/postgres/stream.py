"""One stream on its way into the database: what is read waits in chunks until a transaction has it. No I/O.

The place up to which a stream is stored is written in the transaction that stores its rows, so a chunk is there with
its place or not at all, whoever is killed meanwhile. Each chunk has a serial number: after a commit whose answer was
lost the database says how far it came, and what it has is dropped here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from workers.model.trades.numbering import is_room
from workers.postgres.database import Stored, StoredHole, StreamName
from workers.postgres.metrics import MISSING, REWOUND
from workers.postgres.rows import DAY_MS, TOLD_BY, Row, Source, Table, gap_row
from workers.runtime.ownership import Claim
from workers.store.log.follower import START, entry_id
from workers.store.log.streams import GapRecord
from workers.store.log.tail import UNKNOWN, Place, Read

log = structlog.get_logger()

DAYS_AHEAD: Final = 2
"""No trade is dated further ahead: it would have a partition of its own."""


class Chunk(NamedTuple):
    """Entries that were read together, as rows, and where the stream stands after them."""

    end: Stored
    first_ms: int
    """About when the first of them was appended, ms."""
    rows: list[Row]
    holes: list[StoredHole]
    told: list[GapRecord]
    """What is to be recorded in Redis too, once it is stored."""


class OwnedStream:
    """A stream of one symbol that this worker owns; `start` comes first.

    Args:
        token: the fencing number of its lease.
    """

    def __init__(self, claim: Claim, source: Source, token: int) -> None:
        self.claim = claim
        self.source = source
        self.token = token
        self.instrument = -1
        self.ready = False
        """Whether it is known how far it is stored."""
        self.chunks: deque[Chunk] = deque()
        self.base = Stored(Place(), 0, UNKNOWN, 0)
        """How far it is stored."""
        self.read_to = self.base
        """How far it is read."""
        self.retry_at = 0.0
        """When writing may be tried again after the database refused its rows, monotonic seconds; 0: it did not."""
        self.checked_at = 0.0
        """When the stream was last compared with its place, monotonic seconds."""
        self.leaves_at = 0.0
        """When nothing more is to come of it, monotonic seconds; 0: it is followed."""
        self.read_at = 0.0
        """When it was read last, monotonic seconds."""
        self.rows = 0
        """In the chunks, and one more for each chunk."""

    @property
    def name(self) -> StreamName:
        """As the database knows it."""
        return StreamName(self.instrument, self.source.name)

    @property
    def reads(self) -> bool:
        """Whether more of it is to be read now."""
        return self.ready and not self.retry_at

    @property
    def newest_ms(self) -> int:
        """The time of the last entry that was read, ms; 0: there is none."""
        return entry_id(self.read_to.place.stream_id)[0]

    @property
    def has_left(self) -> bool:
        """Whether all that there was of it is stored, and nothing is to come."""
        return 0 < self.leaves_at < self.read_at and self.ready and not self.chunks

    @property
    def lag_ms(self) -> int:
        """When the oldest chunk's first entry was appended, ms; 0: there is none."""
        return self.chunks[0].first_ms if self.chunks else 0

    def start(self, instrument: int, stored: Stored) -> None:
        """Begin after what is stored."""
        self.instrument, self.base, self.read_to = instrument, stored, stored
        self.chunks.clear()
        self.rows, self.retry_at, self.ready = 0, 0.0, True

    def take(self, read: Read, now_ms: int) -> None:
        """Put what a read brought into a chunk."""
        place = self.read_to.place
        if not read.loss and read.place == place:
            return
        rows: list[Row] = []
        holes: list[StoredHole] = []
        told: list[GapRecord] = []
        proven = self.source.table == "trades" and self.read_to.chain != UNKNOWN
        if read.loss == "rewound":
            REWOUND.labels(self.claim.context.name).inc()
            log.error("postgres_stream_rewound", key=self.source.key, stored=place.stream_id)
            if not (proven and self._consecutive):
                reason = "Redis lost its data: entries between these times, ms, may be missing"
                self._tell(entry_id(place.stream_id)[0], now_ms, reason, now_ms, rows, told)
        elif read.loss == "trimmed" and not proven:
            reason = f"{read.lost} entries between these times, ms, were trimmed before they were stored"
            self._tell(entry_id(place.stream_id)[0], read.resumes_ms, reason, now_ms, rows, told)
        chain = self._fold(read, now_ms, rows, holes, told)
        first_ms = entry_id(read.entries[0][0])[0] if read.entries else now_ms
        end = Stored(read.place, self.read_to.serial + 1, chain, self.token)
        self.chunks.append(Chunk(end, first_ms, rows, holes, told))
        self.rows += len(rows) + 1
        self.read_to = end

    @property
    def _consecutive(self) -> bool:
        return self.claim.context.venue.facts.trade_ids == "consecutive"

    def _fold(
        self,
        read: Read,
        now_ms: int,
        rows: list[Row],
        holes: list[StoredHole],
        told: list[GapRecord],
    ) -> int:
        """Decode the entries; the id after which the next trade is expected."""
        venue, symbol, chain = self.claim.context.venue, self.claim.symbol, self.read_to.chain
        anew = self.read_to.place.stream_id == START
        last_day, after_ms = now_ms // DAY_MS + DAYS_AHEAD, entry_id(self.read_to.place.stream_id)[0]
        for raw_id, fields in read.entries:
            found = self.source.decode(venue, symbol, self.instrument, raw_id, fields)
            ms, sequence = entry_id(raw_id)
            problem = found.problem
            if any(row.day > last_day for row in found.rows):
                problem = "is dated ahead"
            else:
                rows += found.rows
            if problem:
                self._tell(sequence, sequence, f"entry {raw_id.decode()} {problem}", now_ms, rows, told)
            if found.first != UNKNOWN:
                if anew and chain != UNKNOWN:
                    chain = min(
                        chain, found.first - 1
                    )  # read again after a loss: it was told where there is a hole
                anew = False
                if chain != UNKNOWN and found.first > chain + 1:
                    first, last = chain + 1, found.first - 1
                    room = not self._consecutive and is_room(first, last)
                    trimmed = read.loss == "trimmed" and not holes
                    holes.append(StoredHole(self.instrument, first, last, after_ms, ms, room, trimmed))
                chain = found.last
            after_ms = ms
        return chain

    def _tell(
        self, first: int, last: int, reason: str, now_ms: int, rows: list[Row], told: list[GapRecord]
    ) -> None:
        row, record = self.gap(first, last, reason, now_ms)
        rows.append(row)
        told.append(record)

    def gap(self, first: int, last: int, reason: str, now_ms: int) -> tuple[Row, GapRecord]:
        """A hole of the database: as a row of it, and for `gaps:{S}`."""
        MISSING.labels(self.claim.context.name).inc()
        log.error("postgres_rows_missing", key=self.source.key, first=first, last=last, reason=reason)
        row = gap_row(
            self.instrument,
            now_ms,
            time.time_ns(),
            TOLD_BY,
            self.source.name,
            str(first),
            str(last),
            reason,
            "no",
        )
        return row, GapRecord(TOLD_BY, first, last, f"{self.source.name} {reason}", "no")

    def reconcile(self, stored: Stored) -> bool:
        """Drop what the database has already; False if it stands where this worker has not been."""
        if _same(stored, self.base):
            return True
        for count, chunk in enumerate(self.chunks, 1):
            if _same(stored, chunk.end):
                self.drop(count)
                return True
        return False

    def hold_back(self, until: float) -> None:
        """The database refuses rows of it: all but the first chunk is read again once that one is stored, so that what
        waits leaves room for the others."""
        first = self.chunks[0]
        self.chunks = deque([first])
        self.read_to, self.rows, self.retry_at = first.end, len(first.rows) + 1, until

    def drop(self, count: int) -> list[Chunk]:
        """Take away the first chunks, which are stored."""
        done = [self.chunks.popleft() for _ in range(count)]
        if done:
            self.base, self.retry_at = done[-1].end, 0.0
            self.rows -= sum(len(chunk.rows) + 1 for chunk in done)
        return done


def _same(stored: Stored, other: Stored) -> bool:
    return (stored.serial, stored.place) == (other.serial, other.place)


def missing_runs(first: int, last: int, there: Sequence[int]) -> list[tuple[int, int]]:
    """The stretches of `first`..`last` that are not among rising ids."""
    runs, expected = [], first
    for number in there:
        if number > expected:
            runs.append((expected, number - 1))
        expected = number + 1
    if expected <= last:
        runs.append((expected, last))
    return runs


def days_of(chunks: Sequence[Chunk]) -> set[tuple[Table, int]]:
    """The partitions they need."""
    return {(row.table, row.day) for chunk in chunks for row in chunk.rows}
