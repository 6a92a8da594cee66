"""Asking the lines to subscribe anew to a stream that was found dead: one stream a venue, read by both lines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.store.keys import resubscription_asked, resubscriptions
from workers.store.log.follower import START, entry_id
from workers.store.refusals import refusal_of

PACE_MS: Final = 5_000
"""Who asks for a stream again within this time is not heard: many may find it dead at once."""
KEPT: Final = 1_000
READ_COUNT: Final = 500
RECHECK_S: Final = 5.0
"""How often a reader makes sure that its place is not beyond the end: the stream may have been made anew."""


class Resubscription(NamedTuple):
    """What somebody asks of the lines."""

    channel: str
    symbol: str
    line: str = ""
    """The lines (`a`, `b`, `ab`) whose stream may live, but is to bring its whole book again; empty: of both, where it
    is dead."""


async def ask_anew(
    client: Redis,
    venue: str,
    symbol: str,
    channel: str,
    evidence: str,
    *,
    line: str = "",
    pace_ms: int = PACE_MS,
) -> bool:
    """Ask the lines to subscribe anew to one stream; False when somebody has just done so. One or two round trips.

    Args:
        evidence: what showed that it is dead, or why its whole book is wanted, for people.
        line: see `Resubscription`.
        pace_ms: who asks for the stream again within this time is not heard.
    """
    asking: Any = client
    key, asked_key = resubscriptions(venue), resubscription_asked(venue, symbol, channel)
    if not await asking.set(asked_key, evidence, nx=True, px=pace_ms):
        left = await asking.pttl(asked_key)
        if left == -1 or left > PACE_MS:  # somebody else's: it would never run out
            await asking.pexpire(asked_key, PACE_MS)
        return False
    fields = {"symbol": symbol, "channel": channel, "evidence": evidence}
    if line:
        fields["line"] = line
    try:
        await asking.xadd(key, fields, maxlen=KEPT, approximate=True)
    except ResponseError as error:
        if refusal_of(error).of_server:
            raise
        await asking.delete(key)  # of another type, or no id is left after its last: nothing in it lasts
        await asking.xadd(key, fields, maxlen=KEPT, approximate=True)
    return True


class ResubscriptionReader:
    """What is asked of the lines from now on."""

    def __init__(self, client: Redis, venues: Iterable[str]) -> None:
        self._client: Any = client
        self._places: dict[str, bytes] = {}
        self._venues = {resubscriptions(venue): venue for venue in venues}
        self._recheck_at = 0.0

    async def _find_places(self) -> None:
        """Stand at the end of each stream, or at its beginning where it was made anew since."""
        places = {}
        for key in self._venues:
            try:
                newest = await self._client.xrevrange(key, count=1)
            except ResponseError as error:
                if refusal_of(error).of_server:
                    raise
                await self._client.delete(key)  # no stream: those of the other venues shall be read
                newest = []
            last = newest[0][0] if newest else START.encode()
            place = self._places.get(key, last)
            places[key] = place if entry_id(place) <= entry_id(last) else START.encode()
        self._places = places
        self._recheck_at = time.monotonic() + RECHECK_S

    async def new(self) -> dict[str, list[Resubscription]]:
        """What was asked for since the last call, by venue; nothing in the first, which finds its place.

        Raises:
            RedisError: nothing is lost, the next call reads on.
        """
        if not self._places or time.monotonic() >= self._recheck_at:
            began = not self._places
            await self._find_places()
            if began:
                return {}
        found: dict[str, list[Resubscription]] = {}
        try:
            replies = await self._client.xread(dict(self._places), count=READ_COUNT) or []
        except ResponseError:
            self._recheck_at = 0.0
            raise
        for name, entries in replies:
            key = name.decode()
            self._places[key] = entries[-1][0]
            for _, fields in entries:
                texts = (fields.get(name, b"") for name in (b"channel", b"symbol", b"line"))
                request = Resubscription(*(text.decode("utf-8", "replace") for text in texts))
                found.setdefault(self._venues[key], []).append(request)
        return found
