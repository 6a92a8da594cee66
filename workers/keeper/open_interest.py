"""Asking REST for what no stream brings, such as Binance's open interest, symbol by symbol and within the budget.

The reply goes into the log as a message of its channel does, and is folded from there.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.errors import MalformedFrame, RestError
from workers.runtime.backoff import Backoff
from workers.runtime.context import VenueContext
from workers.runtime.process import Process
from workers.runtime.rest import RestClient
from workers.store.fleet.budget import Urgency
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import RawEntry
from workers.venues.channels import name_of

log = structlog.get_logger()

POLLED = Counter("fleet_polls_total", "Replies of REST that went into the log", ["venue", "channel"])
FAILED = Counter("fleet_poll_failed_total", "Of those requests, those that failed", ["venue", "channel"])

IDLE_S: Final = 1.0
NAMES_MS: Final = 3_600_000
BY: Final = "rest"
"""In place of the line that brought a message."""


class OpenInterest:
    """The channels of one venue that REST is asked for."""

    def __init__(self, process: Process, context: VenueContext, rest: RestClient) -> None:
        self._process = process
        self._context = context
        self._rest = rest
        self._polled = {
            name: (channel.request, channel.read)
            for name, channel in context.venue.channels.items()
            if channel.request is not None and channel.read is not None
        }
        self._limit = context.settings.weight_per_minute or context.venue.facts.weight_a_minute
        silent_ms = process.settings.ingest.writer_silent_ms
        self._streams = NumberedStreams(process.client, silent_ms, NAMES_MS)
        self._waits = Backoff("polls")
        self._due: dict[tuple[str, str], float] = {}
        """When a channel of a symbol may be asked for (monotonic seconds)."""

    def learned(self, limit: int) -> None:
        """The exchange told its request-weight limit; one fixed by the settings stands instead."""
        self._limit = self._context.settings.weight_per_minute or limit

    async def run(self) -> None:
        """Ask until told to stop; at once over if nothing is to be asked for."""
        every_s = self._process.settings.keeper.open_interest_s
        while self._polled and every_s and not self._process.stop.is_set():
            try:
                pause_s = await self.step(time.monotonic(), every_s)
                self._waits.accepted()
            except (RedisError, OSError) as error:
                pause_s = self._waits.refused(error)
            except Exception as error:  # of one request: the others go on
                pause_s = IDLE_S
                FAILED.labels(self._context.name, "").inc()
                log.error("poll_failed", venue=self._context.name, exc_info=error)
            await self._process.sleep(pause_s)

    async def step(self, now: float, every_s: float) -> float:
        """Ask for what has waited longest, if anything is due (monotonic seconds); the pause after it, s."""
        names = {(name, symbol) for symbol in self._context.symbols for name in self._polled}
        self._due = {name: due for name, due in self._due.items() if name in names}
        due = [name for name in names if now >= self._due.get(name, 0.0)]
        if not due:
            return min(IDLE_S, every_s)
        name, symbol = min(due, key=lambda one: (self._due.get(one, 0.0), one))
        self._due[name, symbol] = now + every_s
        weight = await self._ask(name, symbol)
        allowed = self._limit * self._process.settings.keeper.audit_weight_share
        return 60.0 * weight / max(allowed, 1.0)

    async def _ask(self, name: str, symbol: str) -> int:
        """Ask, and file the reply; the weight of the request. Raises: RedisError."""
        venue, (request_of, read) = self._context.name, self._polled[name]
        request = request_of(symbol)
        try:
            timeout_s = self._process.settings.trades.repair_timeout_s
            body = await self._rest.get(request, Urgency.AUDIT, timeout_s)
            figures = read(body).figures
        except (RestError, MalformedFrame) as error:
            FAILED.labels(venue, name).inc()
            log.warning("poll_failed", venue=venue, symbol=symbol, channel=name, error=str(error))
            return request.weight
        now_us = time.time_ns() // 1000
        now_ms = now_us // 1000
        event_ms = min(now_ms, max((figure.time_ms for figure in figures.values()), default=now_ms))
        key = self._context.keys.raw(symbol, name)
        entry = RawEntry(key, event_ms, 0, body, now_us, BY, name=name_of(body))
        await self._streams.append([entry], {key: self._process.settings.streams.channels_ms})
        POLLED.labels(venue, name).inc()
        return request.weight
