"""An API whose every answer a test decides: the contract's shapes, without a fleet behind them."""

from __future__ import annotations

import json
import time
from typing import Any

from aiohttp import WSMsgType, web
from made_up_market import START_MS, SYMBOLS, Levels, bar, side

from workers.api.dashboard.files import Dashboard


class ScriptedApi:
    """What a test may set: books, whether they are withheld, trades, history. `send` reaches every subscriber."""

    def __init__(self) -> None:
        self.update_id = 100
        self.bids = side(84_554.3, -0.1)
        self.asks = side(84_554.4, 0.1)
        self.withheld: dict[str, str] | None = None
        self.has_history = True
        self.archived_s = 0
        """How far the archive reaches back beyond the hour that Redis has; 0: there is none."""
        self.owned = True
        self.connected = True
        self.troubles: list[str] = []
        self.is_down = False
        self.now_s = int(time.time())
        self.trade_id = 1000
        self.trades = [self._trade(f"{84_554 + number % 5}.30") for number in range(40)]
        self.sockets: dict[web.WebSocketResponse, list[dict[str, Any]]] = {}
        self.refusing = False
        self.is_mute = False
        """A subscription to a book brings no book."""
        self.later: set[str] = set()
        """Channels of which the next subscription is refused, and those after it are not."""
        self.steps: dict[str, str] = {}
        self.sources: dict[str, tuple[str, int]] = {}
        """By venue: by what its books are compared with the exchange, and how often that was; empty: audited."""
        self.alerts: list[dict[str, Any]] = []
        self.alerts_owner: str | None = "alerts-host-1"
        self.orders: dict[str, Any] | None = None
        """What the channel `orders` sends first; None: single orders are not followed."""
        self.order: dict[str, Any] = {}
        self.analytics: dict[str, Any] | None = None
        """What the channel `analytics` sends first; None: they are not computed."""
        self.url = ""

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_routes(Dashboard().routes())
        for path, handler in {
            "/symbols": self._symbols,
            "/orderbook": self._orderbook,
            "/trades": self._trades,
            "/bars/{interval}": self._bars,
            "/stats": self._stats,
            "/status": self._status,
            "/healthz": self._healthz,
            "/gaps": self._gaps,
            "/audits": self._audits,
            "/alerts": self._alerts,
            "/orders/{id}": self._order,
            "/history": self._history,
            "/history/book": self._history_book,
            "/ws": self._ws,
        }.items():
            app.router.add_get(path, handler)
        return app

    def _trade(self, price: str) -> dict[str, Any]:
        self.trade_id += 1
        return {
            "id": self.trade_id,
            "price": price,
            "quantity": f"0.{self.trade_id % 900:03d}",
            "time_ms": int(time.time() * 1000),
            "is_buyer_maker": self.trade_id % 3 == 0,
        }

    # -- what a test does --

    async def change(self, bids: Levels, asks: Levels) -> None:
        """Change levels of the book, as a diff."""
        previous, self.update_id = self.update_id, self.update_id + 1
        for held, changes, order in ((self.bids, bids, -1), (self.asks, asks, 1)):
            found = {price: quantity for price, quantity in [*held, *changes] if float(quantity)}
            for price, quantity in changes:
                if not float(quantity):
                    found.pop(price, None)
            held[:] = [[p, q] for p, q in sorted(found.items(), key=lambda level: order * float(level[0]))]
        await self.send(
            "book",
            {"type": "diff", "prev_u": previous, "u": self.update_id, "E": START_MS, "b": bids, "a": asks},
        )

    async def withhold(self, state: str, reason: str) -> None:
        self.withheld = {"state": state, "reason": reason}
        await self.send("book", {"type": "withheld", **self.withheld})

    async def restore(self) -> None:
        self.withheld = None
        await self.send("book", self.snapshot())

    async def trade(self, price: str) -> dict[str, Any]:
        made = self._trade(price)
        self.trades.append(made)
        await self.send("trades", {"trades": [made]})
        return made

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        for socket, requests in list(self.sockets.items()):
            for request in requests:
                if request["channel"] == channel:
                    venue, symbol = request["symbols"][0].split(":")
                    interval = {"interval": request["interval"]} if "interval" in request else {}
                    whole = {"channel": channel, "venue": venue, "symbol": symbol, **interval, **message}
                    await socket.send_str(json.dumps(whole))

    async def cut(self) -> None:
        """Cut every WebSocket."""
        for socket in list(self.sockets):
            await socket.close(code=1012, message=b"restart")

    def snapshot(self) -> dict[str, Any]:
        return {
            "type": "snapshot",
            "u": self.update_id,
            "E": START_MS,
            "b": self.bids[:20],
            "a": self.asks[:20],
            "known_low": "81791.60",
            "known_high": "87220.40",
        }

    def past_book(self, second: int) -> tuple[Levels, Levels]:
        """The book of a second of the past: shifted by the second."""
        shift = second % 60
        return side(84_000.3 + shift, -0.1), side(84_000.4 + shift, 0.1)

    # -- what the API answers --

    @staticmethod
    def _problem(status: int, title: str, detail: str) -> web.Response:
        return web.json_response(
            {"title": title, "status": status, "detail": detail},
            status=status,
            content_type="application/problem+json",
        )

    async def _symbols(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "venues": [
                    {"venue": "usdm", "default_symbol": "BTCUSDT"},
                    {"venue": "spot", "default_symbol": "BTCUSDT"},
                ],
                "symbols": [
                    {
                        "venue": venue,
                        "symbol": symbol,
                        "base_asset": symbol[:3],
                        "quote_asset": symbol[3:],
                        **self.steps,
                    }
                    for venue, symbol in SYMBOLS
                ],
            }
        )

    async def _orderbook(self, request: web.Request) -> web.Response:
        if self.withheld:
            return self._problem(503, "The book is withheld", self.withheld["reason"])
        depth = int(request.query.get("depth", 5000))
        return web.json_response(
            {
                "last_update_id": self.update_id,
                "event_time_ms": START_MS,
                "known_low": "81791.60",
                "known_high": "87220.40",
                "bids": self.bids[:depth],
                "asks": self.asks[:depth],
            }
        )

    def _unknown(self, venue: str, symbol: str) -> dict[str, str] | None:
        """What is said of a symbol that is not there."""
        if (venue, symbol) in SYMBOLS:
            return None
        return {"title": f"{venue} has no symbol {symbol}", "detail": "GET /symbols lists the symbols"}

    async def _trades(self, request: web.Request) -> web.Response:
        if unknown := self._unknown(request.query["venue"], request.query["symbol"]):
            return self._problem(404, **unknown)
        return web.json_response({"trades": self.trades[-int(request.query["limit"]) :]})

    async def _bars(self, request: web.Request) -> web.Response:
        step = {
            "100ms": 100,
            "1m": 60_000,
            "5m": 300_000,
            "15m": 900_000,
            "1h": 3_600_000,
            "4h": 14_400_000,
            "1d": 86_400_000,
        }
        step_ms = step[request.match_info["interval"]]
        if "from" in request.query:
            return web.json_response({"bars": []})
        last = self.now_s * 1000 // step_ms
        return web.json_response(
            {"bars": [bar(n * step_ms, n, step_ms) for n in range(last - 199, last + 1)]}
        )

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response({"stats": {"1d": bar(START_MS, 5, 86_400_000)}})

    async def _status(self, _: web.Request) -> web.Response:
        worker = {
            "role": "books",
            "name": "books-host-1",
            "pid": 1,
            "beat_ms": int(time.time() * 1000),
            "symbols": 5,
            "since_ms": 1_795_834_103_409,
        }
        symbols = [
            {
                "venue": venue,
                "symbol": symbol,
                "is_connected": self.connected,
                "state": "synced" if self.owned else "not owned",
                "reason": "" if self.owned else "no worker holds its lease; the fleet may have stopped",
                "age_ms": 12,
                "last_update_id": 1,
                "bids_count": 1162,
                "asks_count": 1159,
                "history_count": 60,
                "gap_count": 1,
                "known_low": "1",
                "known_high": "2",
                "trust": {"score": 1.0, "why": []}
                if self.owned
                else {"score": 0, "why": ["withheld: not owned"]},
                "owner": "books-host-1" if self.owned else None,
                "last_audit": None
                if self.sources
                else {"time_ms": int(time.time() * 1000) - 9000, "outcome": "match", "last_update_id": 1},
                "second_source": self.sources.get(venue, ("rest", 0))[0],
                "checksums": dict.fromkeys(("ok", "of"), self.sources.get(venue, ("rest", 0))[1]),
                "trades": {"missing": 0},
                "lag": {"depth": {"waiting": 0, "pending": 3}, "trades": {"waiting": 0, "pending": 0}},
            }
            for venue, symbol in SYMBOLS
        ]
        return web.json_response(
            {
                "fleet": {
                    "workers": [worker],
                    "redis": {"used_memory": 123_456_789, "maxmemory": 0, "version": "9.1.0"},
                },
                "symbols": symbols,
            }
        )

    async def _healthz(self, _: web.Request) -> web.Response:
        if self.is_down:
            return web.json_response({"title": "The fleet is down", "reasons": self.troubles}, status=503)
        state = "degraded" if self.troubles else "ok"
        return web.json_response({"state": state, "reasons": self.troubles})

    async def _gaps(self, _: web.Request) -> web.Response:
        gap = {
            "id": "1-0",
            "time_ms": START_MS,
            "channel": "depth",
            "first": 1,
            "last": 2,
            "reason": "gap",
            "repaired": "resync",
        }
        return web.json_response({"gaps": [gap]})

    async def _alerts(self, _: web.Request) -> web.Response:
        left_out = sum(one["alert"].get("left_out", 0) for one in self.alerts)
        return web.json_response(
            {"owner": self.alerts_owner, "open": self.alerts, "left_out": left_out, "newest": []}
        )

    async def _order(self, request: web.Request) -> web.Response:
        order = {**self.order["order"], "id": request.match_info["id"]}
        return web.json_response({**self.order, "order": order})

    async def _audits(self, _: web.Request) -> web.Response:
        return web.json_response({"audits": []})

    async def _history(self, request: web.Request) -> web.Response:
        if unknown := self._unknown(request.query["venue"], request.query["symbol"]):
            return self._problem(404, **unknown)
        if not self.has_history:
            return self._problem(404, "Not found", "see / for the paths there are")
        return web.json_response(
            {
                "from": self.now_s - 3600,
                "to": self.now_s - 1,
                "seconds_held": 3590,
                "blocks": 60,
                "bytes": 1,
                "archived_from": self.now_s - 3600 - self.archived_s if self.archived_s else None,
                "archived_to": self.now_s - 3600 if self.archived_s else None,
                "gaps": [{"from": self.now_s - 2000, "to": self.now_s - 1990, "reason": "gap"}],
            }
        )

    async def _history_book(self, request: web.Request) -> web.Response:
        second = int(request.query["at"])
        if self.now_s - 2000 <= second <= self.now_s - 1990:
            return self._problem(404, "Unknown second", "gap")
        bids, asks = self.past_book(second)
        return web.json_response(
            {
                "timestamp": second,
                "last_update_id": 5,
                "event_time_ms": second * 1000,
                "known_low": "81791.60",
                "known_high": "87220.40",
                "bids": bids,
                "asks": asks,
            }
        )

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.refusing:
            return self._problem(503, "Closed", "the test wants it so")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        requests = self.sockets.setdefault(socket, [])
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            asked = json.loads(message.data)
            wanted = {name: value for name, value in asked.items() if name not in ("op", "id")}
            if asked["op"] == "ping":
                await socket.send_json({"type": "pong", "id": asked["id"]})
            elif asked["op"] == "unsubscribe":
                requests[:] = [one for one in requests if one != wanted]  # a refused one is not among them
            elif unknown := self._unknown(*asked["symbols"][0].split(":")):
                await socket.send_json({"type": "error", "id": asked["id"], **unknown})
            elif asked["channel"] in self.later:
                self.later.remove(asked["channel"])
                says = {"status": 503, "title": "Redis does not answer", "detail": ""}
                await socket.send_json({"type": "error", "id": asked["id"], **says})
            elif asked["channel"] in ("orders", "analytics") and not getattr(self, asked["channel"]):
                title = "Not configured"
                await socket.send_json({"type": "error", "id": asked["id"], "title": title, "detail": ""})
            else:
                requests.append(wanted)
                await socket.send_json(
                    {
                        "type": "subscribed",
                        "id": asked["id"],
                        "channel": asked["channel"],
                        "symbols": asked["symbols"],
                    }
                )
                if asked["channel"] in ("orders", "analytics"):
                    await self.send(asked["channel"], getattr(self, asked["channel"]))
                if asked["channel"] == "book" and not self.is_mute:
                    venue, symbol = asked["symbols"][0].split(":")
                    first = {"type": "withheld", **self.withheld} if self.withheld else self.snapshot()
                    await socket.send_json({"channel": "book", "venue": venue, "symbol": symbol, **first})
        self.sockets.pop(socket, None)
        return socket
