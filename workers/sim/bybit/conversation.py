"""Bybit's side of one socket: requests with one acknowledgement each, in two shapes, and `ping` as an operation."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

from workers.sim.engine.flavour import Close, Output
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event, Topic

IDLE_S: Final = 600.0
SPOT_ARGUMENTS: Final = 10
ARGUMENT_CHARACTERS: Final = 21_000
IDLE_CLIENT: Final = Close(1000, "idle")


class BybitConversation:
    """One client of Bybit.

    Args:
        spot: its acknowledgements say `"ret_msg":"subscribe"`, and name the request only when it was named.
    """

    def __init__(self, number: str, spot: bool, subscriptions: Subscriptions, now_s: float) -> None:
        self._connection_id = number
        self._spot = spot
        self._subscriptions = subscriptions
        self._streams: dict[str, None] = {}
        self._heard_s = now_s

    @property
    def streams(self) -> Collection[str]:
        """The topics."""
        return self._streams

    @property
    def next_tick_s(self) -> float:
        """When the client has been idle for too long."""
        return self._heard_s + IDLE_S

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """Nothing: the exchange waits."""
        return ()

    def admit(self, now_s: float) -> Close | None:
        """Any frame says that the client lives."""
        self._heard_s = now_s
        return None

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The reply to a request."""
        try:
            request = json.loads(text)
            operation = request["op"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return (self._reply(False, "Invalid request", "", ""),)
        request_id = request.get("req_id", "")
        request_id = request_id if isinstance(request_id, str) else ""
        if operation == "ping":
            return (self._pong(request_id),)
        topics = request.get("args", [])
        names = topics if isinstance(topics, list) else []
        if operation == "subscribe":
            return self._subscribe([name for name in names if isinstance(name, str)], request_id)
        if operation == "unsubscribe":
            for name in names:
                self._leave(name)
            return (self._reply(True, operation if self._spot else "", operation, request_id),)
        return (self._reply(False, f"unknown operation {operation}", str(operation), request_id),)

    def _subscribe(self, names: list[str], request_id: str) -> Iterable[Output]:
        problem = self._problem(names)
        if problem:
            return (self._reply(False, problem, "subscribe", request_id),)
        found: list[tuple[str, Topic]] = []
        for name in names:
            topic = self._subscriptions.find(name)
            if topic is None:  # one bad topic refuses them all
                return (self._reply(False, f"Invalid topic: {name}", "subscribe", request_id),)
            found.append((name, topic))
        refused = self._subscriptions.refused(names)
        if refused is not None:
            return (self._reply(False, f"Invalid topic: {refused[0]}", "subscribe", request_id),)
        before: list[Output] = []
        after: list[Output] = []
        for name, topic in found:
            self._leave(name)
            self._streams[name] = None
            first = self._subscriptions.attach(name, topic)
            if first is not None:
                early = self._subscriptions.strikes("snapshot_first", topic)
                (before if early else after).append(first)
        reply = self._reply(True, "subscribe" if self._spot else "", "subscribe", request_id)
        return (*before, reply, *after)

    def _problem(self, names: list[str]) -> str:
        if not names:
            return "args is empty"
        if self._spot and len(names) > SPOT_ARGUMENTS:
            return f"args size >{SPOT_ARGUMENTS}"
        if sum(map(len, [*self._streams, *names])) > ARGUMENT_CHARACTERS:
            return f"args length >{ARGUMENT_CHARACTERS}"
        return ""

    def _leave(self, name: object) -> None:
        if isinstance(name, str) and name in self._streams:
            del self._streams[name]
            self._subscriptions.detach(name)

    def _reply(self, success: bool, message: str, operation: str, request_id: str) -> str:
        reply: dict[str, object] = {
            "success": success,
            "ret_msg": message,
            "conn_id": self._connection_id,
        }
        if request_id or not self._spot:
            reply["req_id"] = request_id
        return _json(reply | {"op": operation})

    def _pong(self, request_id: str) -> str:
        return _json(
            {
                "success": True,
                "ret_msg": "pong",
                "conn_id": self._connection_id,
                "req_id": request_id,
                "op": "ping",
            }
        )

    def ponged(self, payload: bytes) -> None:
        """Websocket pongs mean nothing here."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event as it is."""
        return event.frame(None, deflated)

    def missed(self, event: Event) -> None:
        """Frames have no numbers here."""

    def wrote(self, now_s: float) -> None:
        """Data do not make an idle client busy."""

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The end, when the client sent nothing for ten minutes."""
        return (IDLE_CLIENT,) if now_s >= self._heard_s + IDLE_S else ()

    def shutdown_notice(self, clock_ms: int) -> None:
        """The exchange closes without a word."""

    def describe(self) -> dict[str, Any]:
        """The id that is in its replies."""
        return {"conn_id": self._connection_id}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
