"""Clients for the three ways the fleet talks to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from hiredis import pack_command
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import RedisError

from workers.store.refusals import refusal_of

RESPONSE_S = 5.0
"""How long a reply may take before the connection is given up."""


def _packed(arguments: tuple[Any, ...]) -> bytes:
    command = arguments[0]
    if isinstance(command, str) and " " in command:  # redis-py's name with a subcommand: "XGROUP CREATE"
        arguments = (*command.split(), *arguments[1:])
    return bytes(pack_command(arguments))


class _Packing(AbstractConnection):
    """Packs commands with hiredis: redis-py's asyncio connections do it in Python, several times slower.

    And gives a connection up once its server says that it is no primary: a client would stay with it for ever, as
    nothing is wrong with the connection. The next one looks its name up anew.
    """

    def pack_command(self, *arguments: Any) -> list[bytes]:
        return [_packed(arguments)]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [b"".join(_packed(tuple(command)) for command in commands)]

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except RedisError as error:
            if refusal_of(error).elsewhere:
                self.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py has no types there; done on release
            raise


class _TcpConnection(_Packing, Connection):
    pass


class _TlsConnection(_Packing, SSLConnection):
    pass


class _UnixConnection(_Packing, UnixDomainSocketConnection):
    pass


_PACKED = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}


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


def _client(url: str, **options: Any) -> Redis:
    pool = ConnectionPool.from_url(
        url, protocol=2, socket_timeout=RESPONSE_S, socket_connect_timeout=RESPONSE_S, **options
    )
    pool.connection_class = _PACKED[pool.connection_class]
    return Redis(connection_pool=pool)


def connect(url: str) -> Redis:
    """A client for control commands and for writes that may be repeated harmlessly.

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
