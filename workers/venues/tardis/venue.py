"""Tardis: any exchange that a tardis-machine knows, by its normalized messages.

No ids of books survive: what is missing the machine tells, and trade ids where they are consecutive. Numbers are
doubles as JavaScript prints them. Source: Tardis' documentation of tardis-machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from workers.errors import MalformedFrame
from workers.model.derivatives.figures import DerivativesUpdate, Figure, Liquidation, figures_of
from workers.model.events import DepthEvent, Kind, Level, Trade
from workers.model.trades.absurd import marked
from workers.venues.channels import QUIET, ExtraChannel
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Endpoint, ExchangeInfo, Tickers
from workers.venues.lacking import NoAnnouncements, NoLimitsTold, NoOrders, NoRestBooks, NoStretches
from workers.venues.messages import Subscription
from workers.venues.requests import RestRequest
from workers.venues.tardis import symbols as listings
from workers.venues.tardis import wire
from workers.venues.tardis.session import PATH, TardisSession, address, stream_of
from workers.venues.tardis.settings import CONSECUTIVE, TardisSettings
from workers.venues.tolerant_json import UNUSABLE, decode, malformed
from workers.venues.wire_values import milliseconds, number_text

_MOST_BYTES: Final = 32 * 2**20
"""The list of symbols of an exchange of options has some MB."""
_NOTHING: Final = bytes(wire.NOTHING)
_book = msgspec.json.Decoder(wire.BookChange)
_break = msgspec.json.Decoder(wire.Head)
_trade = msgspec.json.Decoder(wire.Trade)
_liquidation = msgspec.json.Decoder(wire.Liquidation)
_ticker = msgspec.json.Decoder(wire.DerivativeTicker)
_exchange = msgspec.json.Decoder(wire.Exchange)
_error = msgspec.json.Decoder(wire.ErrorBody)


class Tardis(NoAnnouncements, NoLimitsTold, NoOrders, NoRestBooks, NoStretches):
    """One exchange behind a tardis-machine as a `Venue`.

    Args:
        name: the settings section, used in errors, logs and metrics.
        settings: which exchange, where the machine is, and what else may be chosen.
    """

    trades_span = 1
    trades_horizon_ms = 0

    def __init__(self, name: str, settings: TardisSettings) -> None:
        self.name = name
        self.pool = "tardis"
        ids = settings.trade_ids or ("consecutive" if settings.market in CONSECUTIVE else "neither")
        self.facts = Facts(
            Continuity.NONE,
            "in band",
            trade_ids=ids,
            second_source="none",
            limits=(Limit(60, 60.0),),
            subscriptions=settings.streams_per_socket,
            openings=Limit(4, 1.0),
            largest_frame=32 * 2**20,
        )
        self.book_rule = self.facts.book_rule
        self._settings = settings
        self._url = f"{settings.websocket_url.rstrip('/')}{PATH}"
        self._rest = settings.rest_url.rstrip("/")
        readers = {"derivative_ticker": self._figures, "liquidation": self._liquidations}
        self.channels: Mapping[str, ExtraChannel] = {
            channel: ExtraChannel(QUIET, read=readers[channel]) for channel in settings.channels
        }

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """Sockets of books and trades, and of what the settings ask for besides."""
        streams = []
        for symbol in symbols:
            streams.append(Subscription(stream_of("book_change", symbol), "depth", symbol))
            if self._settings.trades != "none":
                streams.append(Subscription(stream_of("trade", symbol), "aggTrade", symbol, QUIET))
        extra = [
            Subscription(stream_of(channel, symbol), channel, symbol, QUIET)
            for channel in self.channels
            for symbol in symbols
        ]
        asked = partial(address, self._url, self._settings)
        endpoints = [Endpoint(self._url, streams, address=asked)]
        return [*endpoints, Endpoint(self._url, extra, extra=True, address=asked)] if extra else endpoints

    def session(self, url: str) -> TardisSession:
        """Of a new socket."""
        return TardisSession(self.name, self._settings, url)

    def wire_symbol(self, symbol: str) -> str:
        """As Tardis spells it."""
        return listings.wire_symbol(self._settings.market, symbol)

    def symbol_of(self, wire_symbol: str) -> str:
        """The reverse. Raises: ValueError."""
        return listings.symbol_of(self._settings.market, wire_symbol)

    def depth(self, data: bytes, symbol: str, kind: Kind) -> DepthEvent:
        """Decode a `book_change`, or why a book is void. Raises: MalformedFrame."""
        if kind == "break":
            why = decode(self.name, _break, data, "break").type
            return DepthEvent(symbol, 0, 0, -1, -1, 0, [], [], kind, why=why)
        book = decode(self.name, _book, data, "book_change")
        time_ms = milliseconds(book.timestamp)
        try:
            return DepthEvent(symbol, 0, 0, -1, time_ms, time_ms, _levels(book.bids), _levels(book.asks))
        except ValueError as error:
            raise malformed(self.name, "book_change", str(error), data) from None

    def trade(self, data: bytes, symbol: str) -> Trade:
        """Decode a `trade`. Of one whose side is unknown the buyer is taken for who took. Raises: MalformedFrame."""
        row = decode(self.name, _trade, data, "trade")
        time_ms = milliseconds(row.timestamp)
        try:
            number = int(row.id or "") if self.facts.trade_ids == "consecutive" else 0
            price, quantity = number_text(row.price), number_text(row.amount)
        except ValueError as error:
            raise malformed(self.name, "trade", str(error), data) from None
        is_sold = row.side == "sell"
        return marked(Trade(symbol, number, price, quantity, number, number, time_ms, time_ms, is_sold))

    def _figures(self, data: bytes) -> DerivativesUpdate:
        row = decode(self.name, _ticker, data, "derivative_ticker")
        time_ms = milliseconds(row.timestamp)
        told = (("mark_price", row.mark_price), ("index_price", row.index_price),
                ("funding_rate", row.funding_rate), ("open_interest", row.open_interest))  # fmt: skip
        try:
            values = [(name, number_text(value)) for name, value in told if bytes(value) != _NOTHING]
            figures = figures_of(time_ms, values)
        except ValueError as error:
            raise malformed(self.name, "derivative_ticker", str(error), data) from None
        if row.funding_timestamp is not None:
            figures["next_funding_time"] = Figure(str(milliseconds(row.funding_timestamp)), time_ms)
        return DerivativesUpdate(figures)

    def _liquidations(self, data: bytes) -> DerivativesUpdate:
        row = decode(self.name, _liquidation, data, "liquidation")
        time_ms = milliseconds(row.timestamp)
        try:
            price, quantity = number_text(row.price), number_text(row.amount)
        except ValueError as error:
            raise malformed(self.name, "liquidation", str(error), data) from None
        if row.side not in ("buy", "sell"):
            raise malformed(self.name, "liquidation", f"its side is {row.side[:40]!r}", data)
        side, name = row.side, row.id or ""
        liquidation = Liquidation(side, price, quantity, time_ms, time_ms, name=name)  # type: ignore[arg-type]  # a side, as was looked at
        return DerivativesUpdate(liquidations=(liquidation,))

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest | None:
        """None: the machine has the past only after a while."""
        return None

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Never asked for. Raises: MalformedFrame."""
        raise MalformedFrame(self.name, "trades page", "the machine has none", body)

    def time_request(self) -> RestRequest | None:
        """None: it shows no clock."""
        return None

    def time_ms(self, body: bytes) -> int:
        """Never asked for. Raises: MalformedFrame."""
        raise MalformedFrame(self.name, "time", "Tardis shows no clock", body)

    def info_request(self) -> RestRequest:
        """`GET /v1/exchanges/<exchange>`."""
        return RestRequest(f"{self._rest}/v1/exchanges/{self._settings.market}", 1, self.pool, _MOST_BYTES)

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode its `availableSymbols`. Raises: MalformedFrame."""
        elements = decode(self.name, _exchange, body, "exchange").available_symbols
        return listings.info(self._settings.market, elements)

    def tickers_request(self) -> RestRequest:
        """The list again: Tardis does not tell what traded."""
        return self.info_request()

    def tickers(self, body: bytes) -> Tickers:
        """The symbols, without volumes. Raises: MalformedFrame."""
        return listings.tickers(self.info(body))

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"code":100,"message":"…"}`."""
        try:
            error = _error.decode(body)
        except UNUSABLE:
            return 0, ""
        return error.code, error.message


def _levels(levels: Sequence[wire.Level]) -> list[Level]:
    return [(number_text(level.price), number_text(level.amount)) for level in levels]
