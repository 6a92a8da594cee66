"""What a book's sync can be in, and what can become of the messages it is given.

    WAITING ──snapshot inside the buffered events───────────────────────► SYNCED
    BROKEN  ──snapshot ahead of them──► CONFIRMING ──an event reaches it──► SYNCED   (or silence: `tick`)
                                        CONFIRMING ──events jump over it──► WAITING or BROKEN
    SYNCED  ──gap, bad number, crossed, snapshot mismatch, `lose`──► BROKEN

WAITING (never synced yet) and BROKEN (was synced) want a snapshot and buffer events meanwhile; a break in the
buffered events starts the buffer again at the breaking event. CONFIRMING wants another one when it lasts. Only in
SYNCED does the book hold anything.
"""

from __future__ import annotations

from enum import Enum


class SyncState(Enum):
    WAITING = "waiting"
    CONFIRMING = "confirming"
    SYNCED = "synced"
    BROKEN = "broken"


class Outcome(Enum):
    """What became of an event, or of a tick."""

    BUFFERED = "buffered"
    APPLIED = "applied"
    SYNCED = "synced"  # the book is in step from here on
    STALE = "stale"  # contained in the book or the held snapshot already: harmless
    GAP = "gap"  # events before this one are missing; `BookSync.gap` says which
    LOST = "lost"  # the book was lost for another reason; `BookSync.reason` says which


class SnapshotOutcome(Enum):
    """What became of a snapshot."""

    ACCEPTED = "accepted"
    HELD = "held"  # ahead of the stream; kept until the events reach it
    TOO_OLD = "too old"  # an event it would need is gone; a newer one is needed
    UNUSABLE = "unusable"  # contains something that is no number
    SAME = "same"  # the one the book began with, once more: no second opinion
    AGREED = "agreed"  # says what the book says where both know; its range is too small to be taken over
    REFRESHED = "refreshed"  # the synced book took over its range
    MISMATCH = "mismatch"  # contradicts the synced book, which is lost; `BookSync.differences` says where
    UNWANTED = "unwanted"  # the book is synced and nobody called `begin_refresh`
