"""The REST side of a replay: recorded snapshots, each given out once the feed has passed its place."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from aiohttp import web

from workers.recordings.records import Market
from workers.venues.interface import Venue

NOT_RECORDED: Final = 404
ENDED: Final = 503


class _Shelf:
    """The snapshots of one symbol that nobody has fetched yet, and the requests that wait for one."""

    def __init__(self) -> None:
        self.bodies: deque[bytes] = deque()
        self.changed = asyncio.Event()
        self.waiting = 0


class RecordedRest:
    """A server on loopback that answers requests for whole books from the recording, and refuses everything else.

    A request waits until the feed releases the next snapshot of its symbol; once the feed has ended it gets
    503. Requests for trades get 404, so that a hole is recorded rather than asked for again.
    """

    def __init__(self) -> None:
        self.url = ""
        self.served = 0
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._symbols: dict[tuple[str, str], tuple[Market, str]] = {}
        """By the path and the symbol of a request for a whole book: whose it is."""
        self._ended = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free loopback port; `url` names it."""
        app = web.Application()
        app.router.add_get("/{market}/{path:.+}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    def expect(self, market: Market, venue: Venue, symbols: Iterable[str]) -> None:
        """Know the requests of a venue for the whole books of symbols, which go to `<url>/<market>`."""
        for symbol in symbols:
            request = venue.snapshot_request(symbol)
            if request is not None:
                split = urlsplit(request.url)
                named = parse_qs(split.query).get("symbol", [""])[0]
                self._symbols[unquote(split.path), named] = market, symbol

    def _shelf(self, market: str, symbol: str) -> _Shelf:
        return self._shelves.setdefault((market, symbol), _Shelf())

    def release(self, market: Market, symbol: str, body: bytes) -> None:
        """The feed has come to this snapshot."""
        shelf = self._shelf(market, symbol)
        shelf.bodies.append(body)
        shelf.changed.set()

    def asked_in_vain(self, market: Market, symbol: str) -> bool:
        """Whether a request waits though every released snapshot was fetched: all of them have been judged."""
        shelf = self._shelf(market, symbol)
        return not shelf.bodies and shelf.waiting > 0

    def end(self) -> None:
        """Nothing will be released any more: whoever waits is told so."""
        self._ended = True
        for shelf in self._shelves.values():
            shelf.changed.set()

    async def _answer(self, request: web.Request) -> web.Response:
        whose = self._symbols.get((request.path, request.query.get("symbol", "")))
        if whose is None:
            return _error(NOT_RECORDED, "a recording holds depth snapshots and nothing else of REST")
        market, symbol = whose
        shelf = self._shelf(market, symbol)
        shelf.waiting += 1
        try:
            while not shelf.bodies:
                if self._ended:
                    return _error(ENDED, f"the recording holds no further snapshot of {symbol}")
                shelf.changed.clear()
                await shelf.changed.wait()
            self.served += 1
            return web.Response(body=shelf.bodies.popleft(), content_type="application/json")
        finally:
            shelf.waiting -= 1

    async def close(self) -> None:
        """Stop listening."""
        self.end()
        if self._runner is not None:
            await self._runner.cleanup()


def _error(status: int, message: str) -> web.Response:
    body = msgspec.json.encode({"code": -1000, "msg": message})
    return web.Response(status=status, body=body, content_type="application/json")
