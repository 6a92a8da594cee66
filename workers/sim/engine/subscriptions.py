"""The topics one socket takes events from, and what faults do to its wish to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.sim.engine.faults import Fault, FaultBoard
from workers.sim.engine.topics import Event, Subscriber, Topic, TopicRegistry


class Subscriptions:
    """What one subscriber is attached to, by stream name.

    Args:
        markets, classes: those whose streams its socket delivers.
        meant: whether a fault concerns the socket.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        topics: TopicRegistry,
        markets: Sequence[str],
        classes: frozenset[str],
        faults: FaultBoard,
        meant: Callable[[Fault], bool],
    ) -> None:
        self._subscriber = subscriber
        self._topics = topics
        self._markets = markets
        self._classes = classes
        self._faults = faults
        self._meant = meant
        self._attached: dict[str, Topic] = {}

    def __len__(self) -> int:
        return len(self._attached)

    def find(self, name: str) -> Topic | None:
        """The topic of that name on one of the markets of this socket, if any."""
        for market in self._markets:
            topic = self._topics.find(market, self._classes, name)
            if topic is not None:
                return topic
        return None

    @property
    def address(self) -> str:
        """That of the client."""
        return self._subscriber.remote

    def of_address(self, topic: Topic) -> int:
        """How many from the same address are attached to a topic."""
        return sum(other.remote == self.address for other in topic.subscribers)

    def attach(self, name: str, topic: Topic) -> Event | None:
        """Take events of a topic from now on; what it begins with, if it begins with anything."""
        if self.strikes("silent_stream", topic):
            return None
        first = topic.first() if topic.first is not None else None
        topic.subscribers[self._subscriber] = None
        self._attached[name] = topic
        return Event(topic.name, first) if first is not None else None

    def detach(self, name: str) -> None:
        """Take no more events of a topic."""
        topic = self._attached.pop(name, None)
        if topic is not None:
            topic.subscribers.pop(self._subscriber, None)

    def detach_all(self) -> None:
        """Leave every topic."""
        for name in list(self._attached):
            self.detach(name)

    def mute(self, fault: Fault) -> None:
        """Leave the topics a fault covers, which stay subscribed by name."""
        for name in [name for name in self._attached if self.covered(fault, name)]:
            self.detach(name)

    def covered(self, fault: Fault, stream: str) -> bool:
        """Whether a fault concerns an attached stream."""
        topic = self._attached.get(stream)
        return fault.covers_stream(stream) and (
            not fault.symbol or (topic is not None and topic.symbol == fault.symbol)
        )

    def refused(self, names: Sequence[str]) -> tuple[str, Fault] | None:
        """The first of the streams that a fault refuses, and the fault."""
        for active in self._faults.on("refuse_stream"):
            fault = active.fault
            for name in names if self._meant(fault) else ():
                topic = self.find(name)
                symbol = topic.symbol if topic is not None else ""
                if fault.covers_stream(name) and fault.symbol in ("", symbol) and active.strikes():
                    return name, fault
        return None

    def forgotten(self, given_ms: float) -> bool:
        """Whether a fault has made worthless what was given to the client at a time."""
        return any(
            self._meant(active.fault) and given_ms <= active.starts_ms and active.strikes()
            for active in self._faults.on("old_token")
        )

    def strikes(self, kind: str, topic: Topic) -> bool:
        """Whether a fault of a kind strikes the wish for a topic."""
        for active in self._faults.on(kind):
            fault = active.fault
            covered = fault.covers_stream(topic.name) and fault.covers(topic.market, topic.symbol)
            if covered and self._meant(fault) and active.strikes():
                return True
        return False

    def begin(self, name: str, topic: Topic, reply: str) -> list[str | Event]:
        """Attach, and what the client gets: the reply, and what the topic begins with, after or before it."""
        first = self.attach(name, topic)
        if first is None:
            return [reply]
        return [first, reply] if self.strikes("snapshot_first", topic) else [reply, first]
