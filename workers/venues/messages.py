"""What a socket of a venue brings, once it is filed: messages for the log, answers to requests, notices."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from workers.model.events import Kind

Channel = str
"""What a stream feeds: one of `CHANNELS`, in the fleet's words (raw trades feed `aggTrade` too), or a channel that the
settings ask for, as the exchange calls it."""
CHANNELS: Final = frozenset({"depth", "aggTrade", "bookTicker", "orders", "announcements"})


class Subscription(NamedTuple):
    """One stream of the venue: its wire name, and what it is to us."""

    stream: str
    channel: Channel
    symbol: str
    """Empty: the stream is of the whole market, and each message names its symbol."""
    patience: float = 1.0
    """How many times longer than the stream of a book it may be silent before that is odd; infinite: for ever."""

    @property
    def is_extra(self) -> bool:
        """Whether the settings ask for it by name; nothing of the fleet's own depends on it."""
        return self.channel not in CHANNELS


class Message(msgspec.Struct, gc=False):
    """A data frame: the exchange's own object, byte for byte, and the few fields that file it."""

    channel: Channel
    symbol: str
    data: bytes
    event_ms: int
    """The time the stream id carries: `E` of a depth event, `T` of a trade; -1 where the exchange sends none: the
    line takes that of the arrival."""
    first_id: int
    update_id: int
    """`u` of a depth event or bookTicker, the trade id of a trade."""
    previous_id: int
    """`pu`; -1 where continuity is `first_id == previous update_id + 1`; 0 where nothing tells what is missing."""
    received_us: int = 0
    """When it arrived, µs since 1970; set by the line."""
    kind: Kind = "update"
    name: str = ""
    """What it is known again by where ids are not consecutive and the log numbers: the venue's own name of a trade, or
    what a message of an extra channel says (`channels.name_of`)."""


class Acknowledged(msgspec.Struct, gc=False):
    """The reply to a control request; says nothing about whether data will come."""

    request_id: int


class Refused(msgspec.Struct, gc=False):
    """An error frame; `request_id` is None where the exchange names none."""

    request_id: int | None
    code: int
    message: str


class ShutdownNotice(msgspec.Struct, gc=False):
    """The exchange will close this socket soon: replace it now."""


class ContractNotice(msgspec.Struct, gc=False):
    """A symbol was listed, delisted, or changed its status or its terms: exchangeInfo will say the rest."""

    symbol: str
    status: str
    event_ms: int


class Ignored(msgspec.Struct, gc=False):
    """A well-formed frame that feeds nothing (a stream we did not ask for)."""

    kind: str
