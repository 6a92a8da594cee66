"""The websocket control protocol without I/O: requests, replies, frame limit and ping accounting.

Replies have the shapes seen on the wire (wire captures of 2026), which differ from the flat error table
in the Binance docs. Everything syntactically valid is acknowledged: unknown symbols, wrong case, wrong
class and wrong speed get `{"result":null,"id":n}`, are listed, and stay silent.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from workers.sim.binance.symbols import Market

METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_TEXT_ID: Final = re.compile(r"[0-9A-Za-z]{1,36}", re.ASCII)
_INT64: Final = 1 << 63
_NO_ID: Final = object()


class RequestError(Exception):
    """A control request that is answered with an error frame; the socket stays open."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)


class ControlSession:
    """Subscriptions and properties of one connection.

    `attach(name)` and `detach(name)` are called as subscriptions come and go; a stream is attached once
    however often it is subscribed to. `check(names)` may refuse a subscription by raising RequestError.
    """

    def __init__(
        self,
        market: Market,
        combined: bool,
        max_streams: int,
        attach: Callable[[str], None],
        detach: Callable[[str], None],
        check: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self.combined = combined
        self.streams: dict[str, None] = {}
        self._market = market
        self._max_streams = max_streams
        self._attach = attach
        self._detach = detach
        self._check = check

    def subscribe(self, names: Sequence[str]) -> None:
        """Add streams; RequestError 4 when that makes too many, and then none is added."""
        if len(self.streams.keys() | set(names)) > self._max_streams:
            raise RequestError(4, "Too many subscriptions")
        self._check(names)
        for name in names:
            if name not in self.streams:
                self.streams[name] = None
                self._attach(name)

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Remove streams; names that are not subscribed are ignored."""
        for name in names:
            if name in self.streams:
                del self.streams[name]
                self._detach(name)

    def handle(self, text: str) -> str:
        """The reply to one client frame."""
        try:
            request = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            return _error(3, f"Invalid JSON: {_serde_message(error, text)}", _NO_ID)
        except (ValueError, RecursionError):
            return _error(3, "Invalid JSON: expected value at line 1 column 1", _NO_ID)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: expected an object", _NO_ID)
        request_id = request.get("id")
        if not self._usable_id(request_id):
            return _error(2, "Invalid request: request ID must be an unsigned integer", _NO_ID)
        try:
            result = self._perform(request, text)
        except RequestError as error:
            return _error(error.code, error.message, request_id)
        return json.dumps({"result": result, "id": request_id}, ensure_ascii=False, separators=(",", ":"))

    def _usable_id(self, request_id: object) -> bool:
        """Spot takes a 64-bit integer, a short alphanumeric text or null; USD-M an unsigned integer."""
        if isinstance(request_id, bool):
            return False
        if isinstance(request_id, int):
            lowest = -_INT64 if self._market == "spot" else 0
            return lowest <= request_id < _INT64
        if isinstance(request_id, str):
            return self._market == "spot" and _TEXT_ID.fullmatch(request_id) is not None
        return request_id is None

    def _perform(self, request: dict[str, Any], text: str) -> object:
        if "method" not in request:
            lines = text.split("\n")
            place = f"at line {len(lines)} column {len(lines[-1])}"
            raise RequestError(2, f"Invalid request: missing field `method` {place}")
        method = request["method"]
        if method not in METHODS:
            expected = ", ".join(f"`{known}`" for known in METHODS)
            raise RequestError(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}")
        params = request.get("params", [])
        if not isinstance(params, list):
            raise RequestError(2, "Invalid request: params must be an array")
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        if method.endswith("_PROPERTY"):
            return self._property(params, setting=method == "SET_PROPERTY")
        if not all(isinstance(name, str) for name in params):
            raise RequestError(2, "Invalid request: params must be an array of strings")
        (self.subscribe if method == "SUBSCRIBE" else self.unsubscribe)(params)
        return None

    def _property(self, params: list[object], setting: bool) -> bool | None:
        if not params or not isinstance(params[0], str):
            raise RequestError(2, "Invalid request: property name must be a string")
        if len(params) > (2 if setting else 1):
            raise RequestError(2, "Invalid request: too many parameters")
        if params[0] != "combined":
            raise RequestError(0, "Unknown property")
        if not setting:
            return self.combined
        value = params[1] if len(params) == 2 else None
        if not isinstance(value, bool):
            raise RequestError(1, "Invalid value type: expected Boolean")
        self.combined = value
        return None


def _refuse_constant(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _serde_message(error: json.JSONDecodeError, text: str) -> str:
    """The same error as the exchange's own parser words it."""
    if not text.strip():
        return "EOF while parsing a value at line 1 column 0"
    place = f"at line {error.lineno} column {error.colno}"
    if error.msg.startswith("Expecting ',' delimiter"):
        inside_object = text[: error.pos].rfind("{") > text[: error.pos].rfind("[")
        return f"expected `,` or `{'}' if inside_object else ']'}` {place}"
    if error.pos >= len(text):
        return f"EOF while parsing a value {place}"
    return f"expected value {place}"


def _error(code: int, message: str, request_id: object) -> str:
    frame: dict[str, object] = {"error": {"code": code, "msg": message}}
    if request_id is not _NO_ID:
        frame["id"] = request_id
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


class FrameLimiter:
    """Counts inbound frames in a rolling second: JSON, ping and pong alike. Times in seconds."""

    def __init__(self, frames_per_second: int) -> None:
        self._limit = frames_per_second
        self._recent: deque[float] = deque()

    def admit(self, now_s: float) -> bool:
        """Count a frame; False when it is one too many."""
        recent = self._recent
        while recent and recent[0] <= now_s - 1.0:
            recent.popleft()
        recent.append(now_s)
        return len(recent) <= self._limit


class Heartbeat:
    """Which pings are unanswered. A pong answers only by echoing the payload of a ping (times in s)."""

    def __init__(self, interval_s: float, timeout_s: float, opened_s: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._next_ping_s = opened_s + interval_s
        self._unanswered: dict[bytes, float] = {}

    @property
    def next_event_s(self) -> float:
        """When the next ping is due or the oldest unanswered one has run out of time."""
        deadline = next(iter(self._unanswered.values()), float("inf")) + self._timeout_s
        return min(self._next_ping_s, deadline)

    def expired(self, now_s: float) -> bool:
        """Whether a ping has been unanswered for too long."""
        oldest = next(iter(self._unanswered.values()), None)
        return oldest is not None and now_s >= oldest + self._timeout_s

    def ping(self, now_s: float, clock_ms: int) -> bytes | None:
        """The payload of the ping to send now (ms timestamp as text), None when none is due."""
        if now_s < self._next_ping_s:
            return None
        self._next_ping_s = now_s + self._interval_s
        payload = str(clock_ms).encode()
        self._unanswered[payload] = now_s
        return payload

    def pong(self, payload: bytes) -> None:
        """Take a pong: an echo answers its ping and all earlier ones, anything else answers nothing."""
        if payload not in self._unanswered:
            return
        for earlier in list(self._unanswered):
            del self._unanswered[earlier]
            if earlier == payload:
                break
