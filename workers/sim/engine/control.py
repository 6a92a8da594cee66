"""Control and ground truth under `/control`: what really happened, and switches for tests.

These endpoints belong to the simulation and have no counterpart on a real exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from workers.sim.engine.book import sides_of
from workers.sim.engine.connection import Connection
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.faults import KINDS, ActiveFault, Fault
from workers.sim.engine.feed import SymbolFeed
from workers.sim.engine.history import Fill, TruthNotReachedError, TruthTooOldError

MOST_TRADES: Final = 100_000


class ControlApi:
    """Ground truth and switches of one exchange.

    `connections()` lists the open connections; `step()` brings the exchange up to now and flushes.
    """

    def __init__(
        self, exchange: Exchange[Any], connections: Callable[[], list[Connection]], step: Callable[[], None]
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._step = step

    def routes(self) -> list[web.RouteDef]:
        """All routes under /control."""
        return [
            web.get("/control/truth/book", self._truth_book),
            web.get("/control/truth/trades", self._truth_trades),
            web.get("/control/truth/raw_trades", self._truth_raw_trades),
            web.get("/control/truth/orders", self._truth_orders),
            web.get("/control/truth/derivatives", self._truth_derivatives),
            web.get("/control/truth/summary", self._truth_summary),
            web.post("/control/pause", self._pause),
            web.post("/control/resume", self._resume),
            web.post("/control/disconnect", self._disconnect),
            web.post("/control/shutdown_notice", self._shutdown_notice),
            web.get("/control/connections", self._list_connections),
            web.get("/control/faults", self._list_faults),
            web.post("/control/faults", self._set_fault),
            web.delete("/control/faults", self._remove_faults),
        ]

    def _feed(self, request: web.Request) -> SymbolFeed:
        market, symbol = request.query.get("market", ""), request.query.get("symbol", "")
        markets = self._exchange.flavour.markets
        if market not in markets:
            raise _problem(web.HTTPBadRequest, f"market must be {' or '.join(markets)}")
        feed: SymbolFeed | None = self._exchange.listed(market).get(symbol)
        if feed is None:
            raise _problem(web.HTTPNotFound, "symbol is not listed")
        return feed

    async def _truth_book(self, request: web.Request) -> web.Response:
        """The book exactly as after update id `u` (the newest without `u`), all levels or `depth` of them.

        `stream`: the levels of the stream whose id `u` is, where the exchange numbers each depth apart.
        """
        feed = self._feed(request)
        asked = _whole(request, "u", feed.market.last_id)
        depth = _whole(request, "depth", 10**9)
        try:
            wanted = feed.truth_id(asked, request.query.get("stream", "")) if "u" in request.query else asked
            update_id, levels = feed.market.changes.book_at(wanted)
        except TruthTooOldError as error:
            raise _problem(web.HTTPGone, str(error)) from None
        except TruthNotReachedError as error:
            raise _problem(web.HTTPNotFound, str(error)) from None
        bids, asks = sides_of(levels.items())
        head = msgspec.json.encode(
            {"market": feed.spec.market, "symbol": feed.spec.symbol, "u": asked, "lastUpdateId": update_id}
        ).decode()
        text = f'{head[:-1]},"bids":{feed.spelling.levels(bids[:depth])},"asks":{feed.spelling.levels(asks[:depth])}}}'
        return web.Response(text=text, content_type="application/json")

    async def _truth_trades(self, request: web.Request) -> web.Response:
        """The trades the exchange sends (Binance: aggregate ones), all or from `from_id` on, at most `limit`."""
        feed = self._feed(request)
        found = feed.truth_trades(_whole(request, "from_id", 0), _whole(request, "limit", MOST_TRADES))
        return _json({"market": feed.spec.market, "symbol": feed.spec.symbol, **found})

    async def _truth_raw_trades(self, request: web.Request) -> web.Response:
        """Single fills from the beginning, or from `from_id`, at most `limit`."""
        feed = self._feed(request)
        tape = feed.market.tape
        rows = tape.trades(_whole(request, "from_id", 0), _whole(request, "limit", MOST_TRADES))
        return _json(
            {
                "market": feed.spec.market,
                "symbol": feed.spec.symbol,
                "first_id": tape.first_trade_id,
                "next_id": tape.next_trade_id,
                "trades": [_raw_trade(feed, trade) for trade in rows],
            }
        )

    async def _truth_orders(self, request: web.Request) -> web.Response:
        """Every single order: `[price, what is left, id]`, best price first, a price in the order of its queue."""
        feed = self._feed(request)
        if (orders := feed.truth_orders()) is None:
            raise _problem(web.HTTPNotFound, "no single orders are told of this symbol")
        return _json({"market": feed.spec.market, "symbol": feed.spec.symbol, **orders})

    async def _truth_derivatives(self, request: web.Request) -> web.Response:
        """Every quote and liquidation of a contract."""
        feed = self._feed(request)
        if feed.derivative is None:
            raise _problem(web.HTTPNotFound, "nothing is told of this symbol")
        return _json({"market": feed.spec.market, "symbol": feed.spec.symbol, **feed.derivative.truth()})

    async def _truth_summary(self, _request: web.Request) -> web.Response:
        return _json(
            {
                "now_ms": int(self._exchange.now_ms),
                "paused": self._exchange.paused,
                "markets": self._exchange.summary(),
            }
        )

    async def _pause(self, _request: web.Request) -> web.Response:
        """Stop the markets; when this answers, everything generated has been written to the sockets."""
        self._step()
        self._exchange.pause()
        self._step()
        return _json({"paused": True, "now_ms": int(self._exchange.now_ms)})

    async def _resume(self, _request: web.Request) -> web.Response:
        self._step()
        self._exchange.resume(self._exchange.now_ms)
        return _json({"paused": False, "now_ms": int(self._exchange.now_ms)})

    async def _disconnect(self, request: web.Request) -> web.Response:
        """Reset the TCP connections that match `market`, `path` and `id`, all of them without any."""
        chosen = await self._chosen(request)
        for connection in chosen:
            connection.reset()
        return _json({"disconnected": [connection.number for connection in chosen]})

    async def _shutdown_notice(self, request: web.Request) -> web.Response:
        """Send `serverShutdown` to the matching connections and close them after the set delay."""
        chosen = await self._chosen(request)
        for connection in chosen:
            connection.announce_shutdown()
        return _json({"notified": [connection.number for connection in chosen]})

    async def _list_connections(self, _request: web.Request) -> web.Response:
        return _json({"connections": [connection.describe() for connection in self._connections()]})

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return _json({"kinds": KINDS, "faults": [_fault_row(row) for row in self._exchange.faults.all()]})

    async def _set_fault(self, request: web.Request) -> web.Response:
        """Set a fault given as `{"fault": "kind name=value …"}` or by its fields."""
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, Any])
            fault = Fault.parse(body["fault"]) if "fault" in body else msgspec.convert(body, Fault)
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError) as error:
            raise _problem(web.HTTPBadRequest, str(error)) from None
        active = self._exchange.set_fault(fault)
        self._step()
        return _json(_fault_row(active))

    async def _remove_faults(self, request: web.Request) -> web.Response:
        """Take back the fault `id`, or all of them without it."""
        number = _whole(request, "id", 0) or None
        removed = self._exchange.remove_faults(number)
        self._step()
        return _json({"removed": [_fault_row(active) for active in removed]})

    async def _chosen(self, request: web.Request) -> list[Connection]:
        body: dict[str, Any] = await request.json() if request.can_read_body else {}
        if not isinstance(body, dict) or body.keys() - {"market", "path", "id"}:
            raise _problem(web.HTTPBadRequest, "the body may have market, path and id")
        return [
            connection
            for connection in self._connections()
            if body.get("market") in (None, connection.root.market)
            and body.get("path") in (None, connection.root.path)
            and body.get("id") in (None, connection.number)
        ]


def _fault_row(active: ActiveFault) -> dict[str, Any]:
    return {
        "id": active.number,
        "on": active.on,
        "cases": active.cases,
        "hits": active.hits,
        "fault": msgspec.to_builtins(active.fault),
    }


def _raw_trade(feed: SymbolFeed, trade: Fill) -> dict[str, object]:
    return {
        "t": trade.trade_id,
        "p": feed.spelling.price(trade.price),
        "q": feed.spelling.quantity(trade.quantity),
        "T": trade.time,
        "m": trade.buyer_is_maker,
        "X": trade.category,
    }


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return max(0, int(text))
    except ValueError:
        raise _problem(web.HTTPBadRequest, f"{name} must be a whole number") from None


def _problem(kind: type[web.HTTPException], text: str) -> web.HTTPException:
    return kind(text=msgspec.json.encode({"error": text}).decode(), content_type="application/json")


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
