"""A running exchange on a free port, and clients that go away with the test."""

from contextlib import AsyncExitStack
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
import websockets
from sim_readers import Client
from small_exchange import SMALL

from workers.sim import SimSettings, SimulatedExchange


class World:
    """One exchange and everything that talks to it."""

    def __init__(
        self, exchange: SimulatedExchange, http: aiohttp.ClientSession, stack: AsyncExitStack
    ) -> None:
        self.exchange = exchange
        self.http = http
        self._stack = stack

    async def connect(self, path: str, **options) -> Client:
        """Open a websocket; the path may have non-ASCII characters."""
        url = self.exchange.websocket_url + quote(path, safe="/?=@!&")
        client = Client(await websockets.connect(url, **options))
        self._stack.push_async_callback(client.stop)
        return client

    async def get(self, path: str, **query) -> tuple[int, dict, object]:
        """Status, headers and decoded body of a GET."""
        parameters = {name: str(value) for name, value in query.items()}
        async with self.http.get(self.exchange.url + path, params=parameters) as reply:
            body = await reply.read()
            decoded = msgspec.json.decode(body) if "json" in reply.content_type else body.decode()
            return reply.status, dict(reply.headers), decoded

    async def post(self, path: str, body: dict | None = None) -> tuple[int, object]:
        """Status and decoded body of a POST."""
        async with self.http.post(self.exchange.url + path, json=body) as reply:
            return reply.status, await reply.json()


@pytest.fixture
async def world():
    """A function that starts an exchange with changed settings."""
    async with AsyncExitStack() as stack:

        async def start(**changed) -> World:
            settings = SimSettings(**{**SMALL, **changed})
            exchange = await stack.enter_async_context(SimulatedExchange(settings))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            return World(exchange, http, stack)

        yield start
