"""OKX spot, swaps and futures, API v5.

Sources of the rules: OKX's documents of the v5 WebSocket (order book channel, trades channel, connection limits), and
recordings where they are silent. A book chains by `prevSeqId`; recordings before 2023 have no ids, and a checksum of
the best 25 levels in every message instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import UNSET, Raw

from workers.model.books.checksum import ChecksumRule
from workers.model.events import DepthEvent, Kind, Level, Trade
from workers.model.trades.absurd import marked
from workers.venues.facts import Continuity, Facts, Limit, TradeIds
from workers.venues.interface import Announcements, Endpoint, ExchangeInfo, Stretch, Tickers
from workers.venues.lacking import NoLimitsTold, NoOrders, NoRestBooks
from workers.venues.messages import Subscription
from workers.venues.okx import wire
from workers.venues.okx.channels import channels_of, endpoints_of
from workers.venues.okx.session import OkxSession
from workers.venues.okx.settings import OkxSettings
from workers.venues.okx.symbols import instruments, tickers
from workers.venues.requests import RestRequest
from workers.venues.tolerant_json import UNUSABLE, decode, malformed
from workers.venues.wire_values import levels_of

CHECKSUM_LEVELS: Final = 25
_LEVELS: Final = {"books": 400, "books-l2-tbt": 400, "books50-l2-tbt": 50}
_TYPES: Final = {"spot": "SPOT", "swap": "SWAP", "futures": "FUTURES"}
_PUBLIC: Final = "/ws/v5/public"
_BUSINESS: Final = "/ws/v5/business"
_NEWEST_SPAN: Final = 500
_MOST_PAGE_BYTES: Final = 2**20
"""500 trades have less than 100 kB."""
_MOST_LIST_BYTES: Final = 32 * 2**20


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """CRC-32, as a signed number, of `bidPrice:bidQuantity:askPrice:askQuantity:…`; a shorter side just ends.

    The texts are those of the wire. Reproduces all 3,679 checksums of a recording of 2022 with ten instruments.
    """
    texts: list[str] = []
    for place in range(CHECKSUM_LEVELS):
        for side in (bids, asks):
            if place < len(side):
                texts += side[place]
    value = zlib.crc32(":".join(texts).encode())
    return value - 2**32 if value >= 2**31 else value


def facts_of(settings: OkxSettings) -> Facts:
    """What is true of a market as it is set."""
    # One fill a message, as before OKX merged them: the ids have no holes.
    single = settings.trades == "trades-all" or settings.legacy
    trade_ids: TradeIds = "consecutive" if single else "rising"
    facts = Facts(
        Continuity.PREVIOUS,
        "in band",
        _LEVELS[settings.depth],
        trade_ids=trade_ids,
        second_source="in band",
        limits=(Limit(20, 2.0),),
        openings=Limit(3, 1.0),
        subscriptions=settings.streams_per_socket,
    )
    if not settings.legacy:
        return facts
    rule = ChecksumRule(CHECKSUM_LEVELS, checksum)
    return facts._replace(continuity=Continuity.CHECKSUM, checksum=rule, second_source="checksum")


class Okx(NoLimitsTold, NoOrders, NoRestBooks):
    """One OKX market as a `Venue`.

    Args:
        name: the settings section, used in errors, logs and metrics.
    """

    pool = "okx"
    trades_span = 100
    trades_horizon_ms = 89 * 86_400_000
    """history-trades goes back three months, and these are the shortest."""

    def __init__(self, name: str, settings: OkxSettings) -> None:
        self.name = name
        self.channels = channels_of(name, settings.channels)
        self.facts = facts_of(settings)
        self.book_rule = self.facts.book_rule
        self._settings = settings
        self._type = _TYPES[settings.market]
        self._socket = settings.websocket_url.rstrip("/")
        self._rest = settings.rest_url.rstrip("/") + "/api/v5"

    def wire_symbol(self, symbol: str) -> str:
        """As the exchange spells it, which is as we do: `BTC-USDT-SWAP`."""
        return symbol

    def symbol_of(self, wire_symbol: str) -> str:
        """The same the other way."""
        return wire_symbol

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """The public socket, the business one for `trades-all`, and those of the channels of the settings."""
        public, business = self._socket + _PUBLIC, self._socket + _BUSINESS
        extras = endpoints_of(self.channels, symbols, self._type, public, business)
        return [*self._followed(symbols), *extras]

    def _followed(self, symbols: Sequence[str]) -> list[Endpoint]:
        settings = self._settings
        public = [Subscription(f"{settings.depth}:{symbol}", "depth", symbol) for symbol in symbols]
        if settings.trades == "none":
            return [Endpoint(self._socket + _PUBLIC, public)]
        trades = [Subscription(f"{settings.trades}:{symbol}", "aggTrade", symbol) for symbol in symbols]
        if settings.trades == "trades":
            return [Endpoint(self._socket + _PUBLIC, public + trades)]
        return [Endpoint(self._socket + _PUBLIC, public), Endpoint(self._socket + _BUSINESS, trades)]

    def session(self, url: str) -> OkxSession:
        """A new session for a socket."""
        return OkxSession(self.name, self._settings)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a book message, a whole frame or one element of its data. Raises: MalformedFrame."""
        book = self._book(data)
        number, previous = (0, 0) if self._settings.legacy else (book.seqId, book.prevSeqId)
        if kind != "update" and not self._settings.legacy:
            previous = -1
        bids, asks = levels_of(book.bids), levels_of(book.asks)
        # 0 stands for none since mid-2026
        return DepthEvent(
            symbol, number, number, previous, book.ts, 0, bids, asks, kind, book.checksum or None
        )

    def _book(self, data: bytes) -> wire.Book:
        try:
            books = wire.books_decoder.decode(data).data
        except UNUSABLE as error:
            problem = str(error)
        else:
            if len(books) == 1:
                return books[0]
            problem = f"it holds {len(books)} books"
        try:
            return wire.book_decoder.decode(data)
        except UNUSABLE:
            raise malformed(self.name, "book", problem, data) from None

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode one trade of `trades` or `trades-all`. Raises: MalformedFrame.

        Quantities of swaps and futures are contracts. What is off the book (block trades) has channels of its own.
        """
        return self._traded(decode(self.name, wire.trade_decoder, data, "trade"), symbol)

    def _traded(self, row: wire.TradeRow, symbol: str) -> Trade:
        last = row.tradeId if self._settings.trade_range == "last" else row.tradeId + row.count - 1
        first = max(0, last - row.count + 1)
        time, maker = row.ts, row.side == "sell"
        return marked(Trade(symbol, row.tradeId, row.px, row.sz, first, last, time, time, maker))

    def _request(self, path: str, most_bytes: int, **query: str | int) -> RestRequest:
        # Each path has a limit of its own.
        query_text = f"?{urlencode(query)}" if query else ""
        return RestRequest(
            f"{self._rest}/{path}{query_text}", 1, f"okx-{path.rpartition('/')[2]}", most_bytes
        )

    def _rows(self, body: bytes, place: str) -> list[Raw]:
        reply = decode(self.name, wire.reply_decoder, body, place)
        if str(reply.code) != "0" or reply.data is UNSET:
            raise malformed(
                self.name, place, f"code {str(reply.code)[:20]} {reply.msg[:80]!r}, no data", body
            )
        return reply.data

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest:
        """`GET market/history-trades` for a page from an id on; for none the newest of `market/trades`."""
        if from_id is None or from_id <= 0:
            return self._request("market/trades", _MOST_PAGE_BYTES, instId=symbol, limit=_NEWEST_SPAN)
        after = from_id + self.trades_span if self._settings.history == "older" else from_id - 1
        query: dict[str, str | int] = {"instId": symbol, "type": 1, "after": after, "limit": self.trades_span}
        return self._request("market/history-trades", _MOST_PAGE_BYTES, **query)

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[Trade], now_ms: int
    ) -> RestRequest | None:
        """Pages of `market/history-trades` by id, from the later trade back; from the earlier on where `after` means
        newer ids. They have single fills, and the stream those of one order and price together."""
        if self._settings.history == "older":
            after = rows[0].trade_id if rows else stretch.after.trade_id + 1
        else:
            after = rows[-1].trade_id if rows else stretch.before.trade_id - 1
        query: dict[str, str | int] = {"instId": symbol, "type": 1, "after": after, "limit": self.trades_span}
        return self._request("market/history-trades", _MOST_PAGE_BYTES, **query)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page; it comes out in id order, each trade once."""
        rows = self._rows(body, "trades page")
        trades = [decode(self.name, wire.trade_decoder, row, "trades page") for row in rows]
        by_id = {row.tradeId: row for row in trades}
        return [self._traded(by_id[identity], symbol) for identity in sorted(by_id)]

    def time_request(self) -> RestRequest:
        """`GET public/time`."""
        return self._request("public/time", _MOST_PAGE_BYTES)

    def time_ms(self, body: bytes) -> int:
        """Decode `{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}`."""
        rows = self._rows(body, "time")
        if not rows:
            raise malformed(self.name, "time", "it is empty", body)
        return int(decode(self.name, wire.time_decoder, rows[0], "time").ts)

    def info_request(self) -> RestRequest:
        """`GET public/instruments`, all of a type in one reply."""
        return self._request("public/instruments", _MOST_LIST_BYTES, instType=self._type)

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode it."""
        return instruments(self._rows(body, "instruments"))

    def tickers_request(self) -> RestRequest:
        """`GET market/tickers`, all of a type."""
        return self._request("market/tickers", _MOST_LIST_BYTES, instType=self._type)

    def tickers(self, body: bytes) -> Tickers:
        """Decode them."""
        return tickers(self._rows(body, "tickers"), spot=self._settings.market == "spot")

    def announcements(self) -> Announcements:
        """The stream `instruments`, which tells changes only."""
        return Announcements(self._socket + _PUBLIC, f"instruments:{self._type}")

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"code":"50011","msg":"Too Many Requests","data":[]}`; a firewall's HTML page gives (0, "")."""
        try:
            reply = wire.reply_decoder.decode(body)
        except UNUSABLE:
            return 0, ""
        return wire.code_number(reply.code), reply.msg
