"""Whether the fleet serves what it should, known at any moment: asked in the background, told without asking.

Whoever asks `/healthz` must not wait for what may be broken. So Redis is asked here twice a second, and the answer
given is the last one with its age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from workers.api.http.markets import Markets
from workers.api.http.state_types import HealthState, Healthy, VenueHealth
from workers.errors import TryLater, Unhealthy
from workers.model.symbols.shares import Share
from workers.runtime.pulse import Pulse
from workers.settings.schema import FleetSettings
from workers.store.books.watch import Watch
from workers.store.connection import connect_reader
from workers.store.fleet.leases import Registry

HEALTH: Final = Gauge("fleet_api_health", "2: ok, 1: degraded, 0: down")
UNANSWERED: Final = Counter(
    "fleet_api_health_unanswered_total", "Looks at the fleet that Redis did not answer in time"
)

PROBE_S: Final = 0.5
ANSWER_S: Final = 1.0
"""How long Redis may take to answer one look."""
AWAY_S: Final = 1.5
"""After this long without an answer it counts as away."""
SILENT_MS: Final = 5_000
"""A venue of which no symbol's stream brought anything for this long counts as silent."""
T = TypeVar("T")
VALUES: Final = {"down": 0, "degraded": 1, "ok": 2}


class Health:
    """Looks at the fleet, and says what it saw last.

    Args:
        url: of Redis, asked through a connection of its own.
        pulse: of this process: what it is late by is not Redis's silence.
    """

    def __init__(self, url: str, fleet: FleetSettings, markets: Markets, pulse: Pulse) -> None:
        self._client = connect_reader(url)
        self._watch = Watch(self._client)
        self._registry = Registry(self._client, fleet)
        self._markets = markets
        self._venues: list[VenueHealth] = []
        self._answered_at: float | None = None
        self._pulse = pulse

    @property
    def away_s(self) -> float:
        """After this long without an answer Redis counts as away: longer while this process is starved itself."""
        return AWAY_S + self._pulse.extra_ms(int(AWAY_S * 1000)) / 1000

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_S + self.away_s - AWAY_S):
                    self._venues = await self._look()
                self._answered_at = time.monotonic()
            except (RedisError, OSError, ValueError):  # TimeoutError is an OSError
                UNANSWERED.inc()
                with suppress(RedisError, OSError):
                    await (
                        self._client.connection_pool.disconnect()
                    )  # what still comes answers an old question
            HEALTH.set(VALUES[self.state().state])
            took = time.monotonic() - began  # a quarter of the time is enough for many symbols
            await asyncio.sleep(PROBE_S if took > PROBE_S / 2 else max(PROBE_S, 4 * took))

    async def _look(self) -> list[VenueHealth]:
        lines = await self._registry.workers(("ingest-a", "ingest-b"))
        connections = Connections(lines)
        found = []
        for name, context in self._markets.contexts.items():
            symbols = list(self._markets.symbols(name))
            sights = await self._watch.sights(context.keys, symbols)
            ages = [sight.age_ms for sight in sights if sight.age_ms is not None]
            shown = sum(sight.is_shown for sight in sights)
            cut_off = sum(not connections.has(name, symbol) for symbol in symbols)
            is_connected = cut_off < len(symbols) if symbols else connections.any_to(name)
            found.append(
                VenueHealth(
                    name,
                    is_connected,
                    shown,
                    len(symbols),
                    min(ages, default=None),
                    cut_off if is_connected else 0,
                )
            )
        return found

    def state(self) -> Healthy:
        """What is known now. O(venues), never waits."""
        if self._answered_at is None:
            return Healthy(False, "down", ["Redis has not answered yet"], None, [])
        return judge(self._venues, time.monotonic() - self._answered_at, self.away_s)

    def demand(self) -> Healthy:
        """The same. Raises: Unhealthy, where it is `down`."""
        found = self.state()
        if found.state == "down":
            raise Unhealthy(found.reasons)
        return found

    async def answered(self, asking: Coroutine[Any, Any, T]) -> T:
        """What a question to Redis gives, unless Redis stops answering meanwhile: then nobody waits for it longer.

        Raises:
            TryLater: Redis has not answered for `AWAY_S`.
        """
        task = asyncio.create_task(asking, name="api: question")
        try:
            while not task.done():
                await asyncio.wait([task], timeout=AWAY_S / 4)
                away_s = time.monotonic() - (self._answered_at or 0.0)
                if not task.done() and self._answered_at is not None and away_s > self.away_s:
                    raise TryLater(
                        "Redis does not answer",
                        f"it has not answered for {away_s:.1f} s; /healthz tells when it does",
                    )
            return task.result()
        finally:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # who asked has gone
            task.cancel()  # not waited for: it may wait for Redis even then

    async def close(self) -> None:
        """Close its connection."""
        await self._client.aclose()


class Connections:
    """Which symbols have a line whose process has all its sockets connected, and they deliver.

    Args:
        workers: heartbeats, of the lines among others.
    """

    def __init__(self, workers: Iterable[Mapping[str, str]]) -> None:
        self._shares: dict[str, list[Share]] = {}
        for worker in workers:
            share, alive = Share.from_heartbeat(worker), set(worker.get("alive", "").split(","))
            for name in alive & set(worker.get("open", "").split(",")) - {""}:
                self._shares.setdefault(name, []).append(share)

    def has(self, venue: str, symbol: str) -> bool:
        """Whether a symbol has one. Cost: O(processes of the lines)."""
        return any(share.has(symbol) for share in self._shares.get(venue, ()))

    def any_to(self, venue: str) -> bool:
        """Whether any symbol of a venue may have one."""
        return venue in self._shares


def judge(venues: Sequence[VenueHealth], unanswered_s: float, away_s: float = AWAY_S) -> Healthy:
    """What these sights mean, the last of them so long ago; `away_s`: from which on Redis is away.

    `down`: nothing that is live can be served, since Redis is away, no venue's sockets deliver, or every book is
    withheld. `degraded`: some of it cannot.
    """
    reasons = []
    is_away = unanswered_s > away_s
    if is_away:
        reasons.append(f"Redis has not answered for {unanswered_s:.1f} s")
    for venue in venues:
        if not venue.books_followed:
            reasons.append(f"{venue.venue}: no symbol is followed yet")
        if not venue.is_connected:
            reasons.append(f"{venue.venue}: no line has living sockets to the exchange")
        elif venue.silent_ms is not None and venue.silent_ms > SILENT_MS:
            reasons.append(f"{venue.venue}: nothing has come for {venue.silent_ms / 1000:.0f} s")
        if venue.books_cut_off:
            cut_off = f"{venue.books_cut_off} of {venue.books_followed} symbols"
            reasons.append(f"{venue.venue}: no line has living sockets for {cut_off}")
        if withheld := venue.books_followed - venue.books_shown:
            reasons.append(f"{venue.venue}: {withheld} of {venue.books_followed} books are withheld")
    is_served = any(venue.is_connected for venue in venues) and any(venue.books_shown for venue in venues)
    state: HealthState = "down" if is_away or not is_served else "degraded" if reasons else "ok"
    return Healthy(state == "ok", state, reasons, int(unanswered_s * 1000), list(venues))
