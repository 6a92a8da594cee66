"""What a venue is: everything the fleet knows of one exchange's market, without a socket or a clock.

A new exchange is one new folder with an implementation of `Venue` and one line in `workers/venues/registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from workers.model.books.in_band import BookRule
from workers.model.events import BookTicker, DepthEvent, Kind, Snapshot, Trade
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.volumes import Ticker
from workers.venues.channels import ExtraChannel
from workers.venues.facts import Facts
from workers.venues.messages import Subscription
from workers.venues.order_feed import OrderFeed
from workers.venues.requests import RestRequest
from workers.venues.session import Session


class Endpoint(NamedTuple):
    """One kind of socket, and the streams that go over it; a role opens as many sockets as the limit needs."""

    url: str
    subscriptions: list[Subscription]
    extra: bool = False
    """Of channels that the settings ask for by name: they get sockets of their own, and cost the books nothing."""
    address: Callable[[Sequence[Subscription]], str] | None = None
    """Where a socket names its streams in its URL: that of one for some streams; None: it is `url` for all."""


class Announcements(NamedTuple):
    """The stream that tells of listings and delistings as they happen, and where it is."""

    url: str
    stream: str


class BadListing(NamedTuple):
    """One element of a list of symbols that cannot be used; the others can."""

    symbol: str
    """In our spelling, or as the exchange has it where that is none, so not to be trusted; empty: it cannot be read."""
    problem: str


class ExchangeInfo(msgspec.Struct):
    """The symbols of a market and its request-weight limit a minute (0: not told)."""

    symbols: dict[str, SymbolInfo]
    weight_limit: int
    bad: list[BadListing] = []
    """Elements that were passed over: of what they name nothing is known now."""
    next_page: RestRequest | None = None
    """Where the list goes on; None: it is whole."""


class Stretch(NamedTuple):
    """What lies between two trades that the stream had, in the venue's order."""

    before: Trade
    after: Trade


class Tickers(NamedTuple):
    """What every symbol traded, as far as it can be read."""

    rows: list[Ticker]
    bad: list[BadListing]


class Venue(Protocol):
    """One market of one exchange."""

    name: str
    channels: Mapping[str, ExtraChannel]
    """The channels that the settings ask for by name."""
    order_feed: OrderFeed | None
    """Its single orders, where the settings ask for them (`orders`)."""
    facts: Facts
    book_rule: BookRule
    """`facts.book_rule`."""
    pool: str
    """REST requests that share a limit share a pool."""
    used_weight_header: str
    trades_span: int
    """Trades one REST page brings."""
    trades_horizon_ms: int
    """How old a trade is from which on REST refuses it; 0: it refuses none for its age."""

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """The sockets needed for what the settings follow of these symbols."""

    def session(self, url: str) -> Session:
        """What a socket of this endpoint is told, and answers."""

    def wire_symbol(self, symbol: str) -> str:
        """A symbol of ours as the exchange spells it."""

    def symbol_of(self, wire_symbol: str) -> str:
        """The reverse. Raises: ValueError, where it is none."""

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode what a session filed under `depth` (see `entries.depth_of`). Raises: MalformedFrame."""

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode what a session filed under `aggTrade`. Raises: MalformedFrame."""

    def ticker(self, data: bytes) -> BookTicker:
        """Decode what a session filed under `bookTicker`. Raises: MalformedFrame."""

    def snapshot_request(self, symbol: str, levels: int | None = None) -> RestRequest | None:
        """The request for a full book; None where REST has none that a stream could go on from."""

    def snapshot(self, symbol: str, body: bytes, levels: int | None = None) -> Snapshot:
        """Decode its reply. Raises: MalformedFrame."""

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest | None:
        """The request for trades from an id on, or from a time on where REST goes by time; `from_id` None: for the
        newest. None: REST has no trades."""

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode its reply, in id order. Raises: MalformedFrame."""

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[Trade], now_ms: int
    ) -> RestRequest | None:
        """The next request for the trades of a stretch, of a venue whose ids do not show which are missing.

        Args:
            rows: what the earlier requests brought, the oldest first.
            now_ms: the time.

        Returns None when REST has no further page of it.
        """

    def time_request(self) -> RestRequest | None:
        """The request for the exchange's clock; None where it shows none."""

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
