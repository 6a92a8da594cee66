"""What an exchange must say of itself to be simulated: markets, sockets, REST, words.

A `Flavour` is one exchange's protocol over the engine's markets. Each socket has a `Conversation`, which holds
what the exchange knows of that client and does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from aiohttp import web

from workers.sim.engine.feed import Schedule, SymbolFeed
from workers.sim.engine.topics import Event, TopicRegistry

if TYPE_CHECKING:
    from workers.sim.engine.subscriptions import Subscriptions

FeedOfFlavour = TypeVar("FeedOfFlavour", bound=SymbolFeed)
FeedMade_co = TypeVar("FeedMade_co", bound=SymbolFeed, covariant=True)


@dataclass(frozen=True, slots=True)
class Root:
    """A websocket path: its market (empty for all), the stream classes it delivers, and the routes it is reached by.

    combined: Binance's frames that name their stream. largest_frame: bytes a client may send; 0: as the settings say.
    attempts: upgrades of an address, and within how many seconds; None: as the settings say.
    deflates: whether it agrees to deflated frames.
    """

    path: str
    market: str
    classes: frozenset[str]
    routes: tuple[str, ...] = field(default=(), compare=False)
    combined: bool = False
    largest_frame: int = 0
    attempts: tuple[int, float] | None = None
    deflates: bool = True


class Ping(NamedTuple):
    """A websocket ping to send."""

    payload: bytes


class Close(NamedTuple):
    """The end of the connection, with a close code of RFC 6455 and a reason."""

    code: int
    reason: str


Output = str | Event | Ping | Close
"""What a conversation lets its socket send: a reply, an event (by way of the faults), a ping, the end."""


class UpgradeRefusedError(Exception):
    """The websocket upgrade is answered with status 400."""


class Conversation(Protocol):
    """The exchange's side of one socket. Times are seconds of a monotonic clock, `clock_ms` is exchange time."""

    @property
    def next_tick_s(self) -> float:
        """When `tick` has something to do next."""

    @property
    def streams(self) -> Collection[str]:
        """What is subscribed, in the exchange's spelling."""

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The socket is open."""

    def admit(self, now_s: float) -> Close | None:
        """Count a frame from the client, pings and pongs too; the end when it is one too many."""

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """A text frame came."""

    def ponged(self, payload: bytes) -> None:
        """A websocket pong came."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The websocket frames of an event for this client, empty where it has not asked for such."""

    def missed(self, event: Event) -> None:
        """A fault has taken an event from this client."""

    def wrote(self, now_s: float) -> None:
        """Something has been written to the socket."""

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """What is due: pings, heartbeats, the end for a client that is silent."""

    def shutdown_notice(self, clock_ms: int) -> str | Event | None:
        """What is said before the exchange closes its sockets, if anything."""

    def describe(self) -> dict[str, Any]:
        """What the control endpoint shows besides."""


@runtime_checkable
class TellsMaintenance(Protocol):
    """A conversation of an exchange that has words for its maintenance and keeps the socket meanwhile."""

    def maintenance_notice(self, *, over: bool) -> str:
        """What it says when maintenance begins, or is over."""


class EventShape(Protocol):
    """Where the faults find what they rewrite in an event of the exchange."""

    def decode(self, payload: str) -> dict[str, Any]:
        """The event to rewrite."""

    def encode(self, body: dict[str, Any]) -> str:
        """Its text again."""

    def spoil_checksum(self, body: dict[str, Any]) -> None:
        """Make the checksum of a book message wrong, where there is one."""

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """The bids and asks of a book message, best first, each `[price, quantity, …]`; None for other events."""

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give the trade of an event an id, where it is a trade."""


class JsonShape:
    """Of an exchange whose prices and quantities are texts, and which sends no checksums."""

    def decode(self, payload: str) -> dict[str, Any]:
        """The event to rewrite."""
        body: dict[str, Any] = json.loads(payload)
        return body

    def encode(self, body: dict[str, Any]) -> str:
        """Its text again."""
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    def spoil_checksum(self, body: dict[str, Any]) -> None:
        """There is none."""


class Flavour(Protocol[FeedMade_co]):
    """One exchange, besides its REST."""

    name: str
    markets: Sequence[str]
    roots: Sequence[Root]

    @property
    def shape(self) -> EventShape:
        """Where the faults find what they rewrite."""

    def listed(self, market: str) -> Sequence[str]:
        """The symbols a market starts with."""

    def begin(self, topics: TopicRegistry) -> None:
        """Create the topics that belong to no symbol."""

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> FeedMade_co:
        """A symbol's feed, with its topics created."""

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> Conversation:
        """The conversation of a new socket; UpgradeRefusedError when its URL asks for what cannot be."""
