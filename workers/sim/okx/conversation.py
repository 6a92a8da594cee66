"""OKX's side of one socket: subscriptions with an acknowledgement each, `ping` as text, the end after silence."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, Final

from workers.sim.engine.flavour import Close, Output
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event

SILENCE_S: Final = 30.0
REQUESTS_PER_HOUR: Final = 480
SILENT_CLIENT: Final = Close(4004, "No data received in 30s.")
ILLEGAL: Final = "60012"
TOO_FAST: Final = "60014"
UNKNOWN: Final = "60018"
UNKNOWN_TEXT: Final = (
    "Wrong URL or channel:{channel},instId:{name} doesn't exist. Please use the correct URL, channel and "
    "parameters referring to API document."
)
UPGRADE_TEXT: Final = "The connection will soon be closed for a service upgrade. Please reconnect."
OF_TYPES: Final = ("instruments", "liquidation-orders")
"""Channels that are asked for by a type of instruments."""


class OkxConversation:
    """One client of OKX."""

    def __init__(self, number: str, subscriptions: Subscriptions, now_s: float) -> None:
        self._connection_id = number
        self._subscriptions = subscriptions
        self._streams: dict[str, None] = {}
        self._heard_s = now_s
        self._requests: deque[float] = deque()

    @property
    def streams(self) -> Collection[str]:
        """`books:BTC-USDT`, `instruments:SPOT`, …"""
        return self._streams

    @property
    def next_tick_s(self) -> float:
        """When the silence has lasted too long."""
        return self._heard_s + SILENCE_S

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """Nothing: the exchange waits."""
        return ()

    def admit(self, now_s: float) -> Close | None:
        """Frames are not limited, requests are."""
        self._heard_s = now_s
        return None

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The reply to `ping`, or to a request."""
        if text == "ping":
            return ("pong",)
        try:
            request = json.loads(text)
            operation, arguments = request["op"], request["args"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return (self._error(ILLEGAL, f"Invalid request: {text[:200]}"),)
        if operation not in ("subscribe", "unsubscribe") or not isinstance(arguments, list):
            return (self._error(ILLEGAL, f"Invalid request: {text[:200]}"),)
        if not self._admit_request(now_s):
            return (self._error(TOO_FAST, "Requests too frequent"),)
        request_id = request.get("id")
        outputs: list[Output] = []
        for argument in arguments:
            outputs += self._perform(operation, argument, request_id if isinstance(request_id, str) else "")
        return outputs

    def _admit_request(self, now_s: float) -> bool:
        while self._requests and self._requests[0] <= now_s - 3600:
            self._requests.popleft()
        self._requests.append(now_s)
        return len(self._requests) <= REQUESTS_PER_HOUR

    def _perform(self, operation: str, argument: Any, request_id: str) -> list[Output]:
        channel = argument.get("channel", "") if isinstance(argument, dict) else ""
        key = "instType" if channel in OF_TYPES else "instId"
        name = argument.get(key, "") if isinstance(argument, dict) else ""
        stream = f"{channel}:{name}"
        topic = self._subscriptions.find(stream)
        refused = self._subscriptions.refused([stream]) if operation == "subscribe" else None
        if topic is None or refused is not None:
            code = str(int(refused[1].value) or UNKNOWN) if refused is not None else UNKNOWN
            return [self._error(code, UNKNOWN_TEXT.format(channel=channel, name=name))]
        reply: dict[str, object] = {"id": request_id} if request_id else {}
        reply |= {"event": operation, "arg": {"channel": channel, key: name}, "connId": self._connection_id}
        text = _json(reply)
        self._subscriptions.detach(stream)
        self._streams.pop(stream, None)
        if operation == "unsubscribe":
            return [text]
        self._streams[stream] = None
        return [*self._subscriptions.begin(stream, topic, text)]

    def _error(self, code: str, message: str) -> str:
        return _json({"event": "error", "code": code, "msg": message, "connId": self._connection_id})

    def ponged(self, payload: bytes) -> None:
        """Websocket pongs mean nothing here."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event as it is."""
        return event.frame(None, deflated)

    def missed(self, event: Event) -> None:
        """Frames have no numbers here."""

    def wrote(self, now_s: float) -> None:
        """Data keep the connection alive."""
        self._heard_s = now_s

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The end, when nothing went either way for 30 s."""
        return (SILENT_CLIENT,) if now_s >= self._heard_s + SILENCE_S else ()

    def shutdown_notice(self, clock_ms: int) -> str:
        """Notice 64008, which comes some 60 s before an upgrade."""
        return _json({"event": "notice", "code": "64008", "msg": UPGRADE_TEXT, "connId": self._connection_id})

    def describe(self) -> dict[str, Any]:
        """The id that is in its frames."""
        return {"connId": self._connection_id}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
