"""What a venue is: everything the fleet knows of one exchange's market, without a socket or a clock.

A new exchange is one new file that implements `Venue` and one line in `workers/venues/registry.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from workers.model.books.sequence import SequenceRule
from workers.model.events import BookTicker, DepthEvent, Snapshot, Trade
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker

Channel = Literal["depth", "aggTrade", "bookTicker"]
"""What a stream feeds, in the fleet's words; raw trades feed `aggTrade` too."""


class Subscription(NamedTuple):
    """One stream of the venue: its wire name, and what it is to us."""

    stream: str
    channel: Channel
    symbol: str


class Endpoint(NamedTuple):
    """One kind of socket, and the streams that go over it; a role opens as many sockets as the limit needs."""

    url: str
    subscriptions: list[Subscription]


class RestRequest(NamedTuple):
    """A GET, its cost, and how long its reply can be."""

    url: str
    weight: int
    pool: str
    most_bytes: int
    """Of the body, unpacked: far beyond what the exchange sends, and what memory bears."""


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


Frame = Message | Acknowledged | Refused | ShutdownNotice | ContractNotice | Ignored


class Announcements(NamedTuple):
    """The stream that tells of listings and delistings as they happen, and where it is."""

    url: str
    stream: str


class BadListing(NamedTuple):
    """One element of a list of symbols that cannot be used; the others can."""

    symbol: str
    """Its name as the exchange spells it, so not to be trusted; empty where none can be read."""
    problem: str


class ExchangeInfo(msgspec.Struct):
    """The symbols of a market and its request-weight limit a minute (0: not told)."""

    symbols: dict[str, SymbolInfo]
    weight_limit: int
    bad: list[BadListing] = []
    """Elements that were passed over: of what they name nothing is known now."""


class Tickers(NamedTuple):
    """What every symbol traded, as far as it can be read."""

    rows: list[Ticker]
    bad: list[BadListing]


class Venue(Protocol):
    """One market of one exchange."""

    name: str
    rule: SequenceRule
    pool: str
    """REST requests that share a limit share a pool."""
    assumed_weight_limit: int
    """Weight a minute while exchangeInfo has not been read."""
    used_weight_header: str
    trades_span: int
    """Trades one REST page brings."""
    trades_horizon_ms: int
    """How old a trade is from which on REST refuses it; 0: it refuses none for its age."""

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """The sockets needed for what the settings follow of these symbols."""

    def subscribe(self, streams: Sequence[str], request_id: int) -> str:
        """The text frame that subscribes to streams."""

    def unsubscribe(self, streams: Sequence[str], request_id: int) -> str:
        """The text frame that takes subscriptions back."""

    def split(self, frame: bytes | str) -> Frame:
        """File one frame without re-encoding its data. Raises: MalformedFrame."""

    def depth(self, data: bytes) -> DepthEvent:
        """Decode what `split` filed under `depth`. Raises: MalformedFrame."""

    def trade(self, data: bytes) -> Trade:
        """Decode what `split` filed under `aggTrade`. Raises: MalformedFrame."""

    def ticker(self, data: bytes) -> BookTicker:
        """Decode what `split` filed under `bookTicker`. Raises: MalformedFrame."""

    def snapshot_request(self, symbol: str, levels: int | None = None) -> RestRequest:
        """The request for a full book."""

    def snapshot(self, symbol: str, body: bytes, levels: int | None = None) -> Snapshot:
        """Decode its reply. Raises: MalformedFrame."""

    def trades_request(self, symbol: str, from_id: int | None) -> RestRequest:
        """The request for trades from an id on; None: for the newest."""

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode its reply, in id order. Raises: MalformedFrame."""

    def time_request(self) -> RestRequest:
        """The request for the exchange's clock."""

    def time_ms(self, body: bytes) -> int:
        """Decode its reply, ms. Raises: MalformedFrame."""

    def info_request(self) -> RestRequest:
        """The request for all symbols."""

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode its reply, each symbol by itself. Raises: MalformedFrame, where there is no list at all."""

    def tickers_request(self) -> RestRequest:
        """The request for what every symbol traded in the last 24 h."""

    def tickers(self, body: bytes) -> Tickers:
        """Decode its reply, each row by itself. Raises: MalformedFrame, where there is no list at all."""

    def announcements(self) -> Announcements | None:
        """The stream whose frames are `ContractNotice`; None where the exchange has none."""

    def error_of(self, body: bytes) -> tuple[int, str]:
        """The exchange's code and message in an error reply; (0, "") when there is none to read."""

    def banned_until_ms(self, message: str) -> int:
        """The time that the message of a 429 or 418 names, ms by the exchange's clock; 0: none."""
