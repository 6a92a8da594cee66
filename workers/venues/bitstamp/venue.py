"""Bitstamp, spot pairs and perpetuals, WebSocket and HTTP API v2.

Sources of the rules: Bitstamp's documents of the WebSocket v2 and the HTTP API, and recordings. In ten pairs of 2021
the messages after a REST book's `microtimestamp` continue it without a crossed book or a delete of what is not there.
In BTC/USD of 2026 a REST book held an ask that no message takes back: books may cross, and must be begun again then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import UNSET

from workers.model.events import DepthEvent, Kind, Snapshot, Trade
from workers.model.trades.absurd import marked
from workers.venues.bitstamp import orders, wire
from workers.venues.bitstamp.session import BitstampSession
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.symbols import markets, symbol_of, tickers, wire_symbol
from workers.venues.channels import PATIENCE
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Endpoint, ExchangeInfo, Stretch, Tickers
from workers.venues.lacking import NoAnnouncements, NoBestLevels, NoChannels, NoLimitsTold
from workers.venues.messages import Subscription
from workers.venues.order_feed import OrderFeed
from workers.venues.requests import RestRequest
from workers.venues.tolerant_json import UNUSABLE, decode
from workers.venues.wire_values import levels_of

WHOLE_LEVELS: Final = 100
"""Levels a side of `order_book`."""
_DAY_MS: Final = 86_400_000
_PAGES: Final = ((60_000, "minute"), (3_600_000, "hour"), (_DAY_MS, "day"))
"""How far back a page of transactions goes, ms, and its name."""
_STRETCH_SLACK_MS: Final = 5_000
"""How much older than a trade a page is asked for that shall have it: a request takes its time, and clocks differ."""
_MOST_BOOK_BYTES: Final = 8 * 2**20
_MOST_ORDERS_BYTES: Final = 32 * 2**20
"""110,000 orders have some 6 MB."""
_MOST_PAGE_BYTES: Final = 32 * 2**20
"""A day of the busiest pair has some 10 MB."""


def facts_of(settings: BitstampSettings) -> Facts:
    """What is true of it as it is set."""
    facts = Facts(
        Continuity.RISING,
        "rest",
        trade_ids="rising",
        second_source="rest",
        limits=(Limit(400, 1.0), Limit(10_000, 600.0)),
        busy=((b'"400.002"', 60.0), (b'"400.067"', 60.0), (b'"400.068"', 60.0)),
        subscriptions=settings.streams_per_socket,  # the 1,025th is answered by a close
    )
    if settings.depth == "diff_order_book":
        return facts
    return facts._replace(
        continuity=Continuity.NONE, snapshots="in band", levels=WHOLE_LEVELS, second_source="in band"
    )


class Bitstamp(NoAnnouncements, NoBestLevels, NoChannels, NoLimitsTold):
    """Bitstamp as a `Venue`.

    Args:
        name: the settings section, used in errors, logs and metrics.
    """

    pool = "bitstamp"
    trades_span = 1000
    """Of no consequence: a page is of a time, however many trades it has."""
    trades_horizon_ms = _DAY_MS

    def __init__(self, name: str, settings: BitstampSettings) -> None:
        self.name = name
        self.facts = facts_of(settings)
        self.book_rule = self.facts.book_rule
        self._settings = settings
        self._rest = settings.rest_url.rstrip("/") + "/api/v2"
        self._nonces = count(1)
        self.order_feed = self._order_feed() if settings.orders else None

    def wire_symbol(self, symbol: str) -> str:
        """`BTCUSD-PERP` → `btcusd-perp`."""
        return wire_symbol(symbol)

    def symbol_of(self, wire_symbol: str) -> str:
        """The same the other way. Raises: ValueError."""
        return symbol_of(wire_symbol)

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """One socket for books and trades, and one for single orders, which are many."""
        settings, names = self._settings, [(symbol, wire_symbol(symbol)) for symbol in symbols]
        streams = [Subscription(f"{settings.depth}_{name}", "depth", symbol) for symbol, name in names]
        if settings.trades != "none":
            streams += [
                Subscription(f"{settings.trades}_{name}", "aggTrade", symbol) for symbol, name in names
            ]
        found = [Endpoint(settings.websocket_url, streams)]
        if settings.orders:
            single = [
                Subscription(f"{orders.CHANNEL}_{name}", "orders", symbol, PATIENCE) for symbol, name in names
            ]
            found.append(Endpoint(settings.websocket_url, single, extra=True))
        return found

    def session(self, url: str) -> BitstampSession:
        """A new session for a socket."""
        return BitstampSession(self.name, self._settings)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a book message; its ids are its microtimestamp, as a REST book's is. Raises: MalformedFrame."""
        book = decode(self.name, wire.book_frame_decoder, data, "book").data
        time = book.microtimestamp
        bids, asks = levels_of(book.bids), levels_of(book.asks)
        return DepthEvent(symbol, time, time, 0, time // 1000, time // 1000, bids, asks)

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode a `live_trades` frame. Raises: MalformedFrame.

        Its ids rise, and are of one counter for all pairs. There are no off-book trades.
        """
        row = decode(self.name, wire.trade_frame_decoder, data, "trade").data
        time = row.microtimestamp // 1000
        return self._traded(symbol, row.id, row.price_str, row.amount_str, time, row.type)

    @staticmethod
    def _traded(symbol: str, identity: int, price: str, amount: str, time_ms: int, side: int) -> Trade:
        trade = Trade(symbol, identity, price, amount, identity, identity, time_ms, time_ms, side == 1)
        return marked(trade)

    def _request(self, path: str, most_bytes: int, **query: str | int) -> RestRequest:
        query_text = f"?{urlencode(query)}" if query else ""
        return RestRequest(f"{self._rest}/{path}/{query_text}", 1, "bitstamp", most_bytes)

    def snapshot_request(self, symbol: str, levels: int | None = None, now_ms: int = 0) -> RestRequest | None:
        """`GET order_book`; it has a number nobody asked with lately, as an edge keeps replies for about a second.

        Args:
            levels: of no consequence, the whole book comes.
            now_ms: the time; 0: numbers count from 1.
        """
        nonce = now_ms or next(self._nonces)
        path = f"order_book/{quote(wire_symbol(symbol))}"
        return self._request(path, _MOST_BOOK_BYTES, group=1, _=nonce)

    def snapshot(self, symbol: str, body: bytes, levels: int | None = None) -> Snapshot:
        """Decode its reply. Raises: MalformedFrame."""
        book = decode(self.name, wire.book_decoder, body, "depth snapshot")
        time = book.microtimestamp
        bids, asks = levels_of(book.bids), levels_of(book.asks)
        return Snapshot(symbol, time, bids, asks, time // 1000, partial=levels is not None)

    def _order_feed(self) -> OrderFeed:
        name, seeded = self.name, self._settings.orders_seed
        return OrderFeed(
            orders.SEEDED if seeded else orders.LIVE,
            by_id=True,
            message=partial(orders.order_message, name),
            seed_request=self._seed_request if seeded else None,
            seed=partial(orders.order_seed, name) if seeded else None,
        )

    def _seed_request(self, symbol: str) -> RestRequest:
        """`GET order_book` order by order, with a number nobody asked with lately."""
        path = f"order_book/{quote(wire_symbol(symbol))}"
        return self._request(path, _MOST_ORDERS_BYTES, group=2, _=next(self._nonces))

    def trades_request(
        self, symbol: str, from_id: int | None, from_ms: int = 0, now_ms: int = 0
    ) -> RestRequest:
        """`GET transactions` of the last minute, hour or day, whichever has `from_ms`; an hour where none is known."""
        age = now_ms - from_ms if now_ms and from_ms else _PAGES[1][0] - 1
        span = next((name for most, name in _PAGES if age < most), _PAGES[-1][1])
        return self._request(f"transactions/{quote(wire_symbol(symbol))}", _MOST_PAGE_BYTES, time=span)

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[Trade], now_ms: int
    ) -> RestRequest | None:
        """The shortest page of `transactions` that has the earlier trade: its times are whole seconds."""
        if rows:
            return None
        return self.trades_request(symbol, None, stretch.before.trade_time - _STRETCH_SLACK_MS, now_ms)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page; it comes out in id order, each trade once. Its times have no more than seconds."""
        rows = decode(self.name, wire.transactions_decoder, body, "transactions")
        by_id = {row.tid: row for row in rows}
        return [
            self._traded(symbol, row.tid, row.price, row.amount, row.date * 1000, row.type)
            for row in (by_id[identity] for identity in sorted(by_id))
        ]

    def time_request(self) -> RestRequest | None:
        """None: no reply tells the time in less than seconds; the stream's microtimestamps do."""
        return None

    def time_ms(self, body: bytes) -> int:
        """The time of a REST book. Raises: MalformedFrame."""
        return decode(self.name, wire.book_head_decoder, body, "time").microtimestamp // 1000

    def info_request(self) -> RestRequest:
        """`GET markets`."""
        return self._request("markets", _MOST_PAGE_BYTES)

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode it."""
        rows = decode(self.name, wire.elements_decoder, body, "markets")
        return markets(rows)

    def tickers_request(self) -> RestRequest:
        """`GET ticker` of all pairs."""
        return self._request("ticker", _MOST_PAGE_BYTES)

    def tickers(self, body: bytes) -> Tickers:
        """Decode them."""
        rows = decode(self.name, wire.elements_decoder, body, "tickers")
        return tickers(rows)

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"status":"error","reason":"…","code":"API0012"}`, `{"response_code":"400.002",…}`; HTML gives (0, "")."""
        try:
            refusal = wire.refusal_decoder.decode(body)
        except UNUSABLE:
            return 0, ""
        said = (refusal.reason, refusal.error, refusal.response_explanation)
        message = next((text for sent in said if sent is not UNSET and (text := wire.text_of(sent))), "")
        return wire.code_number(refusal.response_code) or wire.code_number(refusal.code), message
