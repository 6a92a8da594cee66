"""The connections of the HTTP server: bounded in number, time and bytes, whatever their other ends do.

aiohttp gives a connection no time for the head of a request, and one that is closed while its other end does not read
stays open until that end goes away. So every connection is known here: who sends no request, reads nothing or would
take more memory than there is for all is disconnected, and where there is no room for a newcomer, whoever has been
idle longest makes it.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import structlog
from aiohttp import web
from prometheus_client import Counter, Gauge

from workers.api.live.outlet import Outlet
from workers.model.host_names import is_loopback_host
from workers.settings.api import ApiSettings

log = structlog.get_logger()

OPEN = Gauge("fleet_api_connections", "Connections open")
UNSENT = Gauge("fleet_api_unsent_bytes", "Bytes that wait for clients that read slowly or not")
ENDED = Counter("fleet_api_connections_ended_total", "Connections the API ended, by why", ["why"])
REFUSED = Counter("fleet_api_connections_refused_total", "Connections there was no room for", ["why"])

WATCH_S: Final = 0.5
RESERVED: Final = 128
"""Descriptors kept for everything but connections: Redis, logs, listening sockets."""
MOST_DESCRIPTORS: Final = 65_536
_FULL: Final = (
    b'{"title":"Too many connections","status":503,"detail":"close those you do not use and try again"}'
)
FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_FULL), _FULL)
)


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as it may; how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class Connection:
    """One connection. Times are monotonic seconds; None: it is not so now."""

    __slots__ = (
        "address", "closing_since", "idle_since", "is_served", "outlet", "paused_since", "transport", "waited",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, address: str, now: float) -> None:
        self.transport = transport
        self.address = address
        self.idle_since: float | None = now
        """It has no request under way."""
        self.is_served = False
        """It has sent a whole request at some time."""
        self.paused_since: float | None = None
        """More waits for it than it should."""
        self.closing_since: float | None = None
        self.outlet: Outlet | None = None
        """Of a live client: what waits for it besides."""
        self.waited = 0
        """Bytes that waited for it when it was looked at last."""

    def read_some(self, now: float) -> None:
        """Where it has read of what waits for it since the last look, however slowly, its time begins anew."""
        before, self.waited = self.waited, self.transport.get_write_buffer_size()
        if self.waited < before:
            self.idle_since, self.paused_since, self.closing_since = (
                since and now for since in (self.idle_since, self.paused_since, self.closing_since)
            )

    @property
    def unsent(self) -> int:
        """Bytes that wait for it and that only it is to blame for."""
        behind = self.outlet.size if self.outlet is not None and self.paused_since is not None else 0
        return self.transport.get_write_buffer_size() + behind


class Connections:
    """All connections of one server.

    Args:
        most: connections at the same time; by default `api.most_connections`, as far as descriptors allow.
    """

    def __init__(self, settings: ApiSettings, most: int | None = None) -> None:
        self._settings = settings
        self._most = settings.most_connections if most is None else most
        self._all: dict[asyncio.BaseTransport, Connection] = {}
        self._idle: dict[Connection, None] = {}
        """The longest idle first."""
        self._by_address: Counts[str] = Counts()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._all)

    def opened(self, transport: asyncio.Transport) -> None:
        """A client has connected; where there is no room for it, it is told so and let go."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if why := self._make_room(address):
            REFUSED.labels(why).inc()
            transport.write(FULL)
            transport.close()
            return
        made = Connection(transport, address, time.monotonic())
        self._all[transport] = made
        self._idle[made] = None
        self._by_address[address] += 1
        OPEN.set(len(self._all))

    def _make_room(self, address: str) -> str:
        """End whoever has been idle longest if need be; why there is no room all the same."""
        limit = self._settings.most_connections_of_address
        if self._by_address[address] >= limit and not is_loopback(address):
            of_address = (connection for connection in self._idle if connection.address == address)
            if not self._end_idle(of_address):
                return "address"
        if len(self._all) < self._most:
            return ""
        (busiest, _), *_ = self._by_address.most_common(1)
        of_busiest = (connection for connection in self._idle if connection.address == busiest)
        return "" if self._end_idle(of_busiest) or self._end_idle(iter(self._idle)) else "all"

    def _end_idle(self, candidates: Iterable[Connection]) -> bool:
        for connection in candidates:
            if not connection.transport.get_write_buffer_size():
                self._end(connection, "room")
                return True
        return False

    def closed(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is over."""
        connection = self._all.pop(transport, None) if transport is not None else None
        if connection is None:
            return
        self._idle.pop(connection, None)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]
        OPEN.set(len(self._all))

    def begins(self, transport: asyncio.BaseTransport | None) -> None:
        """A request came whole and is answered now."""
        if transport is not None and (connection := self._all.get(transport)):
            connection.idle_since, connection.is_served = None, True
            self._idle.pop(connection, None)

    def ends(self, transport: asyncio.BaseTransport | None) -> None:
        """The answer is made; it may still have to be sent."""
        if transport is not None and (connection := self._all.get(transport)):
            connection.idle_since, connection.outlet = time.monotonic(), None
            self._idle[connection] = None

    def lives(self, transport: asyncio.BaseTransport | None, outlet: Outlet) -> None:
        """The request is one for live data: what waits in its outlet counts too."""
        if transport is not None and (connection := self._all.get(transport)):
            connection.outlet = outlet

    def paused(self, transport: asyncio.BaseTransport | None, now: float | None) -> None:
        """More waits for a client than should since `now`; None: no longer."""
        if transport is not None and (connection := self._all.get(transport)):
            connection.paused_since = now

    async def watch(self) -> None:
        """End what must be ended, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            self.look_over(time.monotonic())

    def look_over(self, now: float) -> None:
        """One round of `watch`. O(n log n) where too much waits, else O(n)."""
        for connection in list(self._all.values()):
            if why := self._overdue(connection, now):
                self._end(connection, why)
        unsent = {connection: waits for connection in self._all.values() if (waits := connection.unsent)}
        left = sum(unsent.values())
        UNSENT.set(left)
        if left <= self._settings.unsent_bytes:
            return
        for connection in sorted(unsent, key=unsent.__getitem__, reverse=True):
            self._end(connection, "memory")
            left -= unsent[connection]
            if left <= self._settings.unsent_bytes:
                return

    def _overdue(self, connection: Connection, now: float) -> str:
        """Why a connection has to be ended; empty where it need not."""
        settings = self._settings
        connection.read_some(now)
        if connection.transport.is_closing():
            if connection.closing_since is None:
                connection.closing_since = now
            return "unread" if now - connection.closing_since >= settings.unread_s else ""
        if connection.paused_since is not None and now - connection.paused_since >= settings.unread_s:
            return "unread"
        if connection.idle_since is None:
            return ""
        idle_s = now - connection.idle_since
        if not connection.is_served:
            return "no request" if idle_s >= settings.request_s else ""
        if idle_s < settings.keepalive_s:
            return ""
        return "unread" if connection.transport.get_write_buffer_size() else "idle"

    def _end(self, connection: Connection, why: str) -> None:
        ENDED.labels(why).inc()
        log.debug("connection_ended", address=connection.address, why=why, unsent=connection.unsent)
        self.closed(connection.transport)
        connection.transport.abort()  # close() would wait until the other end has read


class _Guarded(asyncio.Protocol):
    """aiohttp's protocol, with `Connections` told of what happens to it."""

    __slots__ = ("_connections", "_inner", "_transport")

    def __init__(self, inner: Any, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)
        self._connections.opened(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.closed(self._transport)
        self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return cast("bool | None", self._inner.eof_received())

    def pause_writing(self) -> None:
        self._connections.paused(self._transport, time.monotonic())
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._connections.paused(self._transport, None)
        self._inner.resume_writing()


class GuardedSite(web.BaseSite):
    """Listens for a runner as `web.TCPSite` does, on one host and port, with its connections guarded."""

    def __init__(self, runner: web.BaseRunner, host: str, port: int, connections: Connections) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._connections = connections

    @property
    def name(self) -> str:
        """As it is written in logs."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises: OSError."""
        await super().start()
        make = cast("Callable[[], asyncio.Protocol] | None", self._runner.server)
        assert make is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Guarded(make(), self._connections), self._host, self._port, backlog=1024
        )


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own; a proxy on it has one address for all its clients."""
    return not address or is_loopback_host(address)  # a unix socket has none
