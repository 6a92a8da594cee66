"""Small real proxies for the tests: HTTP with CONNECT, and SOCKS 5; and a name that only they can resolve."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

NAME = "exchange.test"
"""A host only the proxies know (names in `.test` are never resolved): it is this machine."""


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof() if writer.can_write_eof() else writer.close()


async def join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b""
) -> None:
    """Carry bytes to and fro until both sides are done."""
    upstream, downstream = await asyncio.open_connection("127.0.0.1", port)
    if first:
        downstream.write(first)
    try:
        await asyncio.gather(pump(reader, downstream), pump(upstream, writer))
    finally:
        downstream.close()
        writer.close()


class Proxy:
    """What went through a proxy, and who may use it."""

    def __init__(self, credentials: str = "") -> None:
        self.credentials = credentials
        self.targets: list[str] = []
        """`CONNECT host:port`, `GET http://…`, `SOCKS host:port`."""
        self.url = ""

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.targets.append(f"{method} {target}")
            asked = base64.b64encode(self.credentials.encode())
            if self.credentials and b"Proxy-Authorization: Basic " + asked not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await join(reader, writer, int(target.rpartition(":")[2]))
            else:
                parts = urlsplit(target)
                path = parts.path + (f"?{parts.query}" if parts.query else "")
                await join(reader, writer, parts.port or 80, head.replace(target.encode(), path.encode(), 1))

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS 5 (RFC 1928, RFC 1929), of which one command."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            if self.credentials:
                writer.write(b"\x05\x02")
                _, length = await reader.readexactly(2)
                user = await reader.readexactly(length)
                [length] = await reader.readexactly(1)
                password = await reader.readexactly(length)
                right = f"{user.decode()}:{password.decode()}" == self.credentials
                writer.write(b"\x01\x00" if right else b"\x01\x01")
                if not right:
                    writer.close()
                    return
            else:
                writer.write(b"\x05\x00")
            _, _, _, kind = await reader.readexactly(4)
            if kind == 3:
                [length] = await reader.readexactly(1)
                host = (await reader.readexactly(length)).decode()
            else:
                host = ".".join(str(part) for part in await reader.readexactly(4))
            port = int.from_bytes(await reader.readexactly(2), "big")
            self.targets.append(f"SOCKS {host}:{port}")
            writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
            await join(reader, writer, port)


@asynccontextmanager
async def proxy(scheme: str = "http", credentials: str = "") -> AsyncIterator[Proxy]:
    made = Proxy(credentials)
    serve = made.socks if scheme.startswith("socks") else made.http
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made.url = f"{scheme}://{credentials}{'@' * bool(credentials)}127.0.0.1:{port}"
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def terminator(port: int, certificate: str, key: str) -> AsyncIterator[int]:
    """TLS in front of a port; its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await join(reader, writer, port)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
