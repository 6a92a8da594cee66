"""Readers written the naive way, against which the simulated exchange is checked."""

import asyncio
import contextlib
import json
from decimal import Decimal

import websockets

from workers.sim.engine.exchange import Exchange
from workers.sim.engine.topics import Event


class Recorder:
    """Remembers the events of the topics it is attached to."""

    def __init__(self, exchange: Exchange, market: str, *names: str) -> None:
        self.events: dict[str, list[dict]] = {name: [] for name in names}
        for name in names:
            for stream_class in ("public", "market"):
                topic = exchange.topics.find(market, frozenset({stream_class}), name)
                if topic is not None:
                    topic.subscribers[self] = None

    def deliver(self, event: Event) -> None:
        if not event.lost:
            self.events[event.stream].append(json.loads(event.payload))


class NaiveBook:
    """A book by price as a Decimal, from a snapshot and diffs."""

    def __init__(self, snapshot: dict) -> None:
        self.bids = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["bids"]}
        self.asks = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["asks"]}
        self.last_id = snapshot["lastUpdateId"]

    def apply(self, event: dict) -> None:
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in changes:
                if Decimal(quantity) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = Decimal(quantity)
        self.last_id = event["u"]

    def same(self, truth: dict) -> bool:
        other = NaiveBook(truth)
        return (self.bids, self.asks) == (other.bids, other.asks)


def truth_book(exchange: Exchange, market: str, symbol: str, update_id: int) -> dict:
    """The ground truth straight from the model, in the shape of a snapshot."""
    feed = exchange.listed(market)[symbol]
    change_id, levels = feed.market.changes.book_at(update_id)
    price, quantity = feed.wire.price, feed.wire.quantity
    return {
        "lastUpdateId": change_id,
        "bids": [[price(key), quantity(steps)] for key, steps in levels.items() if key > 0],
        "asks": [[price(-key), quantity(steps)] for key, steps in levels.items() if key < 0],
    }


class Client:
    """A websocket client that keeps every frame it receives."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict] = []
        self._arrived = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                self.frames.append(json.loads(text))
                self._arrived.set()
        self._arrived.set()

    async def send(self, request: object) -> None:
        await self.socket.send(request if isinstance(request, str) else json.dumps(request))

    async def until(self, condition, timeout_s: float = 60.0):
        """The first frame for which the condition holds, waiting for it."""
        seen = 0
        async with asyncio.timeout(timeout_s):
            while True:
                while seen < len(self.frames):
                    frame = self.frames[seen]
                    seen += 1
                    if condition(frame):
                        return frame
                if self._reader.done():
                    raise AssertionError(f"closed while waiting; last frames {self.frames[-3:]}")
                self._arrived.clear()
                await self._arrived.wait()

    async def ask(self, request: dict) -> dict:
        """Send a control request and wait for the reply with its id."""
        await self.send(request)
        return await self.until(lambda frame: "e" not in frame and frame.get("id") == request["id"])

    async def closed(self, timeout_s: float = 60.0) -> tuple[int, str]:
        """Wait for the end and give the close code and reason."""
        await asyncio.wait_for(self._reader, timeout_s)
        return self.socket.close_code, self.socket.close_reason

    async def stop(self) -> None:
        await self.socket.close()
        await self._reader
