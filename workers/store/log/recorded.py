"""What went wrong with a symbol, as `gaps:{S}` and `audit:{S}` keep it: read back, newest first."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from workers.store.books.shown import plain_number, read_newest, whole
from workers.store.keys import Keys

_GAP: Final = frozenset({"channel", "from", "to", "reason", "repaired"})
_AUDIT: Final = frozenset(
    {"time", "outcome", "reason", "u", "snapshot_id", "compared", "differing", "differences", "low", "high"}
    | {"waited_s"}
)


class RecordedGap(NamedTuple):
    """A hole in what was received; `first`..`last` are ids of the channel."""

    id: str
    time_ms: int
    channel: str
    first: int
    last: int
    reason: str
    repaired: str


class RecordedAudit(NamedTuple):
    """A comparison of the book with an independent source."""

    id: str
    time_ms: int
    source: str
    """`snapshot` (REST) or `bookTicker`."""
    outcome: str
    reason: str
    last_update_id: int
    """At which the books were compared; -1 where they were not."""
    snapshot_id: int
    compared: int
    """Levels."""
    differing: int
    differences: str
    low: str
    high: str
    waited_s: float


async def newest_gaps(client: Any, keys: Keys, symbol: str, count: int) -> list[RecordedGap]:
    """The newest holes of a symbol, newest first; what others wrote into the stream is none. One round trip.

    Raises:
        StateUnreadable: the key is no stream.
    """
    return [
        RecordedGap(
            entry_id,
            whole(entry_id.split("-")[0]),
            fields["channel"],
            whole(fields["from"]),
            whole(fields["to"]),
            fields["reason"],
            fields["repaired"],
        )
        for entry_id, fields in await read_newest(client, keys.gaps(symbol), count)
        if fields.keys() >= _GAP
    ]


async def newest_audits(client: Any, keys: Keys, symbol: str, count: int) -> list[RecordedAudit]:
    """The newest audits of a symbol, newest first; what others wrote into the stream is none. One round trip.

    Raises:
        StateUnreadable: the key is no stream.
    """
    return [
        RecordedAudit(
            id=entry_id,
            time_ms=whole(fields["time"]),
            source=fields.get("source", "snapshot"),
            outcome=fields["outcome"],
            reason=fields["reason"],
            last_update_id=whole(fields["u"], -1),
            snapshot_id=whole(fields["snapshot_id"], -1),
            compared=whole(fields["compared"]),
            differing=whole(fields["differing"]),
            differences=fields["differences"],
            low=fields["low"],
            high=fields["high"],
            waited_s=float(plain_number(fields["waited_s"]) or 0),
        )
        for entry_id, fields in await read_newest(client, keys.audit(symbol), count)
        if fields.keys() >= _AUDIT
    ]
