"""The trust score of a book and its trades: 1 less deductions for all that could make it wrong, 0 while withheld.

A deduction multiplies the score, so that several add up and none hides another.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.api.http.state_types import Trust
from workers.store.books.shown import UNFOLDED_MS

YOUNG_MS = 60_000
BEHIND = 1_000
"""Entries not yet folded from which a fold counts as behind."""


class Evidence(NamedTuple):
    """What is known of a book."""

    shown: bool
    """It is in `LIVE_ORDERBOOK`, and owned."""
    state: str
    connected: bool
    synced_for_ms: int
    audit: str
    """Outcome of the last audit; empty: never audited."""
    audit_age_ms: int
    audit_expected_ms: int
    """How old the last audit should be at most; 0: no audits are made."""
    depth_waiting: int
    age_ms: int
    stale_ms: int
    trades_problem: str = ""
    """Why the trades of the log are not in the fold; empty: they are."""
    second_source: str = "rest"
    """By what the book is compared with the exchange: see `Facts`. Only over REST that is an audit."""
    checksums: int = 0
    """How many of the exchange's checksums the book was compared with."""


UNAUDITED = {
    "checksum": "no checksum of the exchange was compared yet",
    "in band": "the exchange serves no book with an id to audit it by: only its whole books in the stream are compared",
    "none": "the exchange has nothing to compare it with",
}


def _unaudited(evidence: Evidence) -> str:
    """Why nothing independent bears the book out; empty: something does, or a last audit says what it did."""
    if evidence.audit or evidence.checksums:  # a checksum that differs ends the book
        return ""
    return UNAUDITED.get(evidence.second_source, "it was never audited")


def trades_problem(last_id: int, newest_id: int, due_id: int) -> str:
    """What tells that raw trades move and their fold does not, for whatever reason; empty: nothing.

    Args:
        last_id: where the fold stands; -1: nowhere.
        newest_id: the newest trade of the log; -1: none.
        due_id: the newest of those that have been there long enough to be folded.
    """
    if due_id > last_id:
        return f"its trades stand at {last_id}, though the log has had {due_id} for {UNFOLDED_MS // 1000} s"
    if 0 <= newest_id < last_id:
        return f"its trades stand at {last_id}, and those that come now have lower ids, such as {newest_id}"
    return ""


def trust_of(evidence: Evidence) -> Trust:
    """The score and its reasons."""
    if not evidence.shown:
        return Trust(0.0, [f"withheld: {evidence.state}"])
    score, why = 1.0, []
    for applies, factor, reason in (
        (not evidence.connected, 0.5, "no line has living sockets to the venue"),
        (evidence.age_ms > evidence.stale_ms, 0.7, "its stream has been silent for long"),
        (evidence.depth_waiting > BEHIND, 0.7, "its fold is behind the stream"),
        (bool(evidence.trades_problem), 0.5, evidence.trades_problem),
        (evidence.audit == "mismatch", 0.5, "its last audit found a difference; it was synced anew"),
        (evidence.audit in ("unconfirmed", "unknown"), 0.9, f"its last audit was {evidence.audit}"),
        (bool(_unaudited(evidence)), 0.9, _unaudited(evidence)),
        (
            bool(evidence.audit) and 0 < evidence.audit_expected_ms < evidence.audit_age_ms,
            0.9,
            "its last audit is old",
        ),
        (evidence.synced_for_ms < YOUNG_MS, 0.9, "in sync for less than a minute"),
    ):
        if applies:
            score *= factor
            why.append(reason)
    return Trust(round(score, 3), why)
