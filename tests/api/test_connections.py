"""Clients that send half a request, read nothing or come in crowds: they are let go, and others are answered."""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.http_parser import DeflateBuffer
from test_server import settings

from workers.api.live.outlet import Outlet, Source
from workers.api.live.websocket import LiveSocket
from workers.api.security.connections import Connections, is_loopback, raise_descriptor_limit
from workers.api.server import main
from workers.runtime.process import Process
from workers.settings.api import ApiSettings

SOME_S = 60
"""More than enough on a machine with much else to do."""


class FakeTransport:
    """A transport whose buffer the test sets."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.unsent = 0
        self.written = b""
        self.closing = self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return (self.address, 5) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


def crowd(connections: Connections, *addresses: str) -> list[Any]:
    made: list[Any] = [FakeTransport(address) for address in addresses]
    for transport in made:
        connections.opened(transport)
    return made


def test_whoever_has_been_idle_longest_makes_room() -> None:
    connections = Connections(ApiSettings(), most=3)
    first, second, third, fourth = crowd(connections, *["127.0.0.1"] * 4)
    assert [first.aborted, second.aborted, third.aborted, fourth.closing] == [True, False, False, False]
    connections.begins(second)
    (fifth,) = crowd(connections, "127.0.0.1")
    assert (second.aborted, third.aborted, fifth.closing) == (False, True, False)
    assert len(connections) == 3


def test_where_all_are_busy_a_newcomer_is_told_so() -> None:
    connections = Connections(ApiSettings(), most=2)
    for transport in crowd(connections, "127.0.0.1", "10.0.0.1"):
        connections.begins(transport)
    (late,) = crowd(connections, "10.0.0.2")
    assert late.written.startswith(b"HTTP/1.1 503 ")
    head, _, body = late.written.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert (late.closing, len(connections)) == (True, 2)


def test_of_an_address_there_are_only_so_many_but_of_this_machine_any_number() -> None:
    connections = Connections(ApiSettings(most_connections_of_address=2), most=100)
    first, second, third = crowd(connections, *["10.0.0.1"] * 3)
    assert [first.aborted, second.aborted, third.aborted] == [True, False, False]
    connections.begins(second)
    connections.begins(third)
    (refused,) = crowd(connections, "10.0.0.1")
    assert refused.written.startswith(b"HTTP/1.1 503 ")
    assert not any(one.closing for one in crowd(connections, "10.0.0.2", *["127.0.0.1"] * 10, *["::1"] * 10))


def test_the_crowd_makes_room_for_others_first() -> None:
    connections = Connections(ApiSettings(), most=4)
    (alone,) = crowd(connections, "10.0.0.9")
    many = crowd(connections, *["10.0.0.1"] * 3)
    crowd(connections, "10.0.0.2")
    assert (alone.aborted, many[0].aborted) == (False, True)


def test_times_that_are_over() -> None:
    chosen = ApiSettings(request_s=10, keepalive_s=75, unread_s=20)
    connections, now = Connections(chosen, most=10), time.monotonic()
    silent, idle, busy, unread, closing = crowd(connections, *["127.0.0.1"] * 5)
    for transport in (idle, busy, unread):
        connections.begins(transport)
    connections.ends(idle)
    connections.paused(unread, now)
    closing.closing = True
    connections.look_over(now + 9)
    assert len(connections) == 5
    connections.look_over(now + 11)
    assert (silent.aborted, len(connections)) == (True, 4)
    connections.look_over(now + 21)
    assert (unread.aborted, closing.aborted) == (True, False)
    connections.look_over(now + 30)
    assert closing.aborted
    connections.look_over(now + 1000)
    assert (idle.aborted, busy.aborted) == (True, False)


def test_a_client_that_reads_again_stays() -> None:
    connections, now = Connections(ApiSettings(unread_s=20), most=10), time.monotonic()
    (transport,) = crowd(connections, "127.0.0.1")
    connections.begins(transport)
    connections.paused(transport, now)
    connections.paused(transport, None)
    connections.look_over(now + 100)
    assert not transport.aborted


def test_a_client_that_reads_slowly_is_no_client_that_reads_nothing() -> None:
    connections, now = Connections(ApiSettings(unread_s=20, keepalive_s=30), most=10), time.monotonic()
    paused, closing, answered = crowd(connections, *["127.0.0.1"] * 3)
    for transport in (paused, closing, answered):
        connections.begins(transport)
    connections.paused(paused, now)
    connections.ends(answered)
    closing.closing = True
    for second in range(100):
        for transport in (paused, closing, answered):
            transport.unsent = 1000 - second // 10
        connections.look_over(now + second)
        assert [paused.aborted, closing.aborted, answered.aborted] == [False] * 3
    connections.look_over(now + 115)
    assert [paused.aborted, closing.aborted, answered.aborted] == [True, True, False]
    connections.look_over(now + 125)
    assert answered.aborted


def test_what_waits_for_all_is_bounded_and_the_greediest_goes_first() -> None:
    connections, now = Connections(ApiSettings(unsent_bytes=1000), most=10), time.monotonic()
    small, large, live, reading = crowd(connections, *["127.0.0.1"] * 4)
    for transport in (small, large, live, reading):
        connections.begins(transport)
    small.unsent, large.unsent = 300, 600
    for transport in (live, reading):
        outlet = Outlet(10)
        outlet.put(Source("trades", "usdm", "S"), bytes(500))
        connections.lives(transport, outlet)
    connections.look_over(now)
    assert not any(one.aborted for one in (small, large, live, reading)), "what is being read is not counted"
    connections.paused(live, now)
    connections.look_over(now)
    assert [one.aborted for one in (small, large, live, reading)] == [False, True, False, False]


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("name", False),
    ],
)
def test_which_addresses_are_this_machine(address: str, is_own: bool) -> None:
    assert is_loopback(address) is is_own


def test_the_limit_of_descriptors_is_raised_to_what_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
async def server(real_server: str) -> AsyncIterator[tuple[str, int]]:
    chosen = settings(
        port=0, most_connections=40, request_s=1.5, unread_s=2, heartbeat_s=2, unsent_bytes=8_000_000
    )
    process = Process("api", chosen, 0, real_server)
    running = asyncio.create_task(main(process))
    async with asyncio.timeout(SOME_S):
        while "address" not in process.details:
            await asyncio.sleep(0.01)
    host, _, port = str(process.details["address"]).removeprefix("http://").partition(":")
    yield host, int(port)
    process.stop.set()
    async with asyncio.timeout(SOME_S):
        await running
    await process.client.aclose()


async def until_closed(sockets: list[socket.socket]) -> None:
    """Wait until the server has closed them all, whatever it sent before."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SOME_S):
        for one in sockets:
            try:
                while await loop.sock_recv(one, 65536):
                    pass
            except ConnectionError:
                pass
            one.close()


async def connected(address: tuple[str, int], sent: bytes, *, receive_buffer: int = 0) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, address)
    await loop.sock_sendall(made, sent)
    return made


async def test_half_sent_requests_are_let_go_and_do_not_keep_others_away(server: tuple[str, int]) -> None:
    half = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
    sockets = [await connected(server, half) for _ in range(100)]  # of 40
    async with ClientSession(f"http://{server[0]}:{server[1]}") as session, asyncio.timeout(SOME_S):
        for _ in range(3):
            assert (await session.get("/openapi.json")).status == 200
    await until_closed(sockets)


async def test_who_has_asked_stays_beyond_the_time_for_a_first_request(server: tuple[str, int]) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    loop = asyncio.get_running_loop()
    async with ClientSession(f"http://{server[0]}:{server[1]}") as session, session.ws_connect("/ws") as ws:
        kept = await connected(server, request)
        async with asyncio.timeout(SOME_S):
            assert (await loop.sock_recv(kept, 65536)).startswith(b"HTTP/1.1 200 ")
        await until_closed([await connected(server, b"GET")])  # which came later
        await ws.send_json({"op": "ping", "id": 7})
        assert await ws.receive_json(timeout=SOME_S) == {"type": "pong", "id": 7}
        await loop.sock_sendall(kept, request)
        async with asyncio.timeout(SOME_S):
            assert (await loop.sock_recv(kept, 65536)).startswith(b"HTTP/1.1 200 ")
        kept.close()


async def open_connections(address: tuple[str, int]) -> float:
    async with ClientSession(f"http://{address[0]}:{address[1]}") as session:
        lines = (await (await session.get("/metrics")).text()).splitlines()
    return float(next(line for line in lines if line.startswith("fleet_api_connections ")).split()[1])


async def test_a_client_that_reads_no_answer_is_let_go(server: tuple[str, int]) -> None:
    """Its descriptor too: the system keeps a closed socket for as long as something waits to be sent."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    unread = [await connected(server, request * 200, receive_buffer=4096) for _ in range(5)]
    async with asyncio.timeout(SOME_S):
        while await open_connections(server) > 1:
            await asyncio.sleep(0.1)
    for one in unread:
        one.close()


async def test_packed_bodies_are_not_unpacked(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty kilobytes are sixty megabytes then, and everybody waits."""
    unpacked = list[bytes]()
    monkeypatch.setattr(DeflateBuffer, "feed_data", lambda _, chunk, *__: unpacked.append(chunk))
    packed = {"data": gzip.compress(b'{"price":"1"}'), "headers": {"Content-Encoding": "gzip"}}
    async with ClientSession(f"http://{server[0]}:{server[1]}") as session:
        async with session.get("/livez", **packed) as alive:
            assert alive.status == 200
        async with session.post("/quantity", **packed) as refused:
            assert (refused.status, (await refused.json())["where"]) == (422, "body")
    assert unpacked == []


async def test_others_have_their_turn_between_two_requests_of_a_socket(
    server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = list[bool]()
    had_turn, act = asyncio.Event(), LiveSocket._act

    async def watched(*arguments: Any) -> None:
        alone.append(not had_turn.is_set())
        had_turn.clear()
        asyncio.get_running_loop().call_soon(had_turn.set)
        await act(*arguments)

    monkeypatch.setattr(LiveSocket, "_act", watched)
    async with ClientSession(f"http://{server[0]}:{server[1]}") as session, session.ws_connect("/ws") as ws:
        for _ in range(50):  # all of them there before the first is read
            await ws.send_json({"op": "subscribe", "channel": "book", "symbols": ["NOPE"]})
        for _ in range(50):
            assert (await ws.receive_json(timeout=SOME_S))["status"] == 404
    assert alone == [True] + [False] * 49
