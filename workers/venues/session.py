"""One socket as a venue sees it, sans I/O: frames in, what they mean and what is to be sent back out.

Ingest opens a socket, makes a session of the venue for it, and tells it what happens:

    session = venue.session(endpoint_url)
    for frame in session.opened(now_ms):           send
    for frame in session.subscribe(streams, 7):    send
    for event in session.received(wire, now_ms):   Message → the log; Send → send; Broken → replace the socket; …
    for event in session.tick(now_ms):             the same (keep-alives that are due)

All that has to be remembered of a socket is here: channel numbers, the sequence of the connection, what was asked for
and not answered. A session is used for one socket and thrown away with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from workers.venues.messages import (
    Acknowledged,
    ContractNotice,
    Ignored,
    Message,
    Refused,
    ShutdownNotice,
    Subscription,
)
from workers.venues.requests import RestRequest


class Send(msgspec.Struct, gc=False):
    """A text frame to send now: a keep-alive, an answer."""

    text: str


class Accepted(msgspec.Struct, gc=False):
    """Streams, by their wire names, that the exchange acknowledged by name."""

    streams: list[str]


class RefusedStreams(msgspec.Struct, gc=False):
    """Streams, by their wire names, that the exchange refused by name; the others of the socket go on."""

    streams: list[str]
    code: int
    """0 where the exchange sends none."""
    message: str


class Broken(msgspec.Struct, gc=False):
    """What came over this socket has a hole that concerns all its symbols: their books end here, the socket is
    replaced, and the snapshots of its successor begin them anew."""

    reason: Literal["sequence", "restart", "maintenance"]
    expected: int = 0
    got: int = 0


class Stale(msgspec.Struct, gc=False):
    """These streams, by their wire names, must be subscribed anew: what comes until their next snapshot has a hole."""

    streams: list[str]
    reason: Literal["sequence", "reset", "checksum", "maintenance"]


class Ask(msgspec.Struct):
    """REST is to be asked for something that the socket cannot go on without: a token.

    take: told the body of a reply of status 200, None where there was none, and the time; what follows from it.
    """

    request: RestRequest
    take: Callable[[bytes | None, int], list[Event]]


class Torn(msgspec.Struct, gc=False):
    """Something is missing in these streams, by their wire names, and they go on by themselves: books with their next
    whole one. `data` is what the exchange said; the log keeps it."""

    streams: list[str]
    reason: str
    data: bytes


class Unusable(msgspec.Struct, gc=False):
    """A part of a frame that is malformed; what else the frame says can be used."""

    problem: str


Event = (
    Message
    | Unusable
    | Send
    | Ask
    | Accepted
    | RefusedStreams
    | Broken
    | Stale
    | Torn
    | Acknowledged
    | Refused
    | ShutdownNotice
    | ContractNotice
    | Ignored
)
"""What a frame means. `Acknowledged` and `Refused` answer the request of a number, where a venue numbers them."""


class Session(Protocol):
    """One socket of a venue. Times are ms of one clock of the caller's choice."""

    def opened(self, now_ms: int) -> list[str]:
        """The socket is open: the frames to send before anything else."""

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The frames that subscribe to streams; most venues need one, some one a stream."""

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The frames that take subscriptions back."""

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """What a text frame means, in the order it says so; empty for one that only proves life.

        Raises:
            MalformedFrame: it is none of the venue's; the session goes on as if it had not come.
        """

    def tick(self, now_ms: int) -> list[Event]:
        """What is due though nothing came; to be called every second or so."""
