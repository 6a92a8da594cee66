"""One Binance socket. Requests are numbered and answered by number, so there is nothing else to remember of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from workers.venues.messages import Subscription
from workers.venues.session import Event


class BinanceSession:
    """A `Session`. The server pings, and aiohttp's PONG answers: nothing is ever due.

    Args:
        split: files one frame (`Binance.split`).
    """

    def __init__(self, split: Callable[[bytes | str], Event]) -> None:
        self._split = split

    def opened(self, now_ms: int) -> list[str]:
        """Nothing: the streams are asked for by name."""
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":1}`; the id is a positive integer."""
        return [_control("SUBSCRIBE", streams, request_id)]

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `UNSUBSCRIBE`; streams that are not subscribed are ignored."""
        return [_control("UNSUBSCRIBE", streams, request_id)]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """One frame is one event."""
        return [self._split(frame)]

    def tick(self, now_ms: int) -> list[Event]:
        """Nothing."""
        return []


def _control(
    method: Literal["SUBSCRIBE", "UNSUBSCRIBE"], streams: Sequence[Subscription], request_id: int
) -> str:
    request = {"method": method, "params": [stream.stream for stream in streams], "id": request_id}
    return msgspec.json.encode(request).decode()
