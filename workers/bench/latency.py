"""Delays between the sending of an event and its appearance at each stage, and their percentiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from workers.bench.tape import FIRST_UPDATE_ID, IDS_AN_EVENT


class Percentiles(NamedTuple):
    """Of delays, in ms."""

    samples: int
    p50: float
    p99: float
    p999: float


class Publication(NamedTuple):
    """One entry of `book:{S}:top`, as a reader got it."""

    update_id: int
    published_us: int
    seen_us: int


def percentiles(delays_us: Iterable[int]) -> Percentiles | None:
    """Of delays in µs (nearest rank); None of none."""
    ordered = sorted(delays_us)
    if not ordered:
        return None
    ranks = (max(0, ceil(len(ordered) * share) - 1) for share in (0.5, 0.99, 0.999))
    return Percentiles(len(ordered), *(ordered[rank] / 1000 for rank in ranks))


def events_of(update_id: int) -> int:
    """Which event, from 0, ends with an update id."""
    return (update_id - FIRST_UPDATE_ID) // IDS_AN_EVENT - 1


def until_seen(seen: Iterable[tuple[int, int]], sent_us: Sequence[int]) -> list[int]:
    """µs from each event's sending to its appearance; `seen` are pairs of update id and µs."""
    return [at - sent_us[events_of(update_id)] for update_id, at in seen]


def with_pacing(publications: Sequence[Publication], sent_us: Sequence[int]) -> tuple[list[int], list[int]]:
    """µs from the sending of every event to the publication that first contains it, and to a reader's sight of that.

    The first publication only tells where the others begin.
    """
    published, read = [], []
    for before, after in pairwise(publications):
        for event in range(events_of(before.update_id) + 1, events_of(after.update_id) + 1):
            published.append(after.published_us - sent_us[event])
            read.append(after.seen_us - sent_us[event])
    return published, read


def without_pacing(
    publications: Sequence[Publication], sent_us: Sequence[int], pace_us: int
) -> tuple[list[int], list[int]]:
    """The same for the newest event of each publication, from when it might have gone out.

    That is its sending, or the end of the pause after the publication before, whichever is later. A publication that
    came a little before that end (the pause is counted from the beginning of a round) is measured as immediate.
    """
    published, read = [], []
    for before, after in pairwise(publications):
        if after.update_id <= before.update_id:
            continue
        free = max(sent_us[events_of(after.update_id)], before.published_us + pace_us)
        published.append(max(0, after.published_us - free))
        read.append(max(0, after.seen_us - free))
    return published, read
