"""What is true of a venue's streams and REST: read by ingest, books and trades instead of the venue's name."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

from workers.model.books.checksum import ChecksumRule
from workers.model.books.in_band import BookRule, StreamRule
from workers.model.books.sequence import SequenceRule


class Continuity(Enum):
    """By what a reader of a book sees that a message is missing."""

    FIRST = "first"
    """`first_id` is the previous `last_id` plus one (Binance spot)."""
    PREVIOUS = "previous"
    """The message names its predecessor's id (Binance futures, OKX); a snapshot has an id of the same count."""
    PLUS_ONE = "plus one"
    """The id of each message is its predecessor's plus one, the snapshot's included (Bybit)."""
    RISING = "rising"
    """The id of each message is later than its predecessor's and orders it; what is missing nothing tells (Bitstamp's
    microtimestamp). A book ends with each socket that brought it, and begins with each."""
    CONNECTION = "connection"
    """Every frame of a socket is numbered: what is missing concerns all its symbols (Coinbase Advanced, Bitfinex)."""
    CHECKSUM = "checksum"
    """No numbers: the book after a message is compared (Kraken)."""
    NONE = "none"
    """Nothing tells, and nothing orders (Coinbase Exchange)."""

    @property
    def by_id(self) -> bool:
        """Whether the venue numbers the messages of a symbol, so that two lines can be merged by id and the log goes
        by the venue's ids; else the log numbers what one line wrote."""
        return self in (Continuity.FIRST, Continuity.PREVIOUS, Continuity.PLUS_ONE, Continuity.RISING)


TradeIds = Literal["consecutive", "rising", "neither"]
"""`consecutive`: a hole in them is a missing trade; `rising`: they order trades; `neither`: they only name them."""


class Limit(NamedTuple):
    """At most `weight` within `seconds`: of REST requests of a pool, of sockets or frames of an address."""

    weight: int
    seconds: float


class Facts(NamedTuple):
    """One market of one exchange.

    continuity: see there.
    snapshots: `rest`: a book begins with a reply; `in band`: with a message of its stream, after each subscription.
    levels: levels a side that the stream keeps, 0: all. What else a book holds of a side is unknown, not empty.
    cut: the reader cuts its book to `levels` after each message, as no deletion comes for what falls out (Kraken).
    checksum: None where the venue has none.
    trade_ids: see there.
    second_source: by what a book is audited: `rest` compares at an id, `in band` subscribes anew, `checksum`, `none`.
    limits: of REST, all of them hold.
    busy: what a reply says that has another status than 429 though too much was asked, and for how many seconds nobody
        may ask then.
    subscriptions: streams that ingest puts on one socket.
    openings, frames: sockets that an address may open, and control frames that it may send over all of them; None: the
        exchange names no limit, or one that a fleet is far from.
    largest_frame: bytes that a frame may have in any case, where whole books are larger than usual.
    depth_stream: what the stream of a book is called behind its symbol, for those who compare with the source.
    clock_step_ms: the time that REST tells is rounded down to so many ms.
    """

    continuity: Continuity
    snapshots: Literal["rest", "in band"]
    levels: int = 0
    cut: bool = False
    checksum: ChecksumRule | None = None
    trade_ids: TradeIds = "consecutive"
    second_source: Literal["rest", "in band", "checksum", "none"] = "rest"
    limits: tuple[Limit, ...] = (Limit(60, 60.0),)
    busy: tuple[tuple[bytes, float], ...] = ()
    depth_stream: str = "depth"
    subscriptions: int = 200
    openings: Limit | None = None
    frames: Limit | None = None
    largest_frame: int = 0
    clock_step_ms: int = 1

    @property
    def weight_a_minute(self) -> int:
        """What may be asked of REST in a minute by the tightest of the limits, while the exchange has not told."""
        return int(min(limit.weight * 60 / limit.seconds for limit in self.limits))

    @property
    def spacing_ms(self) -> float:
        """What must lie between two requests for the limits of less than a minute to hold; 0: there are none."""
        return max(
            (each.seconds * 1000 / each.weight for each in self.limits if each.seconds < 60), default=0.0
        )

    @property
    def book_rule(self) -> BookRule:
        """How the entries of a depth stream make a book."""
        sequence = {Continuity.PREVIOUS: SequenceRule.FUTURES, Continuity.RISING: SequenceRule.RISING}.get(
            self.continuity, SequenceRule.SPOT
        )
        if self.snapshots == "rest":
            return BookRule(sequence)
        return BookRule(sequence, StreamRule(self.continuity.by_id, self.levels, self.cut, self.checksum))
