"""Coinbase: the books of one engine, by the socket of Advanced Trade or by that of Exchange.

Sources: Coinbase's documentation of both, measurements of 2026, a recording of Exchange of 2021.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Kind, Level, Trade
from workers.model.trades.absurd import marked
from workers.venues.channels import PATIENCE
from workers.venues.coinbase import orders, wire
from workers.venues.coinbase import symbols as listings
from workers.venues.coinbase.advanced_session import CHANNELS, AdvancedSession
from workers.venues.coinbase.exchange_session import ExchangeSession
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Endpoint, ExchangeInfo, Tickers
from workers.venues.lacking import NoAnnouncements, NoChannels, NoLimitsTold, NoRestBooks, NoStretches
from workers.venues.messages import Subscription
from workers.venues.order_feed import OrderFeed
from workers.venues.requests import RestRequest
from workers.venues.tolerant_json import UNUSABLE, decode
from workers.venues.wire_values import milliseconds

_MOST_BYTES: Final = 16 * 2**20
"""The 920 products of Advanced have some 2 MB."""
_MOST_ORDERS_BYTES: Final = 96 * 2**20
"""120,000 orders have some 9 MB."""
_NEGATIVE: Final = re.compile(r"0?\.?-[0-9.]*|-[0-9.]+")
"""`0.-10000`, which Exchange has sent as a size."""


class _Market(NamedTuple):
    websocket_url: str
    rest_url: str
    continuity: Continuity
    streams_per_socket: int


_MARKETS: Final = {
    "advanced": _Market(
        "wss://advanced-trade-ws.coinbase.com", "https://api.coinbase.com", Continuity.CONNECTION, 8
    ),
    "exchange": _Market(
        "wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com", Continuity.NONE, 100
    ),
}
_book_frame = msgspec.json.Decoder(wire.BookFrame)
_exchange_book = msgspec.json.Decoder(wire.ExchangeBook)
_trade_row = msgspec.json.Decoder(wire.TradeRow)
_trade_rows = msgspec.json.Decoder(list[wire.TradeRow])
_trades_reply = msgspec.json.Decoder(wire.TradesReply)
_advanced_time = msgspec.json.Decoder(wire.AdvancedTime)
_exchange_time = msgspec.json.Decoder(wire.ExchangeTime)
_products = msgspec.json.Decoder(wire.Products)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_by_name = msgspec.json.Decoder(dict[str, msgspec.Raw])
_error = msgspec.json.Decoder(wire.ErrorBody)


class Coinbase(NoAnnouncements, NoChannels, NoLimitsTold, NoRestBooks, NoStretches):
    """One of Coinbase's two ways as a `Venue`.

    Args:
        name: the settings section, used in errors, logs and metrics.
        settings: which way, hosts, and what else may be chosen.
    """

    trades_span = 1000
    trades_horizon_ms = 0

    def __init__(self, name: str, settings: CoinbaseSettings) -> None:
        self.name = name
        market = _MARKETS[settings.market]
        self.pool = f"coinbase {settings.market}"
        self.facts = Facts(
            market.continuity,
            "in band",
            trade_ids="consecutive",
            second_source="in band",
            limits=(Limit(10, 1.0),),
            subscriptions=settings.streams_per_socket or market.streams_per_socket,
            openings=Limit(8, 1.0),
            largest_frame=32 * 2**20,  # a book of 46,000 levels has 5 MB
            frames=Limit(8, 1.0) if settings.market == "advanced" else None,
        )
        self.book_rule = self.facts.book_rule
        self._settings = settings
        self._advanced = settings.market == "advanced"
        self._url = settings.websocket_url or market.websocket_url
        self._rest = (settings.rest_url or market.rest_url).rstrip("/")
        self.order_feed = self._order_feed() if settings.orders else None

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """One kind of socket for books and trades, and one for single orders, which are many and tell trades too."""
        book, trades = (CHANNELS["depth"], CHANNELS["aggTrade"])
        if not self._advanced:
            book, trades = self._settings.book_channel, "matches"
        streams = []
        for symbol in symbols:
            streams.append(Subscription(f"{book}:{symbol}", "depth", symbol))
            if self._settings.trades != "none":
                streams.append(Subscription(f"{trades}:{symbol}", "aggTrade", symbol))
        found = [Endpoint(self._url, streams)]
        if self.order_feed is not None:
            single = [
                Subscription(f"{orders.CHANNEL}:{symbol}", "orders", symbol, PATIENCE) for symbol in symbols
            ]
            found.append(Endpoint(self._url, single, extra=True))
        return found

    def session(self, url: str) -> AdvancedSession | ExchangeSession:
        """Of a new socket."""
        return AdvancedSession(self.name) if self._advanced else ExchangeSession(self.name, self._settings)

    def wire_symbol(self, symbol: str) -> str:
        """The same."""
        return symbol

    def symbol_of(self, wire_symbol: str) -> str:
        """The same. Raises: ValueError."""
        return listings.symbol_of(wire_symbol)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a frame of a book, or one event of an `l2_data` frame of several. Raises: MalformedFrame."""
        try:
            return _advanced_book(symbol, data) if self._advanced else _exchange_change(symbol, data)
        except (*UNUSABLE, ValueError) as error:
            raise MalformedFrame(self.name, "book", str(error), data) from None

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode a trade of `market_trades`, a `match` or a `last_match`. Raises: MalformedFrame."""
        return self._trade(symbol, decode(self.name, _trade_row, data, "trade"), data)

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest | None:
        """Exchange: the page of ids from one on. Advanced: trades since a time, of which the newest come.

        Args:
            from_id: the first id that is wanted.
            from_ms: time of the last trade that is known.
        """
        if not self._advanced:
            # `after` gives the ids below it, the newest first
            query = {"limit": self.trades_span}
            if from_id is not None:
                query["after"] = from_id + self.trades_span
            return self._request(f"products/{symbol}/trades", query)
        query = {"limit": self.trades_span, "start": from_ms // 1000}
        if self._settings.backfill_seconds:
            query["end"] = from_ms // 1000 + self._settings.backfill_seconds
        return self._request(f"api/v3/brokerage/market/products/{symbol}/ticker", query)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page of trades; they come out in id order, each once. Raises: MalformedFrame."""
        if self._advanced:
            rows = decode(self.name, _trades_reply, body, "trades page").trades
        else:
            rows = decode(self.name, _trade_rows, body, "trades page")
        by_id = {int(row.trade_id): self._trade(symbol, row, body) for row in rows}
        return [by_id[trade_id] for trade_id in sorted(by_id)]

    def _trade(self, symbol: str, row: wire.TradeRow, data: bytes) -> Trade:
        trade_id, time_ms, side = int(row.trade_id), milliseconds(row.time), row.side.lower()
        if side not in ("buy", "sell") or time_ms < 0:
            raise MalformedFrame(self.name, "trade", "it has no side or no time", data)
        # the side is the maker's
        buyer_made = side == "buy"
        return marked(
            Trade(symbol, trade_id, row.price, row.size, trade_id, trade_id, time_ms, time_ms, buyer_made)
        )

    def time_request(self) -> RestRequest | None:
        """`GET time`."""
        return self._request("api/v3/brokerage/time" if self._advanced else "time")

    def time_ms(self, body: bytes) -> int:
        """Decode its reply. Raises: MalformedFrame."""
        if not self._advanced:
            return max(milliseconds(decode(self.name, _exchange_time, body, "time").iso), 0)
        told = str(decode(self.name, _advanced_time, body, "time").epochMillis)
        if not re.fullmatch("[0-9]{1,16}", told):
            raise MalformedFrame(self.name, "time", "it is no time in ms", body)
        return int(told)

    def info_request(self) -> RestRequest:
        """`GET products`."""
        return self._request(*self._products_page())

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode the products. Raises: MalformedFrame."""
        if self._advanced:
            return listings.advanced_info(decode(self.name, _products, body, "products").products)
        return listings.exchange_info(decode(self.name, _elements, body, "products"))

    def tickers_request(self) -> RestRequest:
        """Advanced has them in its list of products, Exchange in `products/stats`."""
        return self._request(*self._products_page()) if self._advanced else self._request("products/stats")

    def tickers(self, body: bytes) -> Tickers:
        """Decode its reply. Raises: MalformedFrame."""
        if self._advanced:
            return listings.advanced_tickers(decode(self.name, _products, body, "tickers").products)
        return listings.exchange_tickers(decode(self.name, _by_name, body, "tickers"))

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"message":"NotFound"}`; the code is always 0."""
        try:
            error = _error.decode(body)
        except UNUSABLE:
            return 0, ""
        return 0, error.message or error.error

    def _order_feed(self) -> OrderFeed:
        return OrderFeed(
            orders.RULES,
            by_id=True,
            message=partial(orders.order_message, self.name),
            seed_request=self._orders_request,
            seed=partial(orders.order_seed, self.name),
        )

    def _orders_request(self, symbol: str) -> RestRequest:
        """All orders: to begin with, says Coinbase, and not to be polled."""
        url = f"{self._rest}/products/{symbol}/book?level=3"
        return RestRequest(url, 1, self.pool, _MOST_ORDERS_BYTES)

    def _products_page(self) -> tuple[str, dict[str, Any]]:
        if self._advanced:
            return "api/v3/brokerage/market/products", {"product_type": "SPOT"}
        return "products", {}

    def _request(self, path: str, query: dict[str, Any] | None = None) -> RestRequest:
        asked = f"?{urlencode(query)}" if query else ""
        return RestRequest(f"{self._rest}/{path}{asked}", 1, self.pool, _MOST_BYTES)


def _advanced_book(symbol: str, data: bytes) -> DepthEvent:
    frame = _book_frame.decode(data)
    updates = frame.events[0].updates if frame.events else frame.updates
    if updates is msgspec.UNSET:
        raise ValueError("it has no levels")
    bids: list[Level] = []
    asks: list[Level] = []
    sides = {"bid": bids, "offer": asks}
    for update in updates:
        if update.side not in sides:
            raise ValueError(f"{update.side[:20]!r} is no side")
        sides[update.side].append((update.price_level, update.new_quantity))
    matched = updates[-1].event_time if updates else None
    matched_ms = max(milliseconds(matched), 0) if matched else 0
    sent_ms = milliseconds(frame.timestamp) if frame.timestamp else matched_ms or -1
    return DepthEvent(symbol, 0, 0, -1, sent_ms, matched_ms, bids, asks)


def _exchange_change(symbol: str, data: bytes) -> DepthEvent:
    """A size below zero, of which there have been some, says nothing: its level stays as it was, or is none."""
    book = _exchange_book.decode(data)
    bids = [(pair.price, pair.size) for pair in book.bids if not _NEGATIVE.fullmatch(pair.size)]
    asks = [(pair.price, pair.size) for pair in book.asks if not _NEGATIVE.fullmatch(pair.size)]
    sides = {"buy": bids, "sell": asks}
    for change in book.changes:
        if change.side not in sides:
            raise ValueError(f"{change.side[:20]!r} is no side")
        if not _NEGATIVE.fullmatch(change.size):
            sides[change.side].append((change.price, change.size))
    time_ms = milliseconds(book.time) if book.time else -1
    return DepthEvent(symbol, 0, 0, -1, time_ms, max(time_ms, 0), bids, asks)
