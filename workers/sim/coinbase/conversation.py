"""What both ways of Coinbase do with a client: a request within 5 s, limits of an address, requests as JSON objects."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from workers.sim.engine.flavour import Close, Output
from workers.sim.engine.frames import deflated_text_frame, text_frame
from workers.sim.engine.limits import AttemptLimiter
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event

FIRST_REQUEST_S: Final = 5.0
# the close codes are documented nowhere
NO_REQUEST: Final = Close(1008, "no subscribe message within 5 seconds")
MALFORMED: Final = "Malformed JSON"


class CoinbaseConversation(ABC):
    """One client.

    Args:
        requests: limit of an address over all its sockets.
    """

    def __init__(
        self, subscriptions: Subscriptions, requests: AttemptLimiter, address: str, now_s: float
    ) -> None:
        self._subscriptions = subscriptions
        self._requests = requests
        self._address = address
        self._opened_s = now_s
        self._asked = False
        self._streams: dict[str, None] = {}

    @property
    def streams(self) -> Collection[str]:
        """`level2:BTC-USD`, `matches:BTC-USD`, …"""
        return self._streams

    @property
    def next_tick_s(self) -> float:
        """When the first request must have come."""
        return float("inf") if self._asked else self._opened_s + FIRST_REQUEST_S

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """Nothing: the exchange waits."""
        return ()

    def admit(self, now_s: float) -> Close | None:
        """Frames are not limited, requests are."""
        return None

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterator[Output]:
        """The answer to a request. What comes first is sent first: frames are numbered as they go."""
        if not self._requests.admit(self._address, now_s):
            yield self.error("rate limit exceeded", "")
            return
        try:
            request = json.loads(text)
            action = request["type"]
        except (ValueError, RecursionError, KeyError, TypeError):
            yield self.error(MALFORMED, "")
            return
        if action not in ("subscribe", "unsubscribe"):
            yield self.error("Type has to be either subscribe or unsubscribe", "")
            return
        self._asked = self._asked or action == "subscribe"
        yield from self.perform(action, request, now_s, clock_ms)

    @abstractmethod
    def perform(self, action: str, request: dict[str, Any], now_s: float, clock_ms: int) -> Iterator[Output]:
        """Subscribe or unsubscribe."""

    @abstractmethod
    def error(self, message: str, reason: str) -> str:
        """An error in the words of this way."""

    def ponged(self, payload: bytes) -> None:  # noqa: B027 -- neither way cares
        """Websocket pongs mean nothing here."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event as it is."""
        return event.frame(None, deflated)

    def missed(self, event: Event) -> None:  # noqa: B027 -- only Advanced cares
        """Frames have no numbers here."""

    def wrote(self, now_s: float) -> None:  # noqa: B027 -- only Advanced cares
        """What is sent proves nothing here."""

    def tick(self, now_s: float, clock_ms: int) -> Iterator[Output]:
        """The end of a client that asks for nothing."""
        if not self._asked and now_s >= self._opened_s + FIRST_REQUEST_S:
            yield NO_REQUEST

    def shutdown_notice(self, clock_ms: int) -> None:  # noqa: B027 -- neither way cares
        """Coinbase announces nothing."""

    def describe(self) -> dict[str, Any]:
        """Nothing besides."""
        return {}

    def attach(self, stream: str) -> Event | None:
        """Subscribe, also anew; what the stream begins with."""
        self.detach(stream)
        self._streams[stream] = None
        topic = self._subscriptions.find(stream)
        return self._subscriptions.attach(stream, topic) if topic is not None else None

    def detach(self, stream: str) -> None:
        """Unsubscribe."""
        self._streams.pop(stream, None)
        self._subscriptions.detach(stream)

    def subscribed(self) -> dict[str, list[str]]:
        """Products by channel."""
        channels: dict[str, list[str]] = {}
        for stream in self._streams:
            channel, _, product = stream.partition(":")
            channels.setdefault(channel, []).append(product)
        return channels

    def refused(self, streams: list[str]) -> str:
        """The product of the first stream that is not there, or that a fault refuses; empty when there is none."""
        for stream in streams:
            if self._subscriptions.find(stream) is None:
                return stream.partition(":")[2]
        struck = self._subscriptions.refused(streams)
        return struck[0].partition(":")[2] if struck is not None else ""


def texts_of(value: object) -> list[str]:
    """The texts in what should be a list of texts."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def json_text(value: object) -> str:
    """As the exchange writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def framed(text: str, deflated: bool) -> bytes:
    """A text that is for one client alone."""
    return (deflated_text_frame if deflated else text_frame)(text.encode())
