"""Bitfinex v2, books by price: every frame of a socket numbered, checksums of books every few seconds.

Sources: Bitfinex's v2 documentation and the tests of its Go SDK, live measurements of 2026, a recording of 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Final
from urllib.parse import urlencode

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Kind, Level, Trade
from workers.model.trades.absurd import marked
from workers.venues.bitfinex import wire
from workers.venues.bitfinex.checksum import LEVELS, RULE
from workers.venues.bitfinex.orders import order_message, order_rules
from workers.venues.bitfinex.session import BitfinexSession
from workers.venues.bitfinex.settings import BitfinexSettings
from workers.venues.bitfinex.symbols import exchange_info, symbol_of, tickers, wire_symbol
from workers.venues.channels import PATIENCE
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Endpoint, ExchangeInfo, Stretch, Tickers
from workers.venues.lacking import NoAnnouncements, NoChannels, NoLimitsTold, NoRestBooks
from workers.venues.messages import Subscription
from workers.venues.order_feed import OrderFeed
from workers.venues.requests import RestRequest
from workers.venues.tolerant_json import UNUSABLE, decode
from workers.venues.wire_values import number_text

_MOST_BYTES: Final = 8 * 2**20
"""A page of 10,000 trades has less than a megabyte, all pairs and tickers less than half of one."""

_entry = msgspec.json.Decoder(wire.Entry)
_checksum = msgspec.json.Decoder(wire.Signed32)
_trade_row = msgspec.json.Decoder(wire.TradeRow)
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_pairs = msgspec.json.Decoder(tuple[list[msgspec.Raw]])
_error_list = msgspec.json.Decoder(tuple[str, int, str])
_error_object = msgspec.json.Decoder(dict[str, str])


class Bitfinex(NoAnnouncements, NoChannels, NoLimitsTold, NoRestBooks):
    """One list of Bitfinex's pairs as a `Venue`.

    Trade ids rise over all pairs: one that is missing is seen by the numbers of the socket alone.

    Args:
        name: the settings section, used in errors, logs and metrics.
        settings: hosts, depth and what else may be chosen.
    """

    pool = "bitfinex"
    trades_span = 10_000
    trades_horizon_ms = 0

    def __init__(self, name: str, settings: BitfinexSettings) -> None:
        self.name = name
        self.facts = Facts(
            Continuity.CONNECTION,
            "in band",
            levels=settings.depth,
            checksum=RULE if settings.depth >= LEVELS else None,
            trade_ids="rising",
            second_source="checksum" if settings.depth >= LEVELS else "in band",
            limits=(Limit(15, 60.0),),
            busy=((b"ERR_RATE_LIMIT", 60.0), (b"ratelimit: error", 60.0)),
            openings=Limit(20, 60.0),
            subscriptions=settings.streams_per_socket,
        )
        self.book_rule = self.facts.book_rule
        self.order_feed = (
            OrderFeed(order_rules(settings.orders_depth), by_id=False, message=partial(order_message, name))
            if settings.orders
            else None
        )
        self._settings = settings
        self._rest = f"{settings.rest_url.rstrip('/')}/v2"
        self._numbers = count(1)

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """One kind of socket for books and trades, and one for single orders."""
        streams = []
        for symbol in symbols:
            pair = wire_symbol(symbol)
            streams.append(Subscription(f"book:{pair}", "depth", symbol))
            if self._settings.trades != "none":
                streams.append(Subscription(f"trades:{pair}", "aggTrade", symbol))
        found = [Endpoint(self._settings.websocket_url, streams)]
        if self._settings.orders:
            single = [
                Subscription(f"orders:{wire_symbol(symbol)}", "orders", symbol, PATIENCE)
                for symbol in symbols
            ]
            found.append(Endpoint(self._settings.websocket_url, single, extra=True))
        return found

    def session(self, url: str) -> BitfinexSession:
        """Of a new socket."""
        return BitfinexSession(self.name, self._settings)

    def wire_symbol(self, symbol: str) -> str:
        """`DOGE_USD` → `tDOGE:USD`."""
        return wire_symbol(symbol)

    def symbol_of(self, wire_symbol: str) -> str:
        """`tDOGE:USD` → `DOGE_USD`. Raises: ValueError."""
        return symbol_of(wire_symbol)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a frame of a book, or its checksum. Raises: MalformedFrame.

        Numbers become plain decimals; how they were sent the checksum knows, see there.
        """
        try:
            frame = wire.data_frame(data)
            if frame.payload is None:
                raise ValueError("it is a heartbeat")
            time_ms = frame.time_ms
            event = DepthEvent(symbol, 0, 0, -1, time_ms, max(time_ms, 0), [], [])
            if kind == "checksum":
                event.checksum = _checksum.decode(frame.payload)
                return event
            for row in wire.rows(frame.payload)[0]:
                is_bid, level = _level(_entry.decode(row))
                (event.bids if is_bid else event.asks).append(level)
        except (*UNUSABLE, ValueError) as error:
            raise MalformedFrame(self.name, "book frame", str(error), data) from None
        return event

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode `[658733916,1617643611128,0.7574881,230890]`. Raises: MalformedFrame."""
        row = decode(self.name, _trade_row, data, "trade")
        try:
            return _trade(symbol, row)
        except ValueError as error:
            raise MalformedFrame(self.name, "trade", str(error), data) from None

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest | None:
        """`GET trades/tBTCUSD/hist?start=`, the oldest first, by time and not by id.

        Args:
            from_id: not asked for; what is below it in the page is known.
            from_ms: time of the last trade that is known.
        """
        return self._history(symbol, start=from_ms)

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[Trade], now_ms: int
    ) -> RestRequest | None:
        """`GET trades/tBTCUSD/hist?start=&end=` by the times of the two trades, both included, the oldest first."""
        start = rows[-1].trade_time if rows else stretch.before.trade_time
        return self._history(symbol, start=start, end=max(start, stretch.after.trade_time))

    def _history(self, symbol: str, **times: int) -> RestRequest:
        # the number makes it another page to the caches in between, which hold one for 5 s
        query = {**times, "limit": self.trades_span, "sort": 1, "_": next(self._numbers)}
        return self._request(f"trades/{wire_symbol(symbol)}/hist?{urlencode(query)}")

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page of trades; they come out in id order, each once. Raises: MalformedFrame."""
        try:
            rows = [_trade_row.decode(row) for row in _elements.decode(body)]
            by_id = {row.trade_id: _trade(symbol, row) for row in rows}
        except (*UNUSABLE, ValueError) as error:
            raise MalformedFrame(self.name, "trades page", str(error), body) from None
        return [by_id[trade_id] for trade_id in sorted(by_id)]

    def time_request(self) -> RestRequest | None:
        """None: Bitfinex has no clock to ask but the `Date` of its replies."""
        return None

    def time_ms(self, body: bytes) -> int:
        """Never asked for. Raises: MalformedFrame."""
        raise MalformedFrame(self.name, "time", "there is no clock to ask", body)

    def info_request(self) -> RestRequest:
        """`GET conf/pub:list:pair:exchange`, or `…:futures`."""
        of_market = "exchange" if self._settings.market == "spot" else "futures"
        return self._request(f"conf/pub:list:pair:{of_market}")

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode `[["BTCUSD","DOGE:USD",…]]`. Raises: MalformedFrame."""
        return exchange_info(decode(self.name, _pairs, body, "list of pairs")[0])

    def tickers_request(self) -> RestRequest:
        """`GET tickers?symbols=ALL`."""
        return self._request("tickers?symbols=ALL")

    def tickers(self, body: bytes) -> Tickers:
        """Decode the tickers of all pairs. Raises: MalformedFrame."""
        return tickers(decode(self.name, _elements, body, "tickers"))

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`["error",10020,"symbol: invalid"]` or `{"error":"ERR_RATE_LIMIT"}`."""
        try:
            if body.lstrip()[:1] == b"{":
                return 0, _error_object.decode(body).get("error", "")
            word, code, message = _error_list.decode(body)
        except UNUSABLE:
            return 0, ""
        return (code, message) if word == "error" else (0, "")

    def _request(self, path: str) -> RestRequest:
        return RestRequest(f"{self._rest}/{path}", 1, self.pool, _MOST_BYTES)


def _level(entry: wire.Entry) -> tuple[bool, Level]:
    """Whether it is a bid, and the level; a count of zero deletes, and the amount then only has the side's sign."""
    amount = number_text(entry.amount)
    quantity = amount.removeprefix("-")
    if not quantity.strip("0."):
        raise ValueError("an amount of zero is of no side")
    return amount == quantity, (number_text(entry.price), quantity if entry.count else "0")


def _trade(symbol: str, row: wire.TradeRow) -> Trade:
    amount, price = number_text(row.amount), number_text(row.price)
    sells = amount[0] == "-"
    quantity, trade_id, time_ms = amount.removeprefix("-"), row.trade_id, row.time_ms
    return marked(Trade(symbol, trade_id, price, quantity, trade_id, trade_id, time_ms, time_ms, sells))
