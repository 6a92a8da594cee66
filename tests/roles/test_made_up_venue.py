"""A venue that is added as one folder and one line of the registry, with real sockets: followed, broken, taken over."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import WSCloseCode, web
from made_up_venue import MadeUp
from socket_exchange import FollowingFleet, serving

import workers.venues
from workers.settings import exchanges
from workers.store.keys import Keys
from workers.venues import registry

LONGEST_S = 90.0
SETTINGS = '''
"""What can be set of the exchange that there is not."""
from typing import Literal
from workers.settings.schema import VenueSettings

class MadeUpSettings(VenueSettings, forbid_unknown_fields=True, kw_only=True):
    exchange: Literal["madeup"] = "madeup"
    market: Literal["spot"] = "spot"
    trades: Literal["trades", "none"] = "none"
'''
FLEET = """
[fleet]
lease_ms = 2500
heartbeat_ms = 500
[venues.madeup]
exchange = "madeup"
symbols = ["BTC", "ETH"]
websocket_url = "{url}"
request_spacing_ms = 5
[ingest]
writer_silent_ms = 700
backoff_first_s = 0.05
"""


class Exchange:
    """Its server: each book's best bid has a quantity that counts, so what is shown tells how far it has come."""

    def __init__(self) -> None:
        self.quantity = 1
        self.sockets: dict[web.WebSocketResponse, str] = {}
        self.books: dict[web.WebSocketResponse, set[str]] = {}
        self.refused = ""
        """The end of the name of the line that may not connect any more."""

    def book(self, symbol: str, *, whole: bool) -> str:
        told = {
            "k": "book",
            "s": symbol,
            "whole": whole,
            "b": [["10", str(self.quantity)]],
            "a": [["11", "1"]],
        }
        return json.dumps(told)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        agent = request.headers["User-Agent"]
        if self.refused and agent.endswith(self.refused):
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[socket], self.books[socket] = agent, set()
        try:
            async for message in socket:
                verb, _, name = message.data.partition(" ")
                symbol = name.partition(".")[2]
                if verb == "sub":
                    await socket.send_str(json.dumps({"k": "ok", "n": name}))
                    await socket.send_str(self.book(symbol, whole=True))
                    self.books[socket].add(symbol)
                else:
                    self.books[socket].discard(symbol)
        finally:
            del self.sockets[socket], self.books[socket]
        return socket

    async def tell(self, text: str = "", line: str = "") -> None:
        """The next change of all books, or a text, to everybody or to one line."""
        self.quantity += not text
        for socket, agent in list(self.sockets.items()):
            if agent.endswith(line):
                for symbol in sorted(self.books[socket]):
                    with suppress(ConnectionError):
                        await socket.send_str(
                            text.replace("SYMBOL", symbol) or self.book(symbol, whole=False)
                        )

    async def market(self) -> None:
        while True:
            await self.tell()
            await asyncio.sleep(0.02)


class MadeUpVenue(MadeUp):
    """The venue at the server's address."""

    def __init__(self, name: str, settings: object) -> None:
        super().__init__(name=name, url=settings.websocket_url)  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One folder, and one line of the registry."""
    (tmp_path / "madeup").mkdir()
    (tmp_path / "madeup" / "__init__.py").write_text("")
    (tmp_path / "madeup" / "settings.py").write_text(SETTINGS)
    monkeypatch.setattr(workers.venues, "__path__", [*workers.venues.__path__, str(tmp_path)])
    monkeypatch.setitem(registry._VENUES, "madeup", MadeUpVenue)  # type: ignore[arg-type]  # a dict, typed as a mapping
    exchanges.exchanges.cache_clear()
    yield
    exchanges.exchanges.cache_clear()
    exchanges.settings_of.cache_clear()
    for name in [name for name in sys.modules if name.startswith("workers.venues.madeup")]:
        del sys.modules[name]


@pytest.fixture
async def exchange() -> AsyncIterator[tuple[Exchange, str]]:
    exchange = Exchange()
    async with serving(exchange, "/socket") as url:
        yield exchange, f"{url}/socket"


async def test_a_folder_and_a_line_of_the_registry_make_a_venue(
    folder: None, exchange: tuple[Exchange, str], spare_server: str
) -> None:
    server, url = exchange
    fleet = FollowingFleet(FLEET.format(url=url), spare_server)
    for role, name in (("ingest-a", "a"), ("ingest-b", "b"), ("books", "books-1")):
        fleet.start(role, name)

    async def follows() -> None:
        """Both books are shown, and come to what the market has not told anybody yet."""
        now = server.quantity

        async def come() -> bool:
            return min([await fleet.shown(symbol) for symbol in ("BTC", "ETH")]) > now

        await fleet.until(come, LONGEST_S)

    async def syncs(symbol: str) -> int:
        return int(await fleet.client.hget(Keys().book_status(symbol), "sync_count") or 0)

    try:
        await follows()
        before = await syncs("BTC")
        await server.tell('{"k":"gap"}', "line-a")  # a hole in the connection of whoever writes
        await server.tell('{"k":"gap"}', "line-b")
        await follows()

        async def began_anew() -> bool:
            return await syncs("BTC") > before

        await fleet.until(began_anew, LONGEST_S)
        await server.tell('{"k":"anew","n":"book.SYMBOL"}')  # a hole in each stream
        await follows()
        server.refused = "line-a"
        for socket, agent in list(server.sockets.items()):
            if agent.endswith("line-a"):
                await socket.close(code=WSCloseCode.GOING_AWAY)
        await follows()  # the other line has taken over
        [(taken, _)] = await fleet.client.xrevrange(Keys().raw("BTC", "depth"), count=1)
        await fleet.crash("books-1")
        fleet.start("books", "books-2")
        await follows()
        entries = await fleet.client.xrange(Keys().raw("BTC", "depth"), min=taken)
        assert len(entries) > 1
        assert {fields[b"line"] for _, fields in entries} == {b"b"}
    finally:
        for name in list(fleet.tasks):
            await fleet.stop(name)
        await fleet.client.aclose()
