"""Sockets of a simulated exchange without I/O: what a conversation and the topics give one client, as text."""

import json
from decimal import Decimal

from small_exchange import START_MS

from workers.sim.engine.exchange import Exchange
from workers.sim.engine.flavour import Close, Ping
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings


def exchange_of(flavour: str, **changed) -> Exchange:
    """A small exchange of a flavour, at START_MS."""
    settings = SimSettings(**{"flavour": flavour, "levels_per_side": 500, **changed})
    return Exchange(FLAVOURS[flavour](settings), settings, START_MS)


def run(exchange: Exchange, seconds: float, step_ms: float = 20) -> None:
    end = exchange.now_ms + seconds * 1000
    while exchange.now_ms < end:
        exchange.advance(min(end, exchange.now_ms + step_ms))


def texts_of(frames: bytes) -> list[str]:
    """The texts of unmasked websocket frames."""
    texts = []
    while frames:
        start = {126: 4, 127: 10}.get(frames[1], 2)
        length = int.from_bytes(frames[2:start], "big") if start > 2 else frames[1]
        texts.append(frames[start : start + length].decode())
        frames = frames[start + length :]
    return texts


class ModelSocket:
    """A client: every text it is sent, in order, and the end if there was one."""

    def __init__(self, exchange: Exchange, path: str) -> None:
        self.exchange = exchange
        self.remote = "192.0.2.1"
        self.root = next(root for root in exchange.flavour.roots if root.path == path)
        markets = (self.root.market,) if self.root.market else exchange.flavour.markets
        self.subscriptions = Subscriptions(
            self, exchange.topics, markets, self.root.classes, exchange.faults, self.meant
        )
        self.conversation = exchange.flavour.converse(self.root, self.subscriptions, None, 0.0)
        self.texts: list[str] = []
        self.end: Close | None = None
        self.now_s = 0.0
        self._take(self.conversation.opened(0.0, int(exchange.now_ms)))

    def meant(self, fault) -> bool:
        return fault.covers_connection(self.root.market, self.root.path, 1, "test")

    def deliver(self, event: Event) -> None:
        if event.lost:
            self.conversation.missed(event)
            return
        self.texts += texts_of(self.conversation.frame(event, False))

    def send(self, request: object) -> list[str]:
        """Send a frame; the texts that came of it at once."""
        before = len(self.texts)
        end = self.conversation.admit(self.now_s)
        if end is not None:
            self.end = end
            return []
        text = request if isinstance(request, str) else json.dumps(request)
        self._take(self.conversation.received(text, self.now_s, int(self.exchange.now_ms)))
        return self.texts[before:]

    def tick(self, now_s: float) -> list[str]:
        """Let time pass for the conversation; what it says."""
        before = len(self.texts)
        self.now_s = now_s
        self._take(self.conversation.tick(now_s, int(self.exchange.now_ms)))
        return self.texts[before:]

    def take(self) -> list[dict]:
        """The frames so far, decoded, and forget them."""
        frames = [json.loads(text) for text in self.texts]
        self.texts.clear()
        return frames

    def _take(self, outputs) -> None:
        for output in outputs:
            if isinstance(output, str):
                self.texts.append(output)
            elif isinstance(output, Event):
                self.deliver(output)
            elif isinstance(output, Close):
                self.end = output
            else:
                assert isinstance(output, Ping)


class SideBook:
    """A book the naive way: prices and quantities as decimals, and nothing is cut."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.orphans = 0

    def replace(self, bids, asks) -> None:
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids, asks) -> None:
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for level in changes:
                price, quantity = Decimal(level[0]), Decimal(level[1])
                if quantity:
                    side[price] = quantity
                elif side.pop(price, None) is None:
                    self.orphans += 1

    def levels(self) -> tuple[list, list]:
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())


def true_book(exchange: Exchange, market: str, symbol: str, update_id: int, stream: str, depth: int):
    """The best levels of the truth at an id of the exchange's."""
    feed = exchange.listed(market)[symbol]
    _, levels = feed.market.changes.book_at(feed.truth_id(update_id, stream))
    price, quantity = feed.spelling.price, feed.spelling.quantity
    bids = sorted((key for key in levels if key > 0), reverse=True)[:depth]
    asks = sorted((key for key in levels if key < 0), reverse=True)[:depth]
    return (
        [(Decimal(price(key)), Decimal(quantity(levels[key]))) for key in bids],
        [(Decimal(price(-key)), Decimal(quantity(levels[key]))) for key in asks],
    )
