"""REST requests within the fleet's shared weight budget, with every failure as a typed error."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

import aiohttp
import structlog
from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis

from workers.errors import NotServed, RateLimited, RequestRefused, RestError, RestUnavailable
from workers.runtime.context import VenueContext
from workers.runtime.rest_reply import Reply, fetch, printable
from workers.store.fleet.budget import Budget, Urgency
from workers.venues.requests import RestRequest

log = structlog.get_logger()

MOST_BUSY_BYTES: Final = 4_096
"""Of a reply that says so instead of what was asked for."""

REQUESTS = Counter("fleet_rest_requests_total", "REST requests sent", ["venue", "status"])
WEIGHT = Gauge("fleet_request_weight_used", "Weight the exchange counted in this minute", ["venue"])
OVERLONG = Counter("fleet_rest_overlong_total", "Replies longer than their kind can be", ["venue"])
WAITED = Histogram(
    "fleet_rest_budget_wait_seconds",
    "Time a request waited for the shared budget",
    ["venue"],
    buckets=(0.001, 0.1, 1, 5, 15, 30, 60, 120),
)


class RestClient:
    """Sends one venue's requests, each when the shared budget grants it.

    Args:
        session: its connector bounds how many run at once.
    """

    def __init__(self, session: aiohttp.ClientSession, client: Redis, context: VenueContext) -> None:
        self._session = session
        self._venue = context.venue
        self._name = context.name
        self.budget = Budget(
            client,
            context.venue.pool,
            assumed_limit=context.venue.facts.weight_a_minute,
            share=context.settings.weight_share,
            fixed_limit=context.settings.weight_per_minute,
            spacing_ms=context.venue.facts.spacing_ms,
        )
        self._turns: dict[Urgency, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Where requests are spaced: one of those that wait asks, not all of them for each that may go."""

    async def get(
        self,
        request: RestRequest | None,
        urgency: Urgency,
        timeout_s: float,
        granted: Callable[[], None] | None = None,
        spared: Callable[[], int] = lambda: 0,
    ) -> bytes:
        """The body of a 200 reply; waits for the budget first, however long that takes.

        Args:
            request: None: the venue has none for what is wanted.
            timeout_s: for the request itself, once it is sent.
            granted: called when the budget has been given.
            spared: the weight that it must leave for others of its urgency, asked for each time.

        Raises:
            NotServed, RateLimited, RequestRefused, RestUnavailable: see `workers.errors`.
        """
        if request is None:
            raise NotServed(self._name, "it")
        started = time.monotonic()
        async with self._turns[urgency] if self.budget.spacing_ms else nullcontext():
            while wait_ms := await self.budget.ask(request.weight, urgency, spared()):  # noqa: ASYNC110 -- other processes spend it
                await asyncio.sleep(min(wait_ms / 1000, 5.0))
        WAITED.labels(self._name).observe(time.monotonic() - started)
        if granted is not None:
            granted()
        sent = time.monotonic()
        try:
            reply = await fetch(self._session, request, timeout_s)
        except RestUnavailable:
            REQUESTS.labels(self._name, "none").inc()
            raise
        REQUESTS.labels(self._name, str(reply.status)).inc()
        await self._feed_back(reply, time.monotonic() - sent)
        busy_s = self._busy_s(reply.body)
        if reply.status == 200 and not reply.overlong and not busy_s:
            return reply.body
        raise await self._error(request, reply, busy_s)

    def _busy_s(self, body: bytes) -> float:
        """For how long nobody may ask, by words of the exchange that has no status for it; 0: it says no such thing."""
        if len(body) > MOST_BUSY_BYTES:
            return 0.0
        return next((wait_s for words, wait_s in self._venue.facts.busy if words in body), 0.0)

    async def _error(self, request: RestRequest, reply: Reply, busy_s: float) -> RestError:
        """What is wrong with a reply; of a ban the whole fleet is told."""
        if reply.status == 200 and not busy_s:
            OVERLONG.labels(self._name).inc()
            log.error("reply_overlong", venue=self._name, url=request.url, most_bytes=request.most_bytes)
            return RestUnavailable(
                request.url, 200, f"the body is longer than {request.most_bytes:,} bytes, or all commas"
            )
        code, message = self._venue.error_of(reply.body)
        problem = (
            f"code {code}: {printable(message)}" if message else f"no error object, {len(reply.body)} bytes"
        )
        is_limited = reply.status in (418, 429)
        if busy_s or is_limited:
            told_s = reply.wait_s(self._venue.banned_until_ms(message)) if is_limited else 0.0
            wait_s = max(busy_s, told_s)
            await self.budget.block(wait_s)
            log.error("rate_limited", venue=self._name, status=reply.status, wait_s=wait_s, problem=problem)
            return RateLimited(request.url, reply.status, wait_s, problem)
        if 300 <= reply.status < 400:
            place = printable(reply.headers.get("Location", "nowhere"))
            problem = f"it sends on to {place}, which is not followed; set rest_url to where the exchange is"
        if 400 <= reply.status < 500 and reply.status not in (403, 408):
            return RequestRefused(request.url, reply.status, problem)
        return RestUnavailable(request.url, reply.status, problem)

    async def _feed_back(self, reply: Reply, elapsed_s: float) -> None:
        used = reply.used_weight(self._venue.used_weight_header)
        if used is not None:
            WEIGHT.labels(self._name).set(used)
            await self.budget.report_used(used, int(elapsed_s * 1000), reply.exchange_ms)
