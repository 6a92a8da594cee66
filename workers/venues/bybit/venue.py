"""Bybit spot, linear and inverse, API v5.

Sources of the rules: Bybit's documents of v5 (orderbook and trade topics, connection limits), and recordings where they
are silent: that the ids of a book rise by one is observed (2,540 changes without an exception), not promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import UNSET, Raw

from workers.model.events import DepthEvent, Kind, Snapshot, Trade
from workers.model.trades.absurd import marked
from workers.venues.bybit import wire
from workers.venues.bybit.channels import channels_of, endpoints_of
from workers.venues.bybit.session import BybitSession
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.symbols import instruments, tickers
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Endpoint, ExchangeInfo, Stretch, Tickers
from workers.venues.lacking import NoAnnouncements, NoBestLevels, NoLimitsTold, NoOrders
from workers.venues.messages import Subscription
from workers.venues.requests import RestRequest
from workers.venues.tolerant_json import UNUSABLE, decode, malformed
from workers.venues.wire_values import levels_of

REST_LEVELS: Final = 1000
"""Levels a side of REST, whose ids are those of the topic of as many."""
_PAGE: Final = 1000
_MOST_PAGE_BYTES: Final = 2 * 2**20
"""1,000 trades have some 250 kB, 1,000 levels a side some 60 kB."""
_MOST_LIST_BYTES: Final = 32 * 2**20


def facts_of(settings: BybitSettings) -> Facts:
    """What is true of a market as it is set."""
    return Facts(
        Continuity.PLUS_ONE if settings.continuity == "plus one" else Continuity.NONE,
        "in band",
        settings.depth,
        trade_ids="neither",
        second_source="rest" if settings.depth == REST_LEVELS else "in band",
        limits=(Limit(600, 5.0),),
        busy=((b"access too frequent", 600.0), (b"Too many visits", 5.0)),
        openings=Limit(500, 300.0),
        subscriptions=settings.streams_per_socket,  # all topics of a socket may have 21,000 characters together
    )


class Bybit(NoAnnouncements, NoBestLevels, NoLimitsTold, NoOrders):
    """One Bybit market as a `Venue`.

    Args:
        name: the settings section, used in errors, logs and metrics.
    """

    pool = "bybit"
    trades_horizon_ms = 0

    def __init__(self, name: str, settings: BybitSettings) -> None:
        self.name = name
        self.channels = channels_of(name, settings.market, settings.channels)
        self.facts = facts_of(settings)
        self.book_rule = self.facts.book_rule
        self.trades_span = 60 if settings.market == "spot" else _PAGE
        self._settings = settings
        self._socket = settings.websocket_url.rstrip("/") + f"/v5/public/{settings.market}"
        self._rest = settings.rest_url.rstrip("/") + "/v5/market"

    def wire_symbol(self, symbol: str) -> str:
        """As the exchange spells it, which is as we do: `BTCUSDT-26DEC25`."""
        return symbol

    def symbol_of(self, wire_symbol: str) -> str:
        """The same the other way."""
        return wire_symbol

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """One socket, and others for channels of the settings; which market a topic is of, only its path tells."""
        settings = self._settings
        streams = [Subscription(f"orderbook.{settings.depth}.{each}", "depth", each) for each in symbols]
        if settings.trades != "none":
            streams += [Subscription(f"{settings.trades}.{each}", "aggTrade", each) for each in symbols]
        return [Endpoint(self._socket, streams), *endpoints_of(self.channels, symbols, self._socket)]

    def session(self, url: str) -> BybitSession:
        """A new session for a socket."""
        return BybitSession(self.name, self._settings)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a book message. Raises: MalformedFrame."""
        frame = decode(self.name, wire.book_frame_decoder, data, "book")
        book = frame.data
        number, previous = (book.u, -1) if self.facts.continuity.by_id else (0, 0)
        bids, asks = levels_of(book.b), levels_of(book.a)
        return DepthEvent(symbol, number, number, previous, frame.ts, frame.cts, bids, asks)

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode one trade of `publicTrade`. Raises: MalformedFrame.

        Block trades come in the stream and count, unless the settings leave them out: documents do not say whether
        the exchange's own candles have them. RPI trades are made on the book, by orders that its public stream does
        not show, and always count.
        """
        row = decode(self.name, wire.trade_decoder, data, "trade")
        return self._traded(symbol, row.i, row.p, row.v, row.T, row.S, block=row.BT)

    def _traded(
        self, symbol: str, name: str, price: str, size: str, time_ms: int, side: str, *, block: bool
    ) -> Trade:
        market = not (block and self._settings.block_trades == "leave out")
        return marked(
            Trade(symbol, 0, price, size, 0, 0, time_ms, time_ms, side == "Sell", market, name=name)
        )

    def _request(self, path: str, most_bytes: int, **query: str | int) -> RestRequest:
        query_text = f"?{urlencode(query)}" if query else ""
        return RestRequest(f"{self._rest}/{path}{query_text}", 1, "bybit", most_bytes)

    def _result(self, body: bytes, place: str) -> Raw:
        reply = decode(self.name, wire.reply_decoder, body, place)
        if reply.retCode or reply.result is UNSET:
            raise malformed(self.name, place, f"code {reply.retCode} {reply.retMsg[:80]!r}, no result", body)
        return reply.result

    def _listing(self, body: bytes, place: str) -> wire.Listing:
        return decode(self.name, wire.listing_decoder, self._result(body, place), place)

    def snapshot_request(self, symbol: str, levels: int | None = None) -> RestRequest | None:
        """`GET orderbook`; None where its ids are not those of the stream."""
        if self._settings.depth != REST_LEVELS:
            return None
        limit = REST_LEVELS if levels is None else min(levels, REST_LEVELS)
        market = self._settings.market
        return self._request("orderbook", _MOST_PAGE_BYTES, category=market, symbol=symbol, limit=limit)

    def snapshot(self, symbol: str, body: bytes, levels: int | None = None) -> Snapshot:
        """Decode its reply. Raises: MalformedFrame."""
        book = decode(self.name, wire.book_decoder, self._result(body, "depth snapshot"), "depth snapshot")
        limit = REST_LEVELS if levels is None else min(levels, REST_LEVELS)
        bids, asks = levels_of(book.b), levels_of(book.a)
        return Snapshot(symbol, book.u, bids, asks, book.ts, limit, levels is not None)

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest:
        """`GET recent-trade`: the newest there are; no page can be asked for by id or time."""
        query: dict[str, str | int] = {"category": self._settings.market, "symbol": symbol}
        return self._request("recent-trade", _MOST_PAGE_BYTES, **query, limit=self.trades_span)

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[Trade], now_ms: int
    ) -> RestRequest | None:
        """The newest trades alone: REST reaches no further back than 60 of spot, 1,000 of contracts."""
        return None if rows else self.trades_request(symbol, None)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page; it comes out oldest first, each trade once."""
        rows = [
            decode(self.name, wire.recent_trade_decoder, element, "trades page")
            for element in self._listing(body, "trades page").elements
        ]
        by_name = {row.execId: row for row in rows}
        return [
            self._traded(symbol, row.execId, row.price, row.size, row.time, row.side, block=row.isBlockTrade)
            for row in reversed(by_name.values())
        ]

    def time_request(self) -> RestRequest:
        """`GET time`."""
        return self._request("time", _MOST_PAGE_BYTES)

    def time_ms(self, body: bytes) -> int:
        """Decode `{"retCode":0,"result":{"timeNano":"1688639403423213947",…}}`."""
        return decode(self.name, wire.time_decoder, self._result(body, "time"), "time").timeNano // 1_000_000

    def info_request(self) -> RestRequest:
        """`GET instruments-info`, its first page."""
        return self._request(
            "instruments-info", _MOST_LIST_BYTES, category=self._settings.market, limit=_PAGE
        )

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode one page."""
        page = self._listing(body, "instruments")
        found = instruments(page.elements)
        if page.nextPageCursor:
            first = self.info_request()
            # The exchange sends cursors percent-encoded already, and wants them back so.
            found.next_page = first._replace(url=f"{first.url}&cursor={quote(page.nextPageCursor, safe='%')}")
        return found

    def tickers_request(self) -> RestRequest:
        """`GET tickers` of a whole market."""
        return self._request("tickers", _MOST_LIST_BYTES, category=self._settings.market)

    def tickers(self, body: bytes) -> Tickers:
        """Decode them."""
        return tickers(self._listing(body, "tickers").elements, inverse=self._settings.market == "inverse")

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"retCode":10006,"retMsg":"Too many visits!"}`; a firewall's page, or a 403's, gives (0, "")."""
        try:
            reply = wire.reply_decoder.decode(body)
        except UNUSABLE:
            return 0, ""
        return reply.retCode, reply.retMsg if reply.retCode else ""
