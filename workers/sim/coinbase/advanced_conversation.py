"""Advanced's side of one socket: each frame but an error has the socket's next number, heartbeats a second apart.

What a fault takes from a client has had its number, so the next frame shows it. All other faults strike before the
numbers are given: what they repeat, swap or delay cannot be seen by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from workers.sim.coinbase.conversation import CoinbaseConversation, framed, json_text, texts_of
from workers.sim.coinbase.symbols import canonical
from workers.sim.coinbase.wire import UNNUMBERED, sent_at
from workers.sim.engine.flavour import Close, Output
from workers.sim.engine.limits import AttemptLimiter
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event

HEARTBEAT_S: Final = 1.0
IDLE_S: Final = 90.0
HEARTBEATS: Final = "heartbeats:heartbeats"
CHANNELS: Final = ("level2", "market_trades")
IDLE: Final = Close(1001, "")


class AdvancedConversation(CoinbaseConversation):
    """One client of Advanced."""

    def __init__(
        self, subscriptions: Subscriptions, requests: AttemptLimiter, address: str, now_s: float
    ) -> None:
        super().__init__(subscriptions, requests, address, now_s)
        self._next = 0
        self._beat_s = float("inf")
        self._sent_s = now_s

    @property
    def next_tick_s(self) -> float:
        """The next heartbeat, the end of an idle socket, or of one that was asked for nothing."""
        return min(super().next_tick_s, self._beat_s, self._sent_s + IDLE_S)

    def perform(self, action: str, request: dict[str, Any], now_s: float, clock_ms: int) -> Iterator[Output]:
        """One channel a request; what it begins with comes before the acknowledgement (captured)."""
        channel = request.get("channel")
        if channel == "heartbeats":
            streams = [HEARTBEATS]
            self._beat_s = now_s + HEARTBEAT_S if action == "subscribe" else float("inf")
        elif channel in CHANNELS:
            streams = [
                f"{channel}:{self._named(product)}" for product in texts_of(request.get("product_ids"))
            ]
            if not streams:
                yield self.error(f"no product_ids for channel {channel}", "")
                return
            refused = self.refused(streams) if action == "subscribe" else ""
            if refused:
                yield self.error("Failed to subscribe", f"{refused} is not a valid product")
                return
        else:
            yield self.error("Failed to subscribe", f"{json_text(channel)[:40]} is not a valid channel")
            return
        for stream in streams:
            if action == "unsubscribe":
                self.detach(stream)
            elif (first := self.attach(stream)) is not None:
                yield first
        events = [{"subscriptions": self.subscribed()}]
        yield self._numbered(
            f'{{"channel":"subscriptions","timestamp":"{sent_at(clock_ms)}",{UNNUMBERED},"events":{json_text(events)}}}'
        )

    def _named(self, product: str) -> str:
        return product if self._subscriptions.find(f"level2:{product}") is not None else canonical(product)

    def _numbered(self, text: str) -> str:
        number, self._next = self._next, self._next + 1
        return text.replace(UNNUMBERED, f'"sequence_num":{number}', 1)

    def error(self, message: str, reason: str) -> str:
        """`{"type":"error","message":"…"}`, without a number."""
        return json_text({"type": "error", "message": ": ".join(filter(None, (message, reason)))})

    def frame(self, event: Event, deflated: bool) -> bytes:
        """The event with the next number."""
        return framed(self._numbered(event.payload), deflated)

    def missed(self, event: Event) -> None:
        """Its number is gone too."""
        self._next += 1

    def wrote(self, now_s: float) -> None:
        """A socket with data is not idle."""
        self._sent_s = now_s

    def tick(self, now_s: float, clock_ms: int) -> Iterator[Output]:
        """A heartbeat; the end of a socket that is idle."""
        yield from super().tick(now_s, clock_ms)
        if now_s >= self._beat_s:
            self._beat_s = max(self._beat_s + HEARTBEAT_S, now_s)
            yield self._numbered(_heartbeat(now_s, clock_ms))
        elif now_s >= self._sent_s + IDLE_S:
            yield IDLE


def _heartbeat(now_s: float, clock_ms: int) -> str:
    """`current_time` and the counter are of a process that began when the clock of this machine did."""
    seconds, part = divmod(clock_ms, 1000)
    moment = (
        f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{part:03d}840045 +0000 UTC m=+{now_s:.9f}"
    )
    events = f'[{{"current_time":"{moment}","heartbeat_counter":{int(now_s)}}}]'
    return f'{{"channel":"heartbeats","timestamp":"{sent_at(clock_ms)}",{UNNUMBERED},"events":{events}}}'
