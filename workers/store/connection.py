"""Clients for the three ways the fleet talks to Redis."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

RESPONSE_S = 5.0
"""How long a reply may take before the connection is given up."""


def connect(url: str) -> Redis:
    """A client for control commands and for writes that may be repeated harmlessly.

    Every write of the fleet is refused or without effect when repeated (explicit stream ids, absolute
    values, fencing numbers), so lost replies may be retried.
    """
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=RESPONSE_S,
        socket_connect_timeout=RESPONSE_S,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3),
        health_check_interval=15,
    )


def connect_reader(url: str) -> Redis:
    """A client for consumer-group reads.

    It never retries by itself: a repeated XREADGROUP would lose the entries of the lost reply until
    somebody reads the pending list again, which is what our reader does after any error.
    """
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=RESPONSE_S,
        socket_connect_timeout=RESPONSE_S,
        retry=Retry(NoBackoff(), 0),
    )
