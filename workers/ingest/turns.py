"""Taking over the books of a writer that has fallen silent: which streams a standby line has to subscribe anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from workers.ingest.appender import Standby
from workers.ingest.book_turns import written_by_turns
from workers.runtime.context import VenueContext

HEARD_S: Final = 3.0
"""A stream that brought this line something so recently lives, so its writer is late; of others the log is asked."""
AGAIN_S: Final = 5.0
"""Pause between two tries for one stream."""
QUIET_AGAIN_S: Final = 30.0
"""Pause before a try for a stream that has fallen quiet: its writer may have what each line dates otherwise."""


class Turns:
    """Which streams a line that stands by takes over.

    Its own turn begins with a whole book, for which it subscribes anew; the log accepts that once the writer has been
    silent for `silent_ms`. What lives and what is late, Redis said with the refusals. Where a market falls quiet just
    when its writer dies, the last entry was refused and no other one tells that the writer is late: the claim lives
    until the log has come to that entry's time.

    Args:
        standby: the streams of which the last entries were refused, by key (`Appender.standby`).
        newest_ms: tells up to which time streams have come, by key (`newest_ms`).
    """

    def __init__(
        self,
        standby: Mapping[str, Standby],
        contexts: Sequence[VenueContext],
        silent_ms: int,
        newest_ms: Callable[[Sequence[str]], Awaitable[Mapping[str, int]]],
    ) -> None:
        self._standby = standby
        self._contexts = contexts
        self._silent_ms = silent_ms
        self._newest_ms = newest_ms
        self._tried_at: dict[str, float] = {}
        self._passed: dict[str, Standby] = {}
        """Claims that are over: the log has come to what was refused."""

    async def due(self, now: float) -> dict[str, list[tuple[str, str]]]:
        """The streams (channel, symbol) to subscribe anew now, by venue (monotonic seconds).

        Cost: O(symbols), if any; one round trip where a stream has been quiet since its entry was refused.

        Raises:
            RedisError: Redis did not say how far the streams have come; nothing counts as tried.
        """
        standby = dict(self._standby)
        late = {
            key
            for key, refused in standby.items()
            if self._passed.get(key) is not refused
            and refused.silent_ms + (now - refused.at) * 1000 > self._silent_ms
            and now - self._tried_at.get(key, -QUIET_AGAIN_S)
            >= (AGAIN_S if now - refused.at < HEARD_S else QUIET_AGAIN_S)
        }
        if not late:
            return {}
        followed = {
            context.keys.raw(symbol, channel): (context.name, (channel, symbol))
            for context in self._contexts
            for channel in written_by_turns(context.venue)
            for symbol in context.symbols
        }
        late &= followed.keys()
        quiet = [key for key in late if now - standby[key].at >= HEARD_S]
        newest_ms = await self._newest_ms(quiet) if quiet else {}
        for key in quiet:
            if key in newest_ms and newest_ms[key] < standby[key].event_ms:
                continue
            late.discard(key)
            if key in newest_ms:
                self._passed[key] = standby[key]
        self._tried_at = {key: at for key, at in self._tried_at.items() if now - at < QUIET_AGAIN_S}
        self._tried_at |= dict.fromkeys(late, now)
        due: dict[str, list[tuple[str, str]]] = {}
        for key, (venue, name) in followed.items():
            if key in late:
                due.setdefault(venue, []).append(name)
        return due
