"""Kraken spot: books verified by checksum, trades numbered per pair.

Sources: Kraken's v2 documentation and its official Go SDK, recordings of v1 (2021) and v2 (2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Kind, Level, Trade
from workers.model.trades.absurd import marked
from workers.venues.channels import PATIENCE
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Endpoint, ExchangeInfo, Tickers
from workers.venues.kraken import wire
from workers.venues.kraken.access import KrakenKey
from workers.venues.kraken.archive_session import KrakenArchiveSession, book_change
from workers.venues.kraken.checksum import RULE
from workers.venues.kraken.orders import order_message, order_rules
from workers.venues.kraken.session import KrakenSession
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.symbols import listing, old_wire_symbol, symbol_of, tickers, wire_symbol
from workers.venues.lacking import NoAnnouncements, NoChannels, NoLimitsTold, NoRestBooks, NoStretches
from workers.venues.messages import Subscription
from workers.venues.order_feed import OrderFeed
from workers.venues.requests import RestRequest
from workers.venues.tolerant_json import UNUSABLE, decode
from workers.venues.wire_values import milliseconds, number_text, seconds_text_ms

_MOST_BYTES: Final = {"Time": 65_536, "AssetPairs": 32 * 2**20, "Ticker": 16 * 2**20, "Trades": 2**20}
"""`AssetPairs` has some 1,500 pairs, about a kilobyte each."""

_book_frame = msgspec.json.Decoder(wire.BookFrame)
_trade_row = msgspec.json.Decoder(wire.TradeRow)
_reply = msgspec.json.Decoder(wire.Reply)
_trades_rows = msgspec.json.Decoder(list[wire.TradesRow])
_unix_time = msgspec.json.Decoder(int)


class Kraken(NoAnnouncements, NoChannels, NoLimitsTold, NoRestBooks, NoStretches):
    """Kraken spot as a `Venue`.

    REST trades go by time, not by id: a page of `trades_request` may begin with trades that are known.

    Args:
        name: the settings section, used in errors, logs and metrics.
        settings: hosts, depth and what else may be chosen.
    """

    pool = "kraken"
    trades_span = 1000
    trades_horizon_ms = 0

    def __init__(self, name: str, settings: KrakenSettings) -> None:
        self.name = name
        self.facts = Facts(
            Continuity.CHECKSUM,
            "in band",
            levels=settings.depth,
            cut=True,
            checksum=RULE,
            trade_ids="consecutive",
            second_source="checksum",
            limits=(Limit(1, 1.0),),
            busy=((b"EGeneral:Too many requests", 15.0), (b"EAPI:Rate limit exceeded", 15.0)),
            openings=Limit(150, 600.0),
            subscriptions=settings.streams_per_socket,
            clock_step_ms=1000,
        )
        self.book_rule = self.facts.book_rule
        self.order_feed = (
            OrderFeed(
                order_rules(settings.orders_depth, keeps_place=settings.orders_larger == "keep"),
                by_id=False,
                message=partial(order_message, name),
                by_token=True,
            )
            if settings.orders
            else None
        )
        self._settings = settings
        self._key = KrakenKey(settings)
        self._rest = f"{settings.rest_url.rstrip('/')}/0/public"
        self._by_key: dict[str, str] = {}
        self._altnames: dict[str, str] = {}

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """One kind of socket for books and trades, and one for single orders."""
        streams = []
        for symbol in symbols:
            pair = wire_symbol(symbol)
            streams.append(Subscription(f"book-{self._settings.depth}:{pair}", "depth", symbol))
            if self._settings.trades != "none":
                streams.append(Subscription(f"trade:{pair}", "aggTrade", symbol))
        found = [Endpoint(self._settings.websocket_url, streams)]
        if self._settings.orders:
            depth = self._settings.orders_depth
            single = [
                Subscription(f"level3-{depth}:{wire_symbol(symbol)}", "orders", symbol, PATIENCE)
                for symbol in symbols
            ]
            found.append(Endpoint(self._settings.orders_url, single, extra=True))
        return found

    def session(self, url: str) -> KrakenSession | KrakenArchiveSession:
        """Of v2 where the path says so, else of v1: `wss://ws.kraken.com`."""
        if "v2" in urlsplit(url).path.split("/"):
            return KrakenSession(self.name, self._settings, self._key)
        return KrakenArchiveSession(self.name, self._settings)

    def wire_symbol(self, symbol: str) -> str:
        """`BTC-USD` → `BTC/USD`."""
        return wire_symbol(symbol)

    def symbol_of(self, wire_symbol: str) -> str:
        """`BTC/USD` → `BTC-USD`. Raises: ValueError."""
        return symbol_of(wire_symbol)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a book: a frame of v2 or v1, or an element of a v2 frame of several. Raises: MalformedFrame."""
        if data.lstrip()[:1] == b"[":
            change = book_change(self.name, data)
            if isinstance(change, str):
                raise MalformedFrame(self.name, "book frame", "it is of another channel", data)
            return change.event
        frame: wire.BookFrame = decode(self.name, _book_frame, data, "book")
        book = frame.data[0] if frame.data else frame
        try:
            bids, asks = _levels(book.bids), _levels(book.asks)
        except ValueError as error:
            raise MalformedFrame(self.name, "book", str(error), data) from None
        time_ms = -1 if book.timestamp is None else milliseconds(book.timestamp)
        return DepthEvent(symbol, 0, 0, -1, time_ms, max(time_ms, 0), bids, asks, kind, book.checksum)

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode a trade; `side` is the taker's. Raises: MalformedFrame."""
        row = decode(self.name, _trade_row, data, "trade")
        try:
            price, quantity = number_text(row.price), number_text(row.qty)
            sells = _sells(row.side)
        except ValueError as error:
            raise MalformedFrame(self.name, "trade", str(error), data) from None
        return _trade(symbol, row.trade_id, price, quantity, milliseconds(row.timestamp), sells)

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest | None:
        """`GET Trades?since=`, from one ns before a time: the page begins after it, by time and not by id.

        Args:
            from_id: not asked for; what is below it in the page is known.
            from_ms: time of the last trade that is known.
        """
        name = old_wire_symbol(symbol)
        if self._settings.rest_names == "altname":
            name = self._altnames.get(symbol, name.replace("/", ""))
        since = max(from_ms * 1_000_000 - 1, 0)
        return self._request("Trades", pair=name, since=since, count=self.trades_span)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page of trades; they come out in id order, each once. Raises: MalformedFrame."""
        pages = [rows for key, rows in self._result(body, "trades page").items() if key != "last"]
        if len(pages) != 1:
            raise MalformedFrame(self.name, "trades page", f"it is of {len(pages)} pairs", body)
        rows = decode(self.name, _trades_rows, pages[0], "trades page")
        by_id = {}
        try:
            for row in rows:
                time_ms = seconds_text_ms(number_text(row.time))
                sells = _sells(row.side)
                by_id[row.trade_id] = _trade(symbol, row.trade_id, row.price, row.volume, time_ms, sells)
        except ValueError as error:
            raise MalformedFrame(self.name, "trades page", str(error), body) from None
        return [by_id[trade_id] for trade_id in sorted(by_id)]

    def time_request(self) -> RestRequest | None:
        """`GET Time`."""
        return self._request("Time")

    def time_ms(self, body: bytes) -> int:
        """Decode `{"error":[],"result":{"unixtime":1616336594,…}}`, whole seconds. Raises: MalformedFrame."""
        sent = self._result(body, "time").get("unixtime", msgspec.Raw())
        return int(decode(self.name, _unix_time, sent, "time")) * 1000

    def info_request(self) -> RestRequest:
        """`GET AssetPairs`."""
        return self._request("AssetPairs")

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode the pairs; by which names REST knows them is remembered for `tickers` and `trades_request`."""
        pairs = listing(self._result(body, "asset pairs"))
        self._by_key, self._altnames = pairs.by_key, pairs.altnames
        return pairs.info

    def tickers_request(self) -> RestRequest:
        """`GET Ticker` of all pairs."""
        return self._request("Ticker")

    def tickers(self, body: bytes) -> Tickers:
        """Decode the tickers of the pairs that `info` has named. Raises: MalformedFrame."""
        return tickers(self._result(body, "tickers"), self._by_key)

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"error":["EGeneral:Too many requests"]}`; the code is always 0."""
        try:
            return 0, "; ".join(_reply.decode(body).error)
        except UNUSABLE:
            return 0, ""

    def _request(self, path: str, **query: str | int) -> RestRequest:
        asked = f"?{urlencode(query)}" if query else ""
        return RestRequest(f"{self._rest}/{path}{asked}", 1, self.pool, _MOST_BYTES[path])

    def _result(self, body: bytes, place: str) -> dict[str, msgspec.Raw]:
        reply: Any = decode(self.name, _reply, body, place)
        if reply.error or reply.result is None:
            raise MalformedFrame(self.name, place, "; ".join(reply.error) or "it has no result", body)
        result: dict[str, msgspec.Raw] = reply.result
        return result


def _levels(sent: list[wire.PriceLevel]) -> list[Level]:
    return [(number_text(level.price), number_text(level.qty)) for level in sent]


def _sells(side: str) -> bool:
    """Whether the taker sells: `buy` and `sell` of the socket, `b` and `s` of REST."""
    if side not in ("buy", "sell", "b", "s"):
        raise ValueError(f"{side[:20]!r} is no side")
    return side[0] == "s"


def _trade(symbol: str, trade_id: int, price: str, quantity: str, time_ms: int, sells: bool) -> Trade:
    return marked(Trade(symbol, trade_id, price, quantity, trade_id, trade_id, time_ms, time_ms, sells))
