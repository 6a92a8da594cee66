"""What the owner of a book says of it: the fields of `book:{S}:status`."""

from __future__ import annotations

import time

from workers.books.book import OwnedBook
from workers.model.books.in_band import InBandSync
from workers.model.books.sync import BookSync, SyncState


def status_fields(book: OwnedBook, owner: str) -> dict[str, str | int | float]:
    """The fields of `book:{S}:status`; `owner` is the name of the worker."""
    sync, claim = book.sync, book.claim
    bids, asks = sync.book.counts
    now = time.monotonic()
    return {
        "state": _state(book),
        "reason": book.unreadable
        or ("stream dead" if book.overtaking.dead else sync.reason)
        or claim.context.symbols.why_silent(claim.symbol),
        "age_ms": int((now - book.heard_at) * 1000),
        "behind_ms": int((now - book.current_at) * 1000),
        "last_update_id": sync.last_update_id,
        "sync_count": sync.sync_count,
        "gap_count": sync.gap_count,
        "known_low": sync.book.known_low,
        "known_high": sync.book.known_high,
        "bids": bids,
        "asks": asks,
        "levels": bids + asks,
        "event_time": sync.last_event_time,
        "synced_at": sync.synced_at,
        "updated": int(time.time() * 1000),
        "second_source": claim.context.venue.facts.second_source,
        **_checksums(sync),
        "owner": owner,
        "fence": book.token,
    }


def _checksums(sync: BookSync) -> dict[str, int]:
    """How many of the venue's checksums the book bore out, and of how many, since this worker owns it."""
    if not isinstance(sync, InBandSync) or sync.stream_rule.checksum is None:
        return {}
    return {"checksums_ok": sync.checksums_ok, "checksums_of": sync.checksums_of}


def _state(book: OwnedBook) -> str:
    if book.unreadable:
        return "unreadable"
    if book.sync.state is not SyncState.SYNCED:
        return str(book.sync.state.value)
    if book.sync.crossed_since_ms is not None:
        return "crossed"
    if book.sync.single_source:
        return "unconfirmed"
    if book.behind:
        return "behind"
    if book.freshness.stale or book.overtaking.dead:
        return "stale"
    return "beyond range" if book.beyond_range else "synced"
