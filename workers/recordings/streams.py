"""Which stream a recorded frame is of, and which market its content shows."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from workers.recordings.records import Market

_PARTIAL: Final = re.compile(r"depth\d+(@.*)?")
_PREFIX: Final = b'{"stream":"'
_EVENTS: Final = {"depthUpdate": "depth"}
"""Streams whose events are called otherwise."""


class Stream:
    """A stream as its exchange names it.

    Args:
        name: such as `btcusdt@depth@100ms`.
    """

    __slots__ = ("is_depth", "is_orders", "is_partial", "is_ticker", "is_trades", "kind", "name", "symbol")

    def __init__(self, name: str) -> None:
        self.name = name
        symbol, _, self.kind = name.partition("@")
        self.symbol = symbol.encode().upper().decode()
        """`BTCUSDT`; of `币安人生usdt` only the ASCII letters have capitals."""
        self.is_depth = self.kind == "depth" or self.kind.startswith("depth@")
        """Whether it carries the changes of a book (and not, as `depth20` does, its top)."""
        self.is_partial = _PARTIAL.fullmatch(self.kind) is not None
        """Whether each of its frames is the top of a book anew."""
        self.is_trades = self.kind in ("trade", "aggTrade")
        self.is_ticker = self.kind == "bookTicker"
        self.is_orders = self.kind == "orders"


class _Head(msgspec.Struct, gc=False):
    stream: str | UnsetType = UNSET
    e: str | UnsetType = UNSET
    s: str = ""


class _Ticker(msgspec.Struct, gc=False):
    """`{"u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510"}`"""

    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class _TickerFrame(msgspec.Struct, gc=False):
    data: _Ticker


class Quote(NamedTuple):
    """Best bid and ask with their quantities, as text, at update id `u`."""

    u: int
    bid: tuple[str, str]
    ask: tuple[str, str]


_head = msgspec.json.Decoder(_Head)
_ticker_frame = msgspec.json.Decoder(_TickerFrame)
_ticker = msgspec.json.Decoder(_Ticker)


def stream_of(frame: bytes) -> Stream | None:
    """The stream of a frame; None for a reply, an error, or what is no JSON object. Cost: O(1) for known ones."""
    if frame.startswith(_PREFIX):
        known = _known.get(frame[len(_PREFIX) : frame.find(b'"', len(_PREFIX))])
        if known is not None:
            return known
    try:
        head = _head.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if head.stream is not UNSET:
        name = head.stream
    elif head.e is not UNSET and head.s:
        name = f"{head.s.encode().lower().decode()}@{_EVENTS.get(head.e, head.e)}"
    else:
        return None
    spelled = name.encode()
    known = _known.get(spelled) or Stream(name)
    if len(_known) < _MOST_KNOWN:
        _known[spelled] = known
    return known


_known: dict[bytes, Stream] = {}
"""Streams by their name, so that there is one object for each."""
_MOST_KNOWN: Final = 100_000


def quote_of(frame: bytes) -> Quote | None:
    """The content of a `bookTicker` frame, combined or bare; None when it is not whole."""
    try:
        if frame.startswith(_PREFIX) or b'"data"' in frame:
            ticker = _ticker_frame.decode(frame).data
        else:
            ticker = _ticker.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Quote(ticker.u, (ticker.b, ticker.B), (ticker.a, ticker.A))


def market_shown_by(stream: Stream, frame: bytes) -> Market | None:
    """The market whose events look like this one; None when the kind of event does not tell.

    Depth events name their predecessor (`pu`) on futures only; a bookTicker has times (`T`) there only; trades
    say `M` on spot only. COIN-M names the pair (`ps`).
    """
    if stream.is_depth:
        futures = b'"pu":' in frame
    elif stream.is_ticker:
        futures = b'"T":' in frame
    elif stream.is_trades:
        futures = b'"M":' not in frame
    else:
        return None
    if not futures:
        return "spot"
    return "coinm" if b'"ps":' in frame or stream.symbol.endswith("USD_PERP") else "usdm"
