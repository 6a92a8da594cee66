"""Clients for the three ways the fleet talks to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from workers.settings.addresses import Address, address_of
from workers.store.wire import Wired, WiredClient, WiredPool

RESPONSE_S = 5.0
"""How long a reply may take before the connection is given up."""


class _TcpConnection(Wired, Connection):
    pass


class _TlsConnection(Wired, SSLConnection):
    pass


class _UnixConnection(Wired, UnixDomainSocketConnection):
    pass


class _SentinelConnection(Wired, SentinelManagedConnection):
    moved_is_lost = True


class _SentinelTlsConnection(Wired, SentinelManagedSSLConnection):
    moved_is_lost = True


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Around awaited calls of a client in a loop that shall end when its task is cancelled.

    redis-py sends through `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes just when the
    sending is done (cpython#86296). Here it is raised then, after the call.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > asked:
        raise asyncio.CancelledError


class _SentinelPool(SentinelConnectionPool, WiredPool):
    """Closes what it asks for the master, too."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _client(url: str, **ours: Any) -> Redis:
    address = address_of(url)
    options = {
        "socket_timeout": RESPONSE_S,
        "socket_connect_timeout": RESPONSE_S,
        **address.options,
        "protocol": 2,
        **ours,
    }
    if address.sentinels:
        return _of_master(address, options)
    kind = _UnixConnection if "path" in options else _TlsConnection if address.tls else _TcpConnection
    return WiredClient(connection_pool=WiredPool(connection_class=kind, **options))


def _of_master(address: Address, options: dict[str, Any]) -> Redis:
    """A client of the master that the sentinels name at each connection."""
    asking: dict[str, Any] = {
        "socket_timeout": RESPONSE_S,
        "socket_connect_timeout": RESPONSE_S,
        "protocol": 2,
    }
    if address.tls:
        of_tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        asking |= {"ssl": True, **of_tls}
    asked = asking | dict(address.sentinel_options)
    sentinel = Sentinel(list(address.sentinels), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]  # redis-py's
    kind = _SentinelTlsConnection if address.tls else _SentinelConnection
    pool = _SentinelPool(address.master, sentinel, connection_class=kind, **options)  # type: ignore[no-untyped-call]  # too
    return WiredClient(connection_pool=pool)


def connect(url: str) -> Redis:
    """A client for control commands and for writes that may be repeated harmlessly.

    Raises:
        AddressUnusable: the URL cannot be used.

    Every write of the fleet is refused or without effect when repeated (explicit stream ids, absolute
    values, fencing numbers, `append_once`), so lost replies may be retried. tests/store/test_repeated_commands.py
    sends each of them twice.
    """
    return _client(
        url,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3),
        health_check_interval=15,
    )


def connect_reader(url: str) -> Redis:
    """A client for consumer-group reads.

    It never retries by itself: a repeated XREADGROUP would lose the entries of the lost reply until
    somebody reads the pending list again, which is what our reader does after any error.
    """
    return _client(
        url,
        retry=Retry(NoBackoff(), 0),
    )
