"""What is published of a book, and when: at once on the first change, then at most once per interval, the last
change never withheld."""

from __future__ import annotations

import msgspec

from workers.model.events import Level
from workers.model.stored_json import decoder_of

TOP_LEVELS = 10


class TopOfBook(msgspec.Struct, gc=False):
    """The payload of `LIVE_ORDERBOOK` and `book:{S}:top`; prices and quantities as the exchange sent them.

    Example:
        {"s":"BTCUSDT","b":[["61800.20","2.909"]],"a":[["61800.30","3.330"]],"u":5123107852948,
         "E":1723161256501,"T":1723161256493,"synced_at":1723161255400,"received":1723161255319702,
         "published":1723161255320114}
    """

    s: str
    b: list[Level]
    a: list[Level]
    u: int
    """The update id at which the book stands."""
    E: int
    """ms: event time of the last change applied."""
    T: int
    """ms: transaction time of the last change applied; 0 where the venue sends none."""
    synced_at: int
    """ms: since when the book has been in sync without interruption."""
    received: int
    """µs: when the last change reached us; 0 right after a takeover, until the next one."""
    published: int
    """µs: when this payload was written."""


_encoder = msgspec.json.Encoder()
_decode = decoder_of(TopOfBook)


def encode_top(top: TopOfBook) -> bytes:
    """The payload as JSON, fields in the order of the class."""
    return _encoder.encode(top)


def decode_top(payload: bytes | str) -> TopOfBook:
    """The payload back. Raises: msgspec.DecodeError."""
    return _decode(payload)


class Pace:
    """When one book may be published again (sans clock: time is an argument, in ms).

    Leading edge: a change after a quiet interval is due at once. Trailing edge: a change within the interval is
    due when it ends, so the last change always goes out.
    """

    __slots__ = ("_changed", "_interval_ms", "_published_ms")

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._published_ms = -(10**15)
        self._changed = False

    def changed(self) -> None:
        """Something changed since the last publication."""
        self._changed = True

    def due(self, now_ms: float) -> bool:
        """Whether there is a change and the interval since the last publication is over."""
        return self._changed and now_ms - self._published_ms >= self._interval_ms

    @property
    def due_at_ms(self) -> float:
        """When the interval since the last publication is over."""
        return self._published_ms + self._interval_ms

    @property
    def waiting(self) -> bool:
        """Whether there is a change that has not gone out."""
        return self._changed

    def published(self, now_ms: float) -> None:
        """What there was has been written."""
        self._published_ms = int(now_ms)
        self._changed = False
