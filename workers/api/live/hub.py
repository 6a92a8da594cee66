"""Who gets what: the subscriptions of all live clients, fed by the one reader."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
import structlog
from msgspec import Meta
from prometheus_client import Gauge
from redis.exceptions import RedisError

from workers.api.books.live import LiveBooks
from workers.api.books.reader import Reader
from workers.api.http.markets import Market, Markets
from workers.api.http.state_types import SymbolState
from workers.api.live.families import Family
from workers.api.live.messages import Channel, Mode
from workers.api.live.outlet import Outlet
from workers.api.live.topics import BookTopic, StatusTopic, Topic, TradesTopic, WindowTopic
from workers.api.live.trade_holes import POLL_S, TradeHoles
from workers.errors import BadInput, TryLater
from workers.model.trades.windows import Interval
from workers.runtime.tasks import end, seen
from workers.settings.api import ApiSettings
from workers.store.keys import DEPTH, TRADES

log = structlog.get_logger()

CLIENTS = Gauge("fleet_api_clients", "Live clients connected", ["kind"])
SUBSCRIPTIONS = Gauge("fleet_api_subscriptions", "Subscriptions of live clients", ["channel"])

STATUS_S = 1.0
"""How often the states of subscribed markets are read."""

Name = tuple[str, Market, str]
"""Channel, market, variant: what makes two subscriptions the same topic."""
States = Callable[[Sequence[Market]], Awaitable[list[SymbolState]]]


class Wanted(msgspec.Struct, kw_only=True):
    """What a client wants to subscribe to, or no longer."""

    channel: Channel
    symbols: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    depth: Annotated[int, Meta(ge=1, le=1000)] = 20
    mode: Mode = "snapshots"
    interval: Interval | Literal[""] = ""


class Subscribed(NamedTuple):
    """What a client has subscribed to."""

    symbols: list[str]
    """The markets by their full names."""
    after: dict[str, int]
    """Of the channel `trades`, by market: every trade after this id is sent; -1 where there was none yet."""


class Client:
    """One connection: its outlet and its topics."""

    def __init__(self, kind: str, limit: int) -> None:
        self.kind = kind
        self.outlet = Outlet(limit)
        self.topics: dict[tuple[str, Market, str], Name] = {}
        """What replaces what: by channel, market and (not for books) interval."""


class Hub:
    """Topics and their subscribers.

    Args:
        states: reads the state of markets, for the channel `status`.
        holes: fills the holes in what the channel `trades` sends.
        families: the channels whose topics are read together.
    """

    def __init__(
        self,
        settings: ApiSettings,
        markets: Markets,
        books: LiveBooks,
        reader: Reader,
        states: States,
        holes: TradeHoles,
        families: Mapping[Channel, Family],
    ) -> None:
        self._settings = settings
        self._markets = markets
        self._books = books
        self._reader = reader
        self._states = states
        self._holes = holes
        self._families = families
        self._topics: dict[Name, Topic] = {}
        self._clients: set[Client] = set()
        self._reading_states: asyncio.Task[None] | None = None
        reader.after_each_round(self._publish_books)
        self._hurry_windows = reader.every(settings.status_ms / 1000, self._poll_windows)
        self._hurry_states = reader.every(STATUS_S, self._poll_states)
        reader.every(POLL_S, self._poll_holes)

    @property
    def clients(self) -> frozenset[Client]:
        """Live clients connected now."""
        return frozenset(self._clients)

    def enter(self, kind: str) -> Client:
        """A new connection. Raises: TryLater, when there are too many."""
        if len(self._clients) >= self._settings.most_clients:
            raise TryLater("Too many live clients", f"this server takes {self._settings.most_clients}")
        client = Client(kind, self._settings.client_queue)
        self._clients.add(client)
        CLIENTS.labels(kind).inc()
        return client

    def leave(self, client: Client) -> None:
        """A connection is over."""
        self._clients.discard(client)
        CLIENTS.labels(client.kind).dec()
        for place in list(client.topics):
            self._drop(client, place)

    async def subscribe(self, client: Client, request: Wanted) -> Subscribed:
        """Subscribe to all symbols named or to none.

        What is appended to the streams of trades and bars after this returns is sent. O(symbols), one round trip.

        Raises:
            NotKnown: a symbol is not followed, its exchange does not list it, or nobody is to tell what is wanted.
            BadInput: more subscriptions than a client may have.
            TryLater: Redis does not answer.
        """
        markets = list(dict.fromkeys(map(self._markets.named, request.symbols)))
        family = self._families.get(request.channel)
        if family is not None:
            for market in markets:
                family.refuse(market)
        places = {self._place(request, market) for market in markets}
        limit = self._settings.most_subscriptions
        if len(places | set(client.topics)) > limit:
            raise BadInput("Too many subscriptions", f"a client may have {limit}", "symbols")
        await self._refuse_unlisted(markets)
        ends = await self._ends(request, markets)
        after = {}
        for market in markets:
            topic = self._add(client, request, market, ends)
            if isinstance(topic, TradesTopic):
                after[str(market)] = topic.last_id
        return Subscribed([str(market) for market in markets], after)

    async def _refuse_unlisted(self, markets: Sequence[Market]) -> None:
        """Raise NotKnown where nothing would ever come: no stream, and the exchange has no such symbol."""
        doubtful = [market for market in markets if market.symbol in market.context.symbols.unlisted]
        keys = [market.context.keys.raw(market.symbol, DEPTH) for market in doubtful]
        for market, end_of_stream in zip(doubtful, await self._ends_of(keys), strict=True):
            if end_of_stream == b"0-0":
                market.refuse_unlisted("symbols")

    def _stream(self, request: Wanted, market: Market) -> str:
        """The key of the stream a subscription follows by its end; empty where there is none."""
        family = self._families.get(request.channel)
        if family is not None:
            return family.stream(market)
        if request.channel == "trades":
            return market.context.keys.raw(market.symbol, TRADES)
        return (
            market.context.keys.bars(market.symbol, _interval(request)) if request.channel == "bars" else ""
        )

    async def _ends(self, request: Wanted, markets: Sequence[Market]) -> dict[str, bytes]:
        """Where the streams to be followed end now. Raises: TryLater."""
        keys = [key for market in markets if (key := self._stream(request, market))]
        return dict(zip(keys, await self._ends_of(keys), strict=True))

    async def _ends_of(self, keys: Sequence[str]) -> list[bytes]:
        """The ids of the last entries of streams. Raises: TryLater."""
        if not keys:
            return []
        try:
            return await self._reader.watch.ends(keys)
        except (RedisError, OSError) as error:
            raise TryLater("Redis does not answer", "subscribe again in a moment") from error

    def unsubscribe(self, client: Client, request: Wanted) -> list[str]:
        """End the subscriptions of a channel to symbols, whatever their variant. Raises: NotKnown."""
        markets = list(dict.fromkeys(map(self._markets.named, request.symbols)))
        for place in list(client.topics):
            if place[0] == request.channel and place[1] in markets and request.interval in ("", place[2]):
                self._drop(client, place)
        return [str(market) for market in markets]

    @staticmethod
    def _place(request: Wanted, market: Market) -> tuple[str, Market, str]:
        return request.channel, market, _interval(request)

    def _add(self, client: Client, request: Wanted, market: Market, ends: Mapping[str, bytes]) -> Topic:
        place = self._place(request, market)
        variant = f"{request.depth} {request.mode}" if request.channel == "book" else place[2]
        name = (request.channel, market, variant)
        if client.topics.get(place) == name:
            return self._topics[name]
        if place in client.topics:
            self._drop(client, place)
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = self._open(request, market, ends)
        client.topics[place] = name
        SUBSCRIPTIONS.labels(request.channel).inc()
        topic.join(client.outlet)
        return topic

    def _drop(self, client: Client, place: tuple[str, Market, str]) -> None:
        name = client.topics.pop(place)
        topic = self._topics[name]
        topic.leave(client.outlet)
        SUBSCRIPTIONS.labels(topic.channel).dec()
        if not topic.subscribers:
            del self._topics[name]
            self._close(topic)

    def _open(self, request: Wanted, market: Market, ends: Mapping[str, bytes]) -> Topic:
        """Begin to read what a topic needs, its stream from the end it had."""
        settings, stream = self._settings, self._stream(request, market)
        family = self._families.get(request.channel)
        if family is not None:
            return family.open(market, ends[stream])
        if request.channel == "book":
            self._books.replica(market).watchers += 1
            diffs = request.mode == "diffs"
            return BookTopic(market, self._books, request.depth, diffs=diffs, publish_ms=settings.publish_ms)
        if request.channel == "trades":
            trades = TradesTopic(market, ends[stream])
            self._reader.follow(stream, trades.take, ends[stream])
            return trades
        if request.channel == "status":
            self._hurry_states()
            return StatusTopic(market)
        window = WindowTopic(request.channel, market, _interval(request))
        self._hurry_windows()
        if request.channel == "bars":
            self._reader.follow(stream, window.take, ends[stream])
        return window

    def _close(self, topic: Topic) -> None:
        """Stop reading what only this topic needed."""
        keys, symbol = topic.market.context.keys, topic.market.symbol
        family = self._families.get(topic.channel)
        if family is not None:
            family.close(topic)
        elif isinstance(topic, BookTopic):
            self._books.replica(topic.market).watchers -= 1
        elif isinstance(topic, TradesTopic):
            self._reader.leave(keys.raw(symbol, TRADES))
        elif isinstance(topic, WindowTopic) and topic.channel == "bars":
            self._reader.leave(keys.bars(symbol, topic.interval))

    def _publish_books(self) -> None:
        now = time.monotonic()
        for topic in self._topics.values():
            if isinstance(topic, BookTopic):
                topic.publish(now)

    async def _poll_holes(self) -> None:
        await self._holes.poll([topic for topic in self._topics.values() if isinstance(topic, TradesTopic)])

    async def _poll_windows(self) -> None:
        topics = [topic for topic in self._topics.values() if isinstance(topic, WindowTopic)]
        wanted: dict[str, list[WindowTopic]] = defaultdict(list)
        for topic in topics:
            wanted[topic.market.context.keys.stats(topic.market.symbol, topic.interval)].append(topic)
        if wanted:
            found = await self._reader.watch.hashes(list(wanted))
            for sharing, fields in zip(wanted.values(), found, strict=True):
                for topic in sharing:
                    topic.changed(fields)

    async def _poll_states(self) -> None:
        """Begin a reading of states, beside the reader: it may take long, and books must not wait for it."""
        if self._reading_states is None or self._reading_states.done():
            self._reading_states = seen(asyncio.create_task(self._read_states(), name="api: states"))

    async def _read_states(self) -> None:
        topics = [topic for topic in self._topics.values() if isinstance(topic, StatusTopic)]
        if not topics:
            return
        try:
            states = await self._states([topic.market for topic in topics])
        except (RedisError, OSError) as error:
            log.warning("states_not_read", error=str(error))
            return
        for topic, state in zip(topics, states, strict=True):
            topic.read(state)

    async def close(self) -> None:
        """End what is under way."""
        await self._holes.close()
        if self._reading_states is not None:
            await end([self._reading_states])


def _interval(request: Wanted) -> str:
    """The interval of a window topic; empty for the other channels."""
    if request.channel not in ("bars", "stats"):
        return ""
    return request.interval or ("1m" if request.channel == "bars" else "100ms")
