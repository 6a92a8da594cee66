"""Connections of redis-py over which a command costs a third of its client's CPU.

redis-py connects: names, TLS, logging in, sentinels, protocol version. Then the socket is taken from its streams and
given to a `Wire`, which feeds hiredis as bytes come and wakes who waits; commands are packed by hiredis and sent
without a task for each. Errors, retries and callbacks of replies stay redis-py's. Figures: docs/decisions/wire.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from hiredis import Reader, pack_command
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.client import EMPTY_RESPONSE
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as AnsweredLate

from workers.store.refusals import refusal_of

_NOTHING: Final = object()
"""What hiredis gives while a reply is not whole."""


def _packed(arguments: Sequence[Any]) -> bytes:
    command = arguments[0]
    if isinstance(command, str) and " " in command:  # redis-py's name with a subcommand: "XGROUP CREATE"
        arguments = (*command.split(), *arguments[1:])
    return bytes(pack_command(tuple(arguments)))


class Wire(asyncio.Protocol):
    """The socket of one connection: replies in the order they came, and whoever waits for the next.

    Args:
        streams: the protocol whose socket it was; it has to hear that the socket is closed.
        lost: called when it is.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        streams: asyncio.BaseProtocol,
        parse_error: Callable[[str], Exception],
        lost: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._streams = streams
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_NOTHING)
        self._replies: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late_at = 0.0
        self._end: Exception | None = None
        transport.set_protocol(self)

    @property
    def has_unread(self) -> bool:
        """Whether there is a reply that nobody has taken."""
        return bool(self._replies) or bool(self._reader.has_data())

    def send(self, packed: bytes) -> None:
        """Send commands; their replies come in order."""
        self._transport.write(packed)

    async def reply(self, timeout_s: float | None) -> Any:
        """The next reply; an error the server answered with is returned, not raised.

        Raises:
            ConnectionLost, AnsweredLate, InvalidResponse: there will be none; the connection is of no use any more.
        """
        while not self._replies:
            if self._end is not None:
                raise self._end
            self._waiting = self._loop.create_future()
            if timeout_s is not None:
                self._late_at = self._loop.time() + timeout_s
                if self._timer is None:  # one timer for many replies: most are there long before it
                    self._timer = self._loop.call_later(timeout_s, self._look_at_clock)
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._replies.popleft()

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._waiting is None or self._waiting.done():
            return
        if (left_s := self._late_at - self._loop.time()) > 0:
            self._timer = self._loop.call_later(left_s, self._look_at_clock)
        else:
            self._waiting.set_exception(AnsweredLate("Timeout reading from the server"))

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._replies.append(reply)
        except InvalidResponse as error:
            self._end = error
            self._transport.abort()
        if self._replies or self._end is not None:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed, by whomever."""
        self._end = self._end or ConnectionLost("Connection closed by server.")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        self._streams.connection_lost(error)
        self._lost()


class Wired(AbstractConnection):
    """What makes a connection class of redis-py one over a `Wire`.

    And gives a connection up once its server says that it is no primary: a client would stay with it for ever, as
    nothing is wrong with the connection. The next one looks its name up anew.
    """

    moved_is_lost: ClassVar[bool] = False
    """Whether such an answer is an error to be tried again after: where sentinels name the primary."""
    _wire: Wire | None = None
    _reader: Any
    _writer: Any

    def pack_command(self, *arguments: Any) -> list[bytes]:
        return [_packed(arguments)]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [b"".join(_packed(tuple(command)) for command in commands)]

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        if self.is_connected:
            return
        self._wire = None
        await super().connect_check_health(*arguments, **options)
        transport = self._writer.transport
        parse_error = self._parser.parse_error
        wire = Wire(transport, transport.get_protocol(), parse_error, lambda: self._closed(wire))
        self._wire = wire

    def _closed(self, wire: Wire) -> None:
        if self._wire is wire:
            self._wire = self._reader = self._writer = None

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        self._wire = None
        await super().disconnect(*arguments, **options)

    async def can_read(self) -> bool:
        if self._wire is not None:
            return self._wire.has_unread
        return await super().can_read()

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """As redis-py's own; a server that is gone is found out about when its reply does not come."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if self._wire is None:  # while it connects
            # Where the login is refused, a PING before each command would fail, and connect anew, for ever.
            await super().send_packed_command(command, check_health=False)
        else:
            self._wire.send(command if isinstance(command, bytes) else b"".join(command))

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As redis-py's own."""
        if self._wire is None:
            return await super().read_response(*arguments, **options)
        reply = await self._next(self._wire)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _next(self, wire: Wire) -> Any:
        """The next reply, or the server's error."""
        try:
            reply = await wire.reply(self.socket_timeout)
        except BaseException:  # of a cancellation, too, the reply would come to whoever asks next
            await self.disconnect(nowait=True)
            raise
        if isinstance(reply, RedisError):
            if refusal_of(reply).elsewhere:
                await self.disconnect(nowait=True)
                return ConnectionLost("The previous master is now a slave") if self.moved_is_lost else reply
            if isinstance(reply, ConnectionLost):  # of a server that loads its data, or has too many clients
                await self.disconnect(nowait=True)
        return reply

    async def answers(self, packed: bytes, count: int) -> list[Any]:
        """The replies to so many commands; of those refused the errors. What may be tried again is.

        Raises:
            RedisError: there were none, or the server is not ready.
        """

        if self._wire is None:
            await self.connect()  # type: ignore[no-untyped-call]  # redis-py's
        try:  # what succeeds at once, as nearly all does, need not pass through what would repeat it
            return await self._asked(packed, count)
        except (RedisError, OSError) as error:
            failures = [error]

        async def ask() -> list[Any]:
            if failures:
                raise failures.pop()
            if not self.is_connected:
                await self.connect()  # type: ignore[no-untyped-call]  # redis-py's
            return await self._asked(packed, count)

        async def failed(error: Exception) -> None:
            await self.disconnect(nowait=True)

        return list(await self.retry.call_with_retry(ask, failed))

    async def _asked(self, packed: bytes, count: int) -> list[Any]:
        """The same, of one try."""
        if (wire := self._wire) is None:
            raise ConnectionLost("Connection closed by server.")
        wire.send(packed)
        replies = [await self._next(wire) for _ in range(count)]
        for reply in replies:
            if isinstance(reply, ConnectionLost):
                raise reply
        return replies


class WiredPool(ConnectionPool):
    """Gives connections without asking them first: a `Wire` knows when its socket is closed.

    redis-py refuses a command where all connections are in use; here it waits for its `turn`.
    """

    _in_use_connections: Any
    _available_connections: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.turn = asyncio.Semaphore(self.max_connections)

    def give_back(self, connection: Wired) -> None:
        """Take back what `get_available_connection` gave."""
        self._in_use_connections.discard(connection)
        self._available_connections.append(connection)


class WiredClient(Redis):
    """A client of such connections; each has the commands of one task at a time.

    Args:
        pool: a `WiredPool`; one of sentinels, too.
    """

    connection_pool: Any

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        if EMPTY_RESPONSE in options:
            async with self.connection_pool.turn:
                return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]  # redis-py's
        (reply,) = await _answers(self.connection_pool, _packed(arguments), 1)
        if isinstance(reply, Exception):
            raise reply
        return _called_back(self, arguments[0], reply, options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _WiredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _WiredPipeline(Pipeline):
    connection_pool: Any

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack: Any = self.command_stack
        special = self.is_transaction or self.explicit_transaction or self.watching or self.scripts
        if special or not stack or any(EMPTY_RESPONSE in options for _, options in stack):
            async with self.connection_pool.turn:
                return list(await super().execute(raise_on_error))
        packed = b"".join(_packed(arguments) for arguments, _ in stack)
        try:
            replies = await _answers(self.connection_pool, packed, len(stack))
            replies = [
                reply if isinstance(reply, Exception) else _called_back(self, arguments[0], reply, options)
                for (arguments, options), reply in zip(stack, replies, strict=True)
            ]
            if raise_on_error:
                self.raise_first_error(stack, replies)
            return replies
        finally:
            await self.reset()  # type: ignore[no-untyped-call]  # too


async def _answers(pool: Any, packed: bytes, count: int) -> list[Any]:
    async with pool.turn:
        connection: Wired = pool.get_available_connection()
        try:
            return await connection.answers(packed, count)
        finally:
            pool.give_back(connection)


def _called_back(client: Redis, name: Any, reply: Any, options: dict[str, Any]) -> Any:
    """A reply as redis-py gives it."""
    callback: Any = client.response_callbacks.get(name)
    if callback is None:
        return reply
    return callback(reply, **{key: value for key, value in options.items() if key != "keys"})
