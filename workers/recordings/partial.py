"""Recognising partial books (`@depth5`, `@depth10`, `@depth20`) that were recorded without the names of their streams.

On futures such a frame says `depthUpdate`, as a change does, and has the same fields; but its levels are the best
ones of the book, and all that was not said again would be kept for ever. What tells them apart is what they repeat.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from workers.errors import BadNumber
from workers.model.books.order_book import parse_changes
from workers.model.events import Level
from workers.recordings.streams import Stream

MOST_LEVELS: Final = 20
"""Levels a side of the largest partial book."""
ENOUGH: Final = 5
"""Frames in a row that look like partial books before a stream is taken for one."""


class _Frame(msgspec.Struct, gc=False):
    b: list[Level]
    a: list[Level]


_decoder = msgspec.json.Decoder(_Frame)


def could_be_partial(bids: list[Level], asks: list[Level]) -> bool:
    """Whether these levels are the top of a book: both sides, none deleted, best first, not crossed."""
    if not (0 < len(bids) <= MOST_LEVELS and 0 < len(asks) <= MOST_LEVELS):
        return False
    try:
        keys, quantities = parse_changes(bids, asks)
    except BadNumber:
        return False
    ours, theirs = keys[: len(bids)], keys[len(bids) :]
    ordered = all(a > b for side in (ours, theirs) for a, b in pairwise(side))
    return ordered and all(quantities) and ours[0] < -theirs[0]


class PartialBooks:
    """Judges the bare depth frames of each stream, from its first one on, until one shows that it tells changes.

    A stream of changes names a level only when it changed: that five frames in a row each name both sides in
    order, delete nothing and repeat a level of the frame before them unchanged does not happen there.
    """

    def __init__(self) -> None:
        self._before: dict[Stream, set[Level] | None] = {}
        """By stream: the levels of the last frame; None once it has shown to tell changes."""
        self._frames: dict[Stream, int] = {}

    def look_at(self, stream: Stream, frame: bytes) -> None:
        """The next bare frame of a depth stream. Cost: a decode, for the few frames until a stream is judged."""
        before = self._before.get(stream, set())
        if before is None or self._frames.get(stream, 0) >= ENOUGH:
            return
        try:
            found = _decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        levels = {*found.b, *found.a}
        repeats = stream not in self._before or not levels.isdisjoint(before)
        if not could_be_partial(found.b, found.a) or not repeats:
            self._before[stream] = None
            return
        self._before[stream] = levels
        self._frames[stream] = self._frames.get(stream, 0) + 1

    def found(self, stream: Stream) -> bool:
        """Whether the stream is taken for one of partial books."""
        return self._frames.get(stream, 0) >= ENOUGH and self._before.get(stream) is not None
