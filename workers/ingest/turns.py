"""Taking over the books of a writer that has fallen silent: which streams a standby line has to subscribe anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from workers.ingest.appender import Standby
from workers.runtime.context import VenueContext
from workers.store.keys import DEPTH

HEARD_S: Final = 3.0
"""A stream that brought this line something so recently lives, so its writer is late."""
AGAIN_S: Final = 5.0
"""Pause between two tries for one stream."""


class Turns:
    """Which streams a line that stands by takes over.

    Its own turn begins with a whole book, for which it subscribes anew; the log accepts that once the writer has been
    silent for `silent_ms`. What lives and what is late, Redis said with the refusals.

    Args:
        standby: the streams of which the last entries were refused, by key (`Appender.standby`).
    """

    def __init__(
        self, standby: Mapping[str, Standby], contexts: Sequence[VenueContext], silent_ms: int
    ) -> None:
        self._standby = standby
        self._contexts = contexts
        self._silent_ms = silent_ms
        self._tried_at: dict[str, float] = {}

    def due(self, now: float) -> dict[str, list[tuple[str, str]]]:
        """The streams (channel, symbol) to subscribe anew now, by venue (monotonic seconds). O(symbols), if any."""
        late = {
            key
            for key, found in self._standby.items()
            if now - found.at < HEARD_S
            and found.silent_ms + (now - found.at) * 1000 > self._silent_ms
            and now - self._tried_at.get(key, -AGAIN_S) >= AGAIN_S
        }
        if not late:
            return {}
        self._tried_at = {key: at for key, at in self._tried_at.items() if now - at < AGAIN_S}
        self._tried_at |= dict.fromkeys(late, now)
        due: dict[str, list[tuple[str, str]]] = {}
        for context in self._contexts:
            for symbol in context.symbols:
                if context.keys.raw(symbol, DEPTH) in late:
                    due.setdefault(context.name, []).append((DEPTH, symbol))
        return due
