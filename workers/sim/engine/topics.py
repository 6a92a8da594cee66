"""Streams that can be subscribed to, and the frames an event on one of them becomes.

A `Topic` is one stream of one market and class. An event is spelled once; its frame is built at most once
for each way a connection may want it (plain or deflated, and Binance's raw or combined form).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from workers.sim.engine.frames import deflated_text_frame, text_frame

Spell = Callable[["Event"], str]
"""How an event is written for a client; its frame is kept under it."""


class Event:
    """One event on one stream, with its frames as they are first needed.

    lost: nobody gets it; sockets whose frames are numbered count it.
    """

    __slots__ = ("_frames", "lost", "payload", "stream")

    def __init__(self, stream: str, payload: str, *, lost: bool = False) -> None:
        self.stream = stream
        self.payload = payload
        self.lost = lost
        self._frames: dict[tuple[Spell | None, bool], bytes] = {}

    def frame(self, spell: Spell | None, deflated: bool) -> bytes:
        """The websocket frame of the payload, or of what `spell` makes of it, compressed or not."""
        frame = self._frames.get((spell, deflated))
        if frame is None:
            text = self.payload if spell is None else spell(self)
            frame = (deflated_text_frame if deflated else text_frame)(text.encode())
            self._frames[spell, deflated] = frame
        return frame


class Subscriber(Protocol):
    """Whoever takes events from topics; `remote` is its address."""

    remote: str

    def deliver(self, event: Event) -> None:
        """Take one event; must not block."""


class Interceptor(Protocol):
    """What may stand between a topic and its subscribers."""

    @property
    def for_everybody(self) -> bool:
        """Whether it wants to see events at all."""

    def publish(self, market: str, symbol: str, event: Event, send: Callable[[Event], None]) -> None:
        """Take an event and send it on, or something else, or nothing."""


class Topic:
    """One stream: whose it is and who is subscribed, in the order in which they came."""

    __slots__ = ("_interceptor", "first", "market", "name", "subscribers", "symbol")

    def __init__(self, market: str, symbol: str, name: str, interceptor: Interceptor | None) -> None:
        self.market = market
        self.symbol = symbol
        self.name = name
        self.subscribers: dict[Subscriber, None] = {}
        self.first: Callable[[], str | None] | None = None
        """What a new subscriber gets at once, such as a snapshot; asked for before it is attached."""
        self._interceptor = interceptor

    def publish(self, payload: str) -> None:
        """Give an event to every subscriber, by way of the interceptor if one is at work.

        What nobody gets is no case of a fault: else a fault would spend itself on streams that nobody reads.
        """
        if not self.subscribers:
            return
        event = Event(self.name, payload)
        if self._interceptor is not None and self._interceptor.for_everybody:
            self._interceptor.publish(self.market, self.symbol, event, self.send)
        else:
            self.send(event)

    def send(self, event: Event) -> None:
        """Give an event to every subscriber."""
        for subscriber in self.subscribers:
            subscriber.deliver(event)


class TopicRegistry:
    """All topics of all markets, by market, stream class and name."""

    def __init__(self, interceptor: Interceptor | None = None) -> None:
        self._interceptor = interceptor
        self._topics: dict[tuple[str, str, str], Topic] = {}

    def create(self, market: str, stream_class: str, symbol: str, name: str) -> Topic:
        """Add a topic; `symbol` is empty for a stream of the whole market."""
        topic = Topic(market, symbol, name, self._interceptor)
        self._topics[market, stream_class, name] = topic
        return topic

    def find(self, market: str, classes: frozenset[str], name: str) -> Topic | None:
        """The topic of that name in one of the classes, if any."""
        for stream_class in classes:
            topic = self._topics.get((market, stream_class, name))
            if topic is not None:
                return topic
        return None
