"""The trust score of a book: 1 less a deduction for each thing that could make it wrong, 0 while it is withheld.

A deduction multiplies the score, so that several add up and none hides another.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.api.types import Trust

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


def trust_of(evidence: Evidence) -> Trust:
    """The score and its reasons."""
    if not evidence.shown:
        return Trust(0.0, [f"withheld: {evidence.state}"])
    score, why = 1.0, []
    for applies, factor, reason in (
        (not evidence.connected, 0.5, "no line has living sockets to the venue"),
        (evidence.age_ms > evidence.stale_ms, 0.7, "its stream has been silent for long"),
        (evidence.depth_waiting > BEHIND, 0.7, "its fold is behind the stream"),
        (evidence.audit == "mismatch", 0.5, "its last audit found a difference; it was synced anew"),
        (evidence.audit in ("unconfirmed", "unknown"), 0.9, f"its last audit was {evidence.audit}"),
        (not evidence.audit, 0.9, "it was never audited"),
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
