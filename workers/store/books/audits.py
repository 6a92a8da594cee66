"""`audit:{S}` and the last audit in `book:{S}:status`; and what an audit reads of a book."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from workers.model.books.audit import AuditOutcome, Shown, describe
from workers.model.books.checkpoint import Checkpoint
from workers.model.books.order_book import Difference
from workers.model.books.top_of_book import decode_top
from workers.store.books.rebuilding import stored_checkpoint
from workers.store.books.shown import whole
from workers.store.keys import DEPTH, Keys
from workers.store.log.streams import Delivered, delivered
from workers.store.records import append_once
from workers.store.replies import unusable

PAGE = 64
MOST_ENTRIES = 20_000
"""Stream entries looked back through for a snapshot's id: half an hour at ten a second."""
NAMED = 5
"""Differences written out."""


class Audit(NamedTuple):
    """One audit, as `audit:{S}` keeps it."""

    time_ms: int
    outcome: AuditOutcome
    reason: str = ""
    update_id: int = -1
    """At which the books were compared; -1 where they were not."""
    snapshot_id: int = -1
    """`lastUpdateId` of the REST snapshot; -1 without one."""
    compared: int = 0
    """Levels."""
    differences: Sequence[Difference] = ()
    low: str = ""
    high: str = ""
    waited_s: float = 0.0
    """Seconds from the snapshot to the checkpoint it was compared with."""
    source: Literal["snapshot", "bookTicker"] = "snapshot"
    """What the book was compared with."""

    def fields(self) -> dict[str, str | int | float]:
        """The fields of the stream entry."""
        return {
            "time": self.time_ms,
            "source": self.source,
            "u": self.update_id,
            "snapshot_id": self.snapshot_id,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "compared": self.compared,
            "differing": len(self.differences),
            "differences": "; ".join(map(describe, self.differences[:NAMED])),
            "low": self.low,
            "high": self.high,
            "waited_s": round(self.waited_s, 3),
        }

    def summary(self) -> str:
        """`match 2026-11-20T23:50:00Z u=123`."""
        when = datetime.fromtimestamp(self.time_ms // 1000, UTC)
        return f"{self.outcome.value} {when:%Y-%m-%dT%H:%M:%SZ} u={self.update_id}"


class LastAudit(NamedTuple):
    """What the status of a book says of its last audit."""

    time_ms: int
    """0: never audited."""
    outcome: str


class AuditStore:
    """The audits of one venue's books.

    Args:
        kept: entries kept, about, in each `audit:{S}`.
    """

    def __init__(self, client: Redis, keys: Keys, kept: int) -> None:
        self._client: Any = client
        self._keys = keys
        self._kept = kept

    async def record(self, symbol: str, audit: Audit) -> None:
        """Append an audit, and name it in the book's status. Cost: two round trips."""
        await append_once(
            self._client, self._keys.audit(symbol), audit.fields(), kept=self._kept, looked_at=8
        )
        status = {"last_audit": audit.summary(), "last_audit_ms": audit.time_ms}
        await self._client.hset(self._keys.book_status(symbol), mapping=status)

    async def last_audits(self, symbols: Sequence[str]) -> dict[str, LastAudit]:
        """The last audit of each symbol. Cost: one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for symbol in symbols:
            pipe.hmget(self._keys.book_status(symbol), "last_audit_ms", "last_audit")
        found = {}
        for symbol, reply in zip(symbols, await pipe.execute(raise_on_error=False), strict=True):
            if unusable(self._keys.book_status(symbol), reply):
                found[symbol] = LastAudit(0, "")
                continue
            time_ms, summary = ((value or b"").decode(errors="replace") for value in reply)
            found[symbol] = LastAudit(whole(time_ms), summary.partition(" ")[0])
        return found

    async def state(self, symbol: str) -> str:
        """The book's state as its owner told it last; empty when nobody did."""
        found = await self._client.hget(self._keys.book_status(symbol), "state")
        return found.decode(errors="replace") if found is not None else ""

    async def last_update_id(self, symbol: str) -> int:
        """The update id of the newest depth entry, which its stream id carries; -1 for an empty stream."""
        newest = await self._client.xrevrange(self._keys.raw(symbol, DEPTH), count=1)
        return _update_id(newest[0][0]) if newest else -1

    async def checkpoint(self, symbol: str) -> Checkpoint | None:
        """The book as its owner last committed it. Raises: StateUnreadable."""
        return await stored_checkpoint(self._client, self._keys, symbol)

    async def shown(self, symbol: str) -> Shown | None:
        """What `LIVE_ORDERBOOK` shows now; None while the book is withdrawn."""
        payload = await self._client.hget(self._keys.live_orderbook, symbol)
        if payload is None:
            return None
        try:
            top = decode_top(payload)
        except msgspec.MsgspecError:
            return None  # not ours; the next publication replaces it
        return Shown(top.u, top.b, top.a)

    async def entries_from(self, symbol: str, update_id: int) -> list[Delivered]:
        """The depth entries whose event ends at an update id or later, oldest first.

        Looked for from the newest backwards, one round trip per 64 entries; of more than 20,000 the newest.
        """
        key, found, end = self._keys.raw(symbol, DEPTH), list[Delivered](), "+"
        while len(found) < MOST_ENTRIES:
            page = await self._client.xrevrange(key, max=end, count=PAGE)
            later = [entry for entry in page if _update_id(entry[0]) >= update_id]
            found += delivered(later)
            if len(later) < PAGE:
                break
            end = f"({page[-1][0].decode()}"
        return found[::-1]


def _update_id(stream_id: bytes) -> int:
    return int(stream_id.partition(b"-")[2])
