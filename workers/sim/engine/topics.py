"""Streams that can be subscribed to, and the frames an event on one of them becomes.

A `Topic` is one stream of one market and class. An event is spelled once; its frame is built at most once
for each of the four ways a connection may want it (raw or combined, plain or deflated).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol

from workers.sim.engine.frames import deflated_text_frame, text_frame
from workers.sim.engine.symbols import Market

StreamClass = Literal["public", "market"]
# Spot has one root; its streams are all filed under the public class.
SPOT_CLASSES: Final[frozenset[StreamClass]] = frozenset({"public"})


class Event:
    """One event on one stream, with its frames as they are first needed."""

    __slots__ = ("_frames", "payload", "stream")

    def __init__(self, stream: str, payload: str) -> None:
        self.stream = stream
        self.payload = payload
        self._frames: dict[tuple[bool, bool], bytes] = {}

    def frame(self, combined: bool, deflated: bool) -> bytes:
        """The websocket frame of the raw or the combined form, compressed or not."""
        frame = self._frames.get((combined, deflated))
        if frame is None:
            text = f'{{"stream":"{self.stream}","data":{self.payload}}}' if combined else self.payload
            frame = (deflated_text_frame if deflated else text_frame)(text.encode())
            self._frames[combined, deflated] = frame
        return frame


class Subscriber(Protocol):
    """Whoever takes events from topics."""

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

    __slots__ = ("_interceptor", "market", "name", "subscribers", "symbol")

    def __init__(self, market: Market, symbol: str, name: str, interceptor: Interceptor | None) -> None:
        self.market = market
        self.symbol = symbol
        self.name = name
        self.subscribers: dict[Subscriber, None] = {}
        self._interceptor = interceptor

    def publish(self, payload: str) -> None:
        """Give an event to every subscriber, by way of the interceptor if one is at work."""
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
    """All topics of both markets. A stream name that is not here is acknowledged and silent."""

    def __init__(self, interceptor: Interceptor | None = None) -> None:
        self._interceptor = interceptor
        self._topics: dict[tuple[Market, StreamClass, str], Topic] = {}

    def create(self, market: Market, stream_class: StreamClass, symbol: str, name: str) -> Topic:
        """Add a topic; `symbol` is empty for a stream of the whole market."""
        topic = Topic(market, symbol, name, self._interceptor)
        self._topics[market, stream_class, name] = topic
        return topic

    def find(self, market: Market, classes: frozenset[StreamClass], name: str) -> Topic | None:
        """The topic of that name in one of the classes, if any."""
        for stream_class in classes:
            topic = self._topics.get((market, stream_class, name))
            if topic is not None:
                return topic
        return None
