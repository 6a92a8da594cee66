"""Bitstamp's side of one socket: one channel a request, and an unknown market that is acknowledged and silent."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any, Final

from workers.sim.engine.flavour import Close, Output, Ping
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event

PING_S: Final = 54.0
MOST_CHANNELS: Final = 1024
TOO_MANY: Final = Close(1000, "")
RECONNECT: Final = '{"event":"bts:request_reconnect","channel":"","data":null}'
HEARTBEAT: Final = '{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}'
_CHANNEL: Final = re.compile(
    r"(?:diff_order_book|detail_order_book|order_book|live_orders|live_trades)_[a-z0-9-]+", re.ASCII
)
"""How a channel is spelled; `detail_order_book` is acknowledged and silent here."""


class BitstampConversation:
    """One client of Bitstamp."""

    def __init__(self, subscriptions: Subscriptions, now_s: float) -> None:
        self._subscriptions = subscriptions
        self._streams: dict[str, None] = {}
        self._ping_s = now_s + PING_S

    @property
    def streams(self) -> Collection[str]:
        """`diff_order_book_btcusd`, of markets that are none too."""
        return self._streams

    @property
    def next_tick_s(self) -> float:
        """When the next ping is due."""
        return self._ping_s

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """Nothing: the exchange waits."""
        return ()

    def admit(self, now_s: float) -> Close | None:
        """Frames are limited by their length alone."""
        return None

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The answer to a request."""
        try:
            request = json.loads(text)
            event = request["event"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return (_error(None, "Incorrect JSON format."),)
        if event == "bts:heartbeat":
            return (HEARTBEAT,)
        data = request.get("data")
        channel = data.get("channel") if isinstance(data, dict) else None
        if event not in ("bts:subscribe", "bts:unsubscribe"):
            return (_error(None, "Bad subscription string."),)
        if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel):
            return (_error(None, "Invalid channel provided."),)
        if event == "bts:unsubscribe":
            self._streams.pop(channel, None)
            self._subscriptions.detach(channel)
            return (_answer("bts:unsubscription_succeeded", channel),)
        return self._subscribe(channel)

    def _subscribe(self, channel: str) -> Iterable[Output]:
        refused = self._subscriptions.refused([channel])
        if refused is not None:
            return (_error(int(refused[1].value) or None, "Invalid channel provided."),)
        if channel not in self._streams and len(self._streams) >= MOST_CHANNELS:
            return (TOO_MANY,)
        self._streams[channel] = None
        topic = self._subscriptions.find(channel)
        if topic is not None:
            self._subscriptions.detach(channel)
            self._subscriptions.attach(channel, topic)
        return (_answer("bts:subscription_succeeded", channel),)

    def ponged(self, payload: bytes) -> None:
        """Nobody waits for it."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event as it is."""
        return event.frame(None, deflated)

    def missed(self, event: Event) -> None:
        """Frames have no numbers here."""

    def wrote(self, now_s: float) -> None:
        """Pings go by the clock."""

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """A ping."""
        if now_s < self._ping_s:
            return ()
        self._ping_s = now_s + PING_S
        return (Ping(b""),)

    def shutdown_notice(self, clock_ms: int) -> str:
        """The client is to connect anew."""
        return RECONNECT

    def describe(self) -> dict[str, Any]:
        """Nothing besides."""
        return {}


def _answer(event: str, channel: str) -> str:
    return f'{{"event":"{event}","channel":"{channel}","data":{{}}}}'


def _error(code: int | None, message: str) -> str:
    body = {"event": "bts:error", "channel": "", "data": {"code": code, "message": message}}
    return json.dumps(body, separators=(",", ":"))
