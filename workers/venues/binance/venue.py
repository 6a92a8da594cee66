"""Binance spot, USD-M and COIN-M futures.

Sources of the rules: Binance's "How to manage a local order book correctly" (spot and futures pages), the
change notice of 2026-03-06 that split USD-M sockets into `/public` (depth) and `/market` (aggTrade), and wire
captures where the documents and the wire differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET

from workers.errors import MalformedFrame
from workers.model.books.sequence import SequenceRule
from workers.model.events import BookTicker, DepthEvent, Kind, Level, Snapshot, Trade
from workers.model.trades.absurd import marked
from workers.venues.binance import wire
from workers.venues.binance.channels import channels_of, endpoints_of
from workers.venues.binance.hosts import ASSUMED_WEIGHT, other_domain
from workers.venues.binance.session import BinanceSession
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.symbols import FAMILIES, exchange_info, stream_symbol, tickers
from workers.venues.binance.wire import milliseconds
from workers.venues.facts import Continuity, Facts, Limit
from workers.venues.interface import Announcements, Endpoint, ExchangeInfo, Tickers
from workers.venues.lacking import NoOrders, NoStretches
from workers.venues.messages import (
    Acknowledged,
    ContractNotice,
    Ignored,
    Message,
    Refused,
    ShutdownNotice,
    Subscription,
)
from workers.venues.requests import RestRequest
from workers.venues.session import Event, Session
from workers.venues.tolerant_json import decode
from workers.venues.wire_values import WireLevel, levels_of


class _Market(NamedTuple):
    """What differs between the markets; weights are those of one request."""

    websocket_url: str
    depth_path: str
    trades_path: str
    rest_url: str
    api: str
    rule: SequenceRule
    pool: str
    weight_limit: int
    depth_limits: tuple[int, ...]
    depth_weights: tuple[tuple[int, int], ...]
    trades_weight: int
    trades_horizon_ms: int
    raw_trades: str
    raw_trades_weight: int
    info_weight: int
    tickers_weight: int


_MOST_PAGE_BYTES: Final = 8 * 2**20
"""A page of 5,000 levels a side, or of 1,000 trades, has less than half a megabyte."""
_MOST_BYTES: Final = {"time": 65_536, "exchangeInfo": 64 * 2**20, "ticker/24hr": 32 * 2**20}
"""All of spot's symbols make some 15 MB."""
_BANNED_UNTIL: Final = re.compile(r"banned until ([0-9]{13})(?![0-9])")
"""ms since 1970."""

_SPOT = _Market(
    websocket_url="wss://stream.binance.com:9443",
    depth_path="",
    trades_path="",
    rest_url="https://api.binance.com",
    api="/api/v3",
    rule=SequenceRule.SPOT,
    pool="spot",
    weight_limit=6000,
    depth_limits=(),
    depth_weights=((100, 5), (500, 25), (1000, 50), (5000, 250)),
    trades_weight=4,
    trades_horizon_ms=0,
    raw_trades="historicalTrades",
    raw_trades_weight=25,
    info_weight=20,
    tickers_weight=80,
)
_USDM = _Market(
    websocket_url="wss://fstream.binance.com",
    depth_path="/public",
    trades_path="/market",
    rest_url="https://fapi.binance.com",
    api="/fapi/v1",
    rule=SequenceRule.FUTURES,
    pool="um+cm",
    weight_limit=2400,
    depth_limits=(5, 10, 20, 50, 100, 500, 1000),
    depth_weights=((50, 2), (100, 5), (500, 10), (1000, 20)),
    trades_weight=20,
    trades_horizon_ms=48 * 3_600_000,
    raw_trades="trades",
    raw_trades_weight=5,
    info_weight=1,
    tickers_weight=40,
)
_COINM = _USDM._replace(
    websocket_url="wss://dstream.binance.com",
    depth_path="",
    trades_path="",
    rest_url="https://dapi.binance.com",
    api="/dapi/v1",
    trades_horizon_ms=24 * 3_600_000,
)
_depth_reply = msgspec.json.Decoder(wire.DepthReply[wire.Pair])
_long_depth_reply = msgspec.json.Decoder(wire.DepthReply[WireLevel])
_MARKETS: Final = {"spot": _SPOT, "usdm": _USDM, "coinm": _COINM}

Decoded = TypeVar("Decoded")


def _depth_event(
    event: wire.DepthUpdate[wire.Pair] | wire.DepthUpdate[WireLevel], bids: list[Level], asks: list[Level]
) -> DepthEvent:
    sent, matched = milliseconds(event.E), milliseconds(event.T)
    return DepthEvent(event.s, event.U, event.u, event.pu, sent, matched, bids, asks)


class Binance(NoStretches, NoOrders):
    """One Binance market as a `Venue`.

    Args:
        name: the settings section, used in errors, logs and metrics.
        settings: hosts, speeds and limits of the section.
    """

    used_weight_header = "X-MBX-USED-WEIGHT-1M"
    trades_span = 1000

    def __init__(self, name: str, settings: BinanceSettings) -> None:
        self.name = name
        self.channels = channels_of(
            name, settings.channels, lambda symbol: self._request("openInterest", 1, symbol=symbol)
        )
        self._market = market = _MARKETS[settings.market]
        elsewhere = other_domain(settings.rest_url)
        weight_limit = min(market.weight_limit, ASSUMED_WEIGHT) if elsewhere else market.weight_limit
        self.facts = Facts(
            Continuity.FIRST if market.rule is SequenceRule.SPOT else Continuity.PREVIOUS,
            "rest",
            limits=(Limit(weight_limit, 60.0),),
            subscriptions=settings.streams_per_socket,
            openings=Limit(300, 300.0),
            depth_stream=f"depth@{settings.depth_speed}" if settings.depth_speed else "depth",
        )
        self.book_rule = self.facts.book_rule
        self.pool = f"{market.pool} {elsewhere}".rstrip()
        self.trades_horizon_ms = market.trades_horizon_ms
        self._settings = settings
        self._rest = (settings.rest_url or market.rest_url).rstrip("/") + market.api
        self._base = (settings.websocket_url or market.websocket_url).rstrip("/")
        self._trades_path = market.trades_path if settings.market_path is None else settings.market_path
        self._raw_trades = settings.trades == "trade"
        self._envelope = msgspec.json.Decoder(wire.Envelope)
        self._depth_head = msgspec.json.Decoder(wire.DepthHead)
        self._trade_head = msgspec.json.Decoder(wire.TradeHead)
        self._raw_trade_head = msgspec.json.Decoder(wire.RawTradeHead)
        self._depth = msgspec.json.Decoder(wire.DepthUpdate[wire.Pair])
        self._long_depth = msgspec.json.Decoder(wire.DepthUpdate[WireLevel])
        self._trade = msgspec.json.Decoder(wire.AggregateTrade)
        self._raw_trade = msgspec.json.Decoder(wire.RawTrade)
        self._ticker_head = msgspec.json.Decoder(wire.TickerHead)
        self._best_levels = msgspec.json.Decoder(wire.BestLevels)

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        """Two sockets where the path roots of depth and trades differ (USD-M), else one."""
        settings, base = self._settings, self._base
        depth_path = self._market.depth_path if settings.public_path is None else settings.public_path
        trades_path = self._trades_path
        if self._raw_trades:
            trades_path = depth_path  # `@trade` is a public-class stream
        speed = f"@{settings.depth_speed}" if settings.depth_speed else ""
        by_path: dict[str, list[Subscription]] = {}
        names = {symbol: stream_symbol(symbol) for symbol in symbols}
        for symbol, name in names.items():
            by_path.setdefault(depth_path, []).append(Subscription(f"{name}@depth{speed}", "depth", symbol))
            if settings.book_ticker:
                by_path[depth_path].append(Subscription(f"{name}@bookTicker", "bookTicker", symbol))
            if settings.trades != "none":
                stream = f"{name}@{settings.trades}"
                by_path.setdefault(trades_path, []).append(Subscription(stream, "aggTrade", symbol))
        followed = [Endpoint(f"{base}{path}/stream", streams) for path, streams in by_path.items()]
        urls = (f"{base}{path}/stream" for path in (depth_path, self._trades_path))
        return [*followed, *endpoints_of(self.channels, names, *urls)]

    def wire_symbol(self, symbol: str) -> str:
        """The same."""
        return symbol

    def symbol_of(self, wire_symbol: str) -> str:
        """The same."""
        return wire_symbol

    def session(self, url: str) -> Session:
        """A socket's session; the same for all endpoints."""
        return BinanceSession(self.name, self.split)

    def split(self, frame: bytes | str) -> Event:
        """File one frame, combined (`{"stream":…,"data":{…}}`) or bare; `data` keeps the exchange's bytes."""
        envelope = self._decoded(self._envelope, frame, "frame")
        if envelope.data is not UNSET and envelope.stream is not UNSET:
            kind = envelope.stream.partition("@")[2] or envelope.stream
            return self._event(kind, bytes(envelope.data))
        if envelope.e is not UNSET:
            return self._event(envelope.e, frame if isinstance(frame, bytes) else frame.encode())
        request_id = envelope.id if isinstance(envelope.id, int) else None
        if envelope.error is not UNSET:
            return Refused(request_id, envelope.error.code, envelope.error.msg)
        if envelope.code is not UNSET:
            return Refused(request_id, envelope.code, envelope.msg)
        if envelope.result is not UNSET and request_id is not None:
            return Acknowledged(request_id)
        excerpt = frame if isinstance(frame, bytes) else frame.encode()
        raise MalformedFrame(self.name, "frame", "neither data, nor a reply, nor an error", excerpt)

    def _event(self, kind: str, data: bytes) -> Event:
        if kind in ("depth", "depthUpdate") or kind.startswith("depth@"):
            depth = self._decoded(self._depth_head, data, "depth event")
            if not 0 <= depth.U <= depth.u:
                raise MalformedFrame(self.name, "depth event", f"U {depth.U} is not in 0..u {depth.u}", data)
            return Message("depth", depth.s, data, milliseconds(depth.E), depth.U, depth.u, depth.pu)
        if kind == "aggTrade":
            head = self._decoded(self._trade_head, data, "aggTrade event")
            return self._traded(head.s, data, head.T, head.a)
        if kind == "trade" and self._raw_trades:
            raw = self._decoded(self._raw_trade_head, data, "trade event")
            return self._traded(raw.s, data, raw.T, raw.t)
        if kind == "bookTicker" and self._settings.book_ticker:
            best = self._decoded(self._ticker_head, data, "bookTicker event")
            if best.u < 0:
                raise MalformedFrame(self.name, "bookTicker event", f"its id is {best.u}", data)
            time = -1 if best.E is UNSET else milliseconds(best.E)
            return Message("bookTicker", best.s, data, time, best.u, best.u, 0)
        if kind in ("serverShutdown", "!serverShutdown"):
            return ShutdownNotice()
        if kind in ("contractInfo", "!contractInfo"):
            contract = self._decoded(msgspec.json.Decoder(wire.ContractInfo), data, "contractInfo event")
            if contract.st in (0, FAMILIES.get(self._settings.market)):
                return ContractNotice(contract.s, contract.cs, milliseconds(contract.E))
        return Ignored(kind)

    def _traded(self, symbol: str, data: bytes, time: int, trade_id: int) -> Message:
        if trade_id < 0:
            raise MalformedFrame(self.name, "trade event", f"its id is {trade_id}", data)
        return Message("aggTrade", symbol, data, milliseconds(time), trade_id, trade_id, -1)

    def depth(self, data: bytes, symbol: str = "", kind: Kind = "update") -> DepthEvent:
        """Decode a `depthUpdate`, which names its symbol; snapshots come over REST."""
        try:
            event = self._depth.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            longer = self._decoded(self._long_depth, data, "depth event")
            return _depth_event(longer, levels_of(longer.b), levels_of(longer.a))
        return _depth_event(event, event.b, event.a)

    def trade(self, data: bytes, symbol: str = "") -> Trade:
        """Decode an `aggTrade`, or a `trade` where the settings ask for those."""
        if self._raw_trades:
            raw = self._decoded(self._raw_trade, data, "trade event")
            time, sent = milliseconds(raw.T), milliseconds(raw.E)
            market = raw.X == "MARKET"
            return marked(Trade(raw.s, raw.t, raw.p, raw.q, raw.t, raw.t, time, sent, raw.m, market))
        event = self._decoded(self._trade, data, "aggTrade event")
        return self._aggregate(event.s, event)

    def _aggregate(self, symbol: str, row: wire.AggregateTrade) -> Trade:
        time = milliseconds(row.T)
        sent = milliseconds(row.E) or time
        return marked(Trade(symbol, row.a, row.p, row.q, row.f, row.l, time, sent, row.m))

    def ticker(self, data: bytes) -> BookTicker:
        """Decode a `bookTicker`."""
        best = self._decoded(self._best_levels, data, "bookTicker event")
        return BookTicker(best.s, best.u, (best.b, best.B), (best.a, best.A), milliseconds(best.E))

    def _request(self, path: str, weight: int, **query: str | int) -> RestRequest:
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        most = _MOST_BYTES.get(path, _MOST_PAGE_BYTES)
        return RestRequest(f"{self._rest}/{path}{asked}", weight, self.pool, most)

    @property
    def snapshot_limit(self) -> int:
        """Levels per side a snapshot request really asks for (futures take only certain numbers)."""
        return self._limit(self._settings.snapshot_depth)

    def _limit(self, levels: int) -> int:
        allowed = self._market.depth_limits
        if not allowed:
            return min(levels, 5000)
        return next((limit for limit in allowed if limit >= levels), allowed[-1])

    def snapshot_request(self, symbol: str, levels: int | None = None) -> RestRequest:
        """`GET depth`; its weight grows with the limit, so `levels` per side may be fewer than a book begins with."""
        limit = self.snapshot_limit if levels is None else self._limit(levels)
        weight = next(cost for up_to, cost in self._market.depth_weights if limit <= up_to)
        return self._request("depth", weight, symbol=symbol, limit=limit)

    def snapshot(self, symbol: str, body: bytes, levels: int | None = None) -> Snapshot:
        """Decode `{"lastUpdateId":…,"bids":[[price,qty]],"asks":[…]}`; an id of -1 is a symbol without trades."""
        limit = self.snapshot_limit if levels is None else self._limit(levels)
        partial = levels is not None
        try:
            reply = _depth_reply.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            longer = self._decoded(_long_depth_reply, body, "depth snapshot")
            bids, asks = levels_of(longer.bids), levels_of(longer.asks)
            return Snapshot(symbol, longer.lastUpdateId, bids, asks, milliseconds(longer.E), limit, partial)
        sent_ms = milliseconds(reply.E)
        return Snapshot(symbol, reply.lastUpdateId, reply.bids, reply.asks, sent_ms, limit, partial)

    def trades_request(self, symbol: str, from_id: int | None, from_ms: int = 0) -> RestRequest:
        """`GET aggTrades?fromId=`; for raw trades spot's `historicalTrades`, on futures only the recent ones."""
        market = self._market
        query: dict[str, str | int] = {"symbol": symbol}
        if from_id is not None and (not self._raw_trades or market.raw_trades == "historicalTrades"):
            query["fromId"] = from_id
        query["limit"] = self.trades_span
        if not self._raw_trades:
            return self._request("aggTrades", market.trades_weight, **query)
        return self._request(market.raw_trades, market.raw_trades_weight, **query)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        """Decode a page of trades; they come out in id order, each once."""
        if self._raw_trades:
            rows = self._decoded(msgspec.json.Decoder(list[wire.RawTradeRow]), body, "trades page")
            found = [self._raw_row(symbol, row) for row in rows]
        else:
            page = self._decoded(msgspec.json.Decoder(list[wire.AggregateTrade]), body, "aggTrades page")
            found = [self._aggregate(symbol, row) for row in page]
        by_id = {trade.trade_id: trade for trade in found}
        return [by_id[trade_id] for trade_id in sorted(by_id)]

    def _raw_row(self, symbol: str, row: wire.RawTradeRow) -> Trade:
        time = milliseconds(row.time)
        return marked(Trade(symbol, row.id, row.price, row.qty, row.id, row.id, time, time, row.isBuyerMaker))

    def time_request(self) -> RestRequest:
        """`GET time`."""
        return self._request("time", 1)

    def time_ms(self, body: bytes) -> int:
        """Decode `{"serverTime":1499827319559}`."""
        reply = self._decoded(msgspec.json.Decoder(wire.TimeReply), body, "time")
        return int(reply.serverTime)

    def info_request(self) -> RestRequest:
        """`GET exchangeInfo`."""
        return self._request("exchangeInfo", self._market.info_weight)

    def info(self, body: bytes) -> ExchangeInfo:
        """Decode exchangeInfo: every symbol, and the request-weight limit of a minute."""
        return exchange_info(
            self._decoded(msgspec.json.Decoder(wire.ExchangeInfoReply), body, "exchangeInfo")
        )

    def tickers_request(self) -> RestRequest:
        """`GET ticker/24hr` of all symbols."""
        return self._request("ticker/24hr", self._market.tickers_weight)

    def tickers(self, body: bytes) -> Tickers:
        """Decode the tickers of all symbols."""
        return tickers(self._decoded(msgspec.json.Decoder(list[msgspec.Raw]), body, "tickers"))

    def announcements(self) -> Announcements | None:
        """`!contractInfo`, a market-class stream of the futures; spot has none."""
        if self._settings.market == "spot":
            return None
        return Announcements(f"{self._base}{self._trades_path}/stream", "!contractInfo")

    def error_of(self, body: bytes) -> tuple[int, str]:
        """`{"code":-1121,"msg":"Invalid symbol."}`; a firewall's HTML page gives (0, "")."""
        try:
            error = msgspec.json.decode(body, type=wire.ErrorBody)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return 0, ""
        return error.code, error.msg

    def banned_until_ms(self, message: str) -> int:
        """`Way too much request weight used; IP banned until 1659146400000. …`"""
        found = _BANNED_UNTIL.search(message)
        return int(found[1]) if found else 0

    def _decoded(self, decoder: Any, frame: bytes | str, place: str) -> Any:
        return decode(self.name, decoder, frame, place)
