"""What a line dropped: which entries count as lost, and of which the log must say that they are missing."""

from __future__ import annotations

import time
from array import array
from typing import Final

from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import RawEntry, RawStreams

MOST_IDS: Final = 10_000
"""Entries of one stream remembered one by one, to be looked for in the log."""
OTHER_LINE_S = 2.0
"""How long the other line may take to bring what this one dropped, where nothing newer is in the log yet."""


def place_of(entry: RawEntry) -> int:
    """By what `gaps:{S}` names an entry: its id, or its ms where the exchange numbers nothing."""
    return entry.event_ms if entry.numbered else entry.update_id


def is_content(entry: RawEntry) -> bool:
    """Whether what a stream holds lacks something without it.

    A checksum only says what is there, a break that something is missing; and where ids show what is, a snapshot
    repeats what the changes said.
    """
    return entry.kind in ("update", "restart") or (entry.kind == "snapshot" and entry.numbered)


def breaks_book(entry: RawEntry) -> bool:
    """Whether a book of the log goes wrong without it, and no number shows it."""
    return bool(entry.turn or (entry.number and not entry.name)) and entry.kind != "checksum"


def break_for(entry: RawEntry) -> RawEntry:
    """What takes its place in the log: the book ends there until the next snapshot."""
    return entry._replace(kind="break", data=b"")


class Lost:
    """Entries of one stream that were dropped and must be told in `gaps:{S}`, unless the log has them all the same."""

    __slots__ = ("count", "first_ms", "last", "last_ms", "names", "places", "reason", "since", "turn")

    def __init__(self, entry: RawEntry, reason: str) -> None:
        self.places = array("q")
        """Of the first of them (see `place_of`), at most `MOST_IDS`; of the others the last is known, and their
        number."""
        self.names: list[str] = []
        """The names of the same, where they have some."""
        self.last = place_of(entry)
        self.first_ms = self.last_ms = entry.event_ms
        self.turn = bool(entry.turn)
        """Only what the writer drops is missing."""
        self.reason = reason
        self.since = time.monotonic()
        self.count = 0

    def add(self, entry: RawEntry) -> None:
        """One more."""
        if self.count < MOST_IDS:
            self.places.append(place_of(entry))
            if entry.name:
                self.names.append(entry.name)
        self.last = place_of(entry)
        self.first_ms, self.last_ms = min(self.first_ms, entry.event_ms), max(self.last_ms, entry.event_ms)
        self.count += 1

    def and_then(self, later: Lost | None) -> Lost:
        """Both as one, where more was lost meanwhile."""
        if later is not None:
            room = MOST_IDS - len(self.places)
            self.places += later.places[:room]
            self.names += later.names[:room]
            self.last = later.last
            self.first_ms = min(self.first_ms, later.first_ms)
            self.last_ms = max(self.last_ms, later.last_ms)
            self.count += later.count
        return self

    def keep(self, indexes: list[int]) -> None:
        """Forget all but these of them."""
        self.places = array("q", (self.places[index] for index in indexes))
        self.names = [self.names[index] for index in indexes] if self.names else []
        self.count = len(indexes)
        self.last = self.places[-1] if self.places else self.last


async def still_missing(streams: RawStreams, numbered: NumberedStreams, key: str, lost: Lost) -> bool:
    """Look which of the dropped entries the log lacks, and reduce them to those; False: nothing to tell (yet).

    The other line may have brought them, and may still do so while the log has nothing newer.
    """
    if lost.turn or lost.count > len(lost.places):
        return True  # no other line writes there; or more than anybody has counted one by one
    may_come = time.monotonic() - lost.since < OTHER_LINE_S
    if lost.names:
        known = await numbered.known_names(key, lost.names)
        missing = [index for index, name in enumerate(lost.names) if name not in known]
    else:
        there = await streams.update_ids(key, lost.first_ms, lost.last_ms)
        missing = [index for index, update_id in enumerate(lost.places) if update_id not in there.ids]
        may_come = may_come and bool(missing) and there.newest < lost.places[missing[-1]]
    if may_come and missing:
        return False
    lost.keep(missing)
    return bool(missing)
