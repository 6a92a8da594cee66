"""Kraken's side of one socket: a status first, an answer for every symbol, a heartbeat a second."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

from workers.sim.engine.flavour import Close, Output
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event
from workers.sim.kraken.feed import DEPTHS
from workers.sim.kraken.orders import DEPTHS as ORDER_DEPTHS
from workers.sim.kraken.tokens import KrakenTokens
from workers.sim.kraken.wire import timestamp

HEARTBEAT_S: Final = 1.0
SILENCE_S: Final = 60.0
HEARTBEAT: Final = '{"channel":"heartbeat"}'
SILENT: Final = Close(1001, "")
ELSEWHERE: Final = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
ABSENT: Final = "Token(s) not found"
WORTHLESS: Final = "ESession:Invalid session"


class KrakenConversation:
    """One client of Kraken.

    Args:
        number: of the connection; greater than 2^53.
        tokens: those with which single orders are to be had here; None: none are.
    """

    def __init__(
        self, number: int, subscriptions: Subscriptions, now_s: float, tokens: KrakenTokens | None
    ) -> None:
        self._connection_id = number
        self._tokens = tokens
        self._subscriptions = subscriptions
        self._streams: dict[str, None] = {}
        self._sent_s = now_s
        self._heard_s = now_s

    @property
    def streams(self) -> Collection[str]:
        """`book.10:BTC/USD`, `trade:BTC/USD`, `level3.10:BTC/USD`, `instrument:`."""
        return self._streams

    @property
    def next_tick_s(self) -> float:
        """When a heartbeat is due, or the silence of a client without subscriptions has lasted too long."""
        return self._sent_s + HEARTBEAT_S if self._streams else self._heard_s + SILENCE_S

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The status of the system."""
        return (self._status("online"),)

    def _status(self, system: str) -> str:
        return (
            f'{{"channel":"status","type":"update","data":[{{"version":"2.0.10","system":"{system}",'
            f'"api_version":"v2","connection_id":{self._connection_id}}}]}}'
        )

    def admit(self, now_s: float) -> Close | None:
        """Frames are not limited."""
        self._heard_s = now_s
        return None

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The answers to a request, one for each symbol."""
        times = {"time_in": timestamp(clock_ms * 1000), "time_out": timestamp(clock_ms * 1000 + 58)}
        try:
            request = json.loads(text)
            method = request["method"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return (_json({"error": "Malformed request", "success": False} | times),)
        known = {"req_id": request["req_id"]} if isinstance(request.get("req_id"), int) else {}
        if method == "ping":
            return (_json({"method": "pong"} | known | times),)
        params = request.get("params")
        if method not in ("subscribe", "unsubscribe") or not isinstance(params, dict):
            return (
                _json({"error": "Unsupported method", "method": method} | known | {"success": False} | times),
            )
        symbols = params.get("symbol", [""])
        outputs: list[Output] = []
        refusal = self._refusal(params, clock_ms) if params.get("channel") == "level3" else ""
        for symbol in symbols if isinstance(symbols, list) else ():
            outputs += self._perform(method, params, str(symbol), refusal, known, times)
        return outputs

    def _perform(
        self,
        method: str,
        params: dict[str, Any],
        symbol: str,
        refusal: str,
        known: dict[str, Any],
        times: dict[str, str],
    ) -> list[Output]:
        channel, depth = params.get("channel", ""), params.get("depth", DEPTHS[0])
        snapshot = params.get("snapshot", True) is not False
        stream = f"{channel}.{depth}:{symbol}" if channel in ("book", "level3") else f"{channel}:{symbol}"
        problem = refusal or self._problem(method, channel, depth, symbol, stream)
        if problem:
            body = {"error": problem, "method": method} | known | {"success": False}
            return [_json(body | ({"symbol": symbol} if symbol else {}) | times)]
        result: dict[str, object] = {"channel": channel}
        if channel in ("book", "level3"):
            result["depth"] = depth
        if method == "subscribe":
            result["snapshot"] = snapshot
        if symbol:
            result["symbol"] = symbol
        reply = _json({"method": method} | known | {"result": result, "success": True} | times)
        topic = self._subscriptions.find(stream)
        if method == "unsubscribe" or topic is None:
            self._streams.pop(stream, None)
            self._subscriptions.detach(stream)
            return [reply]
        self._streams[stream] = None
        if not snapshot:
            self._subscriptions.attach(stream, topic)
            return [reply]
        return [*self._subscriptions.begin(stream, topic, reply)]

    def _refusal(self, params: dict[str, Any], clock_ms: int) -> str:
        """Why somebody may not see single orders here; empty where he may."""
        if self._tokens is None:
            return ELSEWHERE
        if "token" not in params:
            return ABSENT
        given_ms = self._tokens.given_ms(params["token"], clock_ms)
        return WORTHLESS if given_ms is None or self._subscriptions.forgotten(given_ms) else ""

    def _problem(self, method: str, channel: str, depth: object, symbol: str, stream: str) -> str:
        """Why a symbol of a request is refused, in the exchange's words; empty when it is not."""
        if depth not in {"book": DEPTHS, "level3": ORDER_DEPTHS}.get(channel, (depth,)):
            return f"Subscription depth not supported: {depth}"
        if self._subscriptions.find(stream) is None:
            return f"Currency pair not supported {symbol}"
        if method == "unsubscribe":
            return "" if stream in self._streams else "Subscription Not Found"
        if stream in self._streams:
            return "Already subscribed"
        refused = self._subscriptions.refused([stream])
        return f"Currency pair not supported {symbol}" if refused is not None else ""

    def ponged(self, payload: bytes) -> None:
        """Websocket pongs mean nothing here."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event as it is."""
        return event.frame(None, deflated)

    def missed(self, event: Event) -> None:
        """Frames have no numbers here."""

    def wrote(self, now_s: float) -> None:
        """Data make the next heartbeat later."""
        self._sent_s = now_s

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """A heartbeat after a second without data; the end of a client that wants nothing."""
        if not self._streams:
            return (SILENT,) if now_s >= self._heard_s + SILENCE_S else ()
        if now_s < self._sent_s + HEARTBEAT_S:
            return ()
        self._sent_s = now_s
        return (HEARTBEAT,)

    def shutdown_notice(self, clock_ms: int) -> str:
        """The status of maintenance."""
        return self._status("maintenance")

    def maintenance_notice(self, *, over: bool) -> str:
        """The status of then."""
        return self._status("online" if over else "maintenance")

    def describe(self) -> dict[str, Any]:
        """The id that is in its status."""
        return {"connection_id": str(self._connection_id)}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
