"""One Binance socket. Requests are numbered and answered by number, so there is nothing else to remember of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET

from workers.venues.binance.channels import frame_decoder, messages
from workers.venues.channels import extras_of
from workers.venues.messages import Subscription
from workers.venues.session import Event
from workers.venues.tolerant_json import decode


class BinanceSession:
    """A `Session`. The server pings, and aiohttp's PONG answers: nothing is ever due.

    Args:
        name: the settings section, for errors.
        split: files one frame (`Binance.split`).
    """

    def __init__(self, name: str, split: Callable[[bytes | str], Event]) -> None:
        self._name = name
        self._split = split
        self._extras: dict[str, Subscription] = {}
        """The streams of this socket that the settings ask for by name."""

    def opened(self, now_ms: int) -> list[str]:
        """Nothing: the streams are asked for by name."""
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """`{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":1}`; the id is a positive integer."""
        self._extras.update(extras_of(streams))
        return [_control("SUBSCRIBE", streams, request_id)]

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        """The same with `UNSUBSCRIBE`; streams that are not subscribed are ignored."""
        return [_control("UNSUBSCRIBE", streams, request_id)]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        """One frame is one event; only streams of the whole market may have several in one."""
        if self._extras:
            combined = decode(self._name, frame_decoder, frame, "frame")
            stream = self._extras.get(combined.stream)
            if stream is not None and combined.data is not UNSET:
                return messages(self._name, stream, combined.data)
        return [self._split(frame)]

    def tick(self, now_ms: int) -> list[Event]:
        """Nothing."""
        return []


def _control(
    method: Literal["SUBSCRIBE", "UNSUBSCRIBE"], streams: Sequence[Subscription], request_id: int
) -> str:
    request = {"method": method, "params": [stream.stream for stream in streams], "id": request_id}
    return msgspec.json.encode(request).decode()
