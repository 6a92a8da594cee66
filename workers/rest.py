"""REST requests within the fleet's shared weight budget, with every failure as a typed error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp
import structlog
from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis

from workers.context import VenueContext
from workers.errors import RateLimited, RequestRefused, RestUnavailable
from workers.store.budget import Budget, Urgency
from workers.venues.interface import RestRequest

log = structlog.get_logger()

REQUESTS = Counter("fleet_rest_requests_total", "REST requests sent", ["venue", "status"])
WEIGHT = Gauge("fleet_request_weight_used", "Weight the exchange counted in this minute", ["venue"])
WAITED = Histogram(
    "fleet_rest_budget_wait_seconds",
    "Time a request waited for the shared budget",
    ["venue"],
    buckets=(0.001, 0.1, 1, 5, 15, 30, 60, 120),
)

UNKNOWN_WAIT_S = 60.0
"""Wait after a 429 or 418 that names no `Retry-After`."""


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
            assumed_limit=context.venue.assumed_weight_limit,
            share=context.settings.weight_share,
            fixed_limit=context.settings.weight_per_minute,
        )

    async def get(
        self,
        request: RestRequest,
        urgency: Urgency,
        timeout_s: float,
        granted: Callable[[], None] | None = None,
    ) -> bytes:
        """The body of a 200 reply; waits for the budget first, however long that takes.

        Args:
            timeout_s: for the request itself, once it is sent.
            granted: called when the budget has been given.

        Raises:
            RateLimited, RequestRefused, RestUnavailable: see `workers.errors`.
        """
        started = time.monotonic()
        while wait_ms := await self.budget.ask(request.weight, urgency):  # noqa: ASYNC110 -- other processes spend it
            await asyncio.sleep(min(wait_ms / 1000, 5.0))
        WAITED.labels(self._name).observe(time.monotonic() - started)
        if granted is not None:
            granted()
        try:
            async with asyncio.timeout(timeout_s), self._session.get(request.url) as response:
                body = await response.read()
                status, headers = response.status, response.headers
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            REQUESTS.labels(self._name, "none").inc()
            raise RestUnavailable(request.url, 0, str(error) or type(error).__name__) from error
        REQUESTS.labels(self._name, str(status)).inc()
        await self._feed_back(headers.get(self._venue.used_weight_header, ""))
        if status == 200:
            return body
        code, message = self._venue.error_of(body)
        problem = f"code {code}: {message}" if message else f"no error object, {len(body)} bytes"
        if status in (418, 429):
            retry_after_s = self._retry_after(headers.get("Retry-After", ""))
            await self.budget.block(retry_after_s)
            log.error("rate_limited", venue=self._name, status=status, wait_s=retry_after_s, problem=problem)
            raise RateLimited(request.url, status, retry_after_s, problem)
        if 400 <= status < 500 and status not in (403, 408):
            raise RequestRefused(request.url, status, problem)
        raise RestUnavailable(request.url, status, problem)

    async def _feed_back(self, used: str) -> None:
        if used.isdigit():
            WEIGHT.labels(self._name).set(int(used))
            await self.budget.told(int(used))

    @staticmethod
    def _retry_after(text: str) -> float:
        try:
            return max(1.0, float(text))
        except ValueError:
            return UNKNOWN_WAIT_S
