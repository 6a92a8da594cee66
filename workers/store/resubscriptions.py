"""Asking the lines to subscribe anew to a stream that was found dead: one stream a venue, read by both lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio import Redis

from workers.store.keys import resubscription_asked, resubscriptions

PACE_MS: Final = 5_000
"""Who asks for a stream again within this time is not heard: many may find it dead at once."""
KEPT: Final = 1_000
READ_COUNT: Final = 500


async def ask_anew(client: Redis, venue: str, symbol: str, channel: str, evidence: str) -> bool:
    """Ask both lines to subscribe anew to one stream; False when somebody has just done so. One or two round trips.

    Args:
        evidence: what showed that it is dead, for people.
    """
    asking: Any = client
    if not await asking.set(resubscription_asked(venue, symbol, channel), evidence, nx=True, px=PACE_MS):
        return False
    fields = {"symbol": symbol, "channel": channel, "evidence": evidence}
    await asking.xadd(resubscriptions(venue), fields, maxlen=KEPT, approximate=True)
    return True


class ResubscriptionReader:
    """What is asked of the lines from now on."""

    def __init__(self, client: Redis, venues: Iterable[str]) -> None:
        self._client: Any = client
        self._places: dict[str, bytes] = {}
        self._venues = {resubscriptions(venue): venue for venue in venues}

    async def new(self) -> dict[str, list[tuple[str, str]]]:
        """Streams (channel, symbol) by venue, asked for since the last call; none in the first, which finds its place.

        Raises:
            RedisError: nothing is lost, the next call reads on.
        """
        if not self._places:
            places = {}
            for key in self._venues:
                newest = await self._client.xrevrange(key, count=1)
                places[key] = newest[0][0] if newest else b"0-0"
            self._places = places
            return {}
        found: dict[str, list[tuple[str, str]]] = {}
        for name, entries in await self._client.xread(dict(self._places), count=READ_COUNT) or []:
            key = name.decode()
            self._places[key] = entries[-1][0]
            for _, fields in entries:
                symbol, channel = fields.get(b"symbol", b""), fields.get(b"channel", b"")
                asked = channel.decode("utf-8", "replace"), symbol.decode("utf-8", "replace")
                found.setdefault(self._venues[key], []).append(asked)
        return found
