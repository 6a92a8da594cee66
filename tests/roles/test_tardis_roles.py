"""An exchange followed through a tardis-machine, over real sockets: books, trades, and what it says is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import WSCloseCode, web
from socket_exchange import FollowingFleet, serving

from workers.store.keys import Keys

LONGEST_S = 90.0
SYMBOLS = ("BTC-PERPETUAL", "ETH-PERPETUAL")
FLEET = """
[fleet]
lease_ms = 2500
heartbeat_ms = 500
[venues.deribit]
exchange = "tardis"
market = "deribit"
symbols = ["BTC-PERPETUAL", "ETH-PERPETUAL"]
websocket_url = "{url}"
streams_per_socket = 2
[ingest]
backoff_first_s = 0.05
"""


class Machine:
    """A tardis-machine: the quantity of each best bid counts, so what is shown tells how far it has come."""

    def __init__(self) -> None:
        self.quantity = 1
        self.sockets: dict[web.WebSocketResponse, list[str]] = {}
        self.asked: list[dict[str, Any]] = []

    def said(self, kind: str, symbol: str, **values: Any) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        names = {"type": kind, "symbol": symbol, "exchange": "deribit"}
        return json.dumps(names | values | {"timestamp": now, "localTimestamp": now})

    def book(self, symbol: str, *, whole: bool) -> str:
        bids, asks = [{"price": 10, "amount": self.quantity}], [{"price": 11, "amount": 1}]
        return self.said("book_change", symbol, isSnapshot=whole, bids=bids, asks=asks)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        options = json.loads(request.query["options"])
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.asked.append(options)
        for symbol in options["symbols"]:
            await socket.send_str(self.book(symbol, whole=True))
        self.sockets[socket] = options["symbols"]
        try:
            async for _ in socket:
                pass
        finally:
            del self.sockets[socket]
        return socket

    async def tell(self, text_of: Any) -> None:
        """Something of each symbol, to everybody."""
        for socket, symbols in list(self.sockets.items()):
            for symbol in symbols:
                with suppress(ConnectionError):
                    await socket.send_str(text_of(symbol))

    async def market(self) -> None:
        while True:
            self.quantity += 1
            name = f"t{self.quantity}"
            await self.tell(lambda symbol: self.book(symbol, whole=False))
            await self.tell(
                lambda symbol, name=name: self.said(
                    "trade", symbol, id=f"{symbol}-{name}", price=10, amount=1, side="sell"
                )
            )
            await asyncio.sleep(0.02)


@pytest.fixture
async def machine() -> AsyncIterator[tuple[Machine, str]]:
    machine = Machine()
    async with serving(machine, "/ws-stream-normalized") as url:
        yield machine, url


async def test_books_and_trades_come_and_what_is_missing_is_told(
    machine: tuple[Machine, str], spare_server: str
) -> None:
    server, url = machine
    fleet = FollowingFleet(FLEET.format(url=url), spare_server)
    roles = (("ingest-a", "a"), ("ingest-b", "b"), ("books", "books-1"), ("trades", "trades-1"))
    for role, name in roles:
        fleet.start(role, name)
    client, keys = fleet.client, Keys()

    async def follows() -> None:
        """Both books come to what the market has not told anybody yet."""
        now = server.quantity

        async def come() -> bool:
            return min([await fleet.shown(symbol) for symbol in SYMBOLS]) > now

        await fleet.until(come, LONGEST_S)

    async def reasons(channel: bytes) -> list[bytes]:
        gaps = await client.xrange(keys.gaps(SYMBOLS[0]))
        return [fields[b"reason"] for _, fields in gaps if fields[b"channel"] == channel]

    try:
        await follows()
        first = server.asked[0]
        assert (first["exchange"], first["dataTypes"]) == ("deribit", ["book_change", "trade"])
        assert {tuple(asked["symbols"]) for asked in server.asked} == {(symbol,) for symbol in SYMBOLS}

        async def traded() -> bool:
            return bool(await client.hget(keys.trades_state(SYMBOLS[0]), "applied_count"))

        await fleet.until(traded, LONGEST_S)
        sockets = len(server.asked)
        for kind in ("disconnect", "error"):
            word = server.said(kind, "", details="away").replace('"symbol": "", ', "")
            await server.tell(lambda _, word=word: word)

            async def is_told(kind: str = kind) -> bool:
                return kind.encode() in await reasons(b"depth")

            await fleet.until(is_told, LONGEST_S)
            await server.tell(lambda symbol: server.book(symbol, whole=True))
            await follows()

        async def is_told_of_trades() -> bool:
            return any(reason.startswith(b"connection") for reason in await reasons(b"aggTrade"))

        await fleet.until(is_told_of_trades, LONGEST_S)
        assert len(server.asked) == sockets  # the books went on over the same ones
        for socket in list(server.sockets):
            await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"50 errors in a row")
        await follows()
        assert len(server.asked) > sockets
    finally:
        for name in list(fleet.tasks):
            await fleet.stop(name)
        await client.aclose()
