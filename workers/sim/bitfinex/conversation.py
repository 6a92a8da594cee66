"""Bitfinex's side of one socket: channels by number, and every array frame counted, whatever channel it is of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from workers.sim.bitfinex.feed import INTERVALS_MS, LENGTHS
from workers.sim.bitfinex.symbols import symbol_of, wire_name
from workers.sim.engine.flavour import Close, Output
from workers.sim.engine.frames import text_frame
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event

TIMESTAMP: Final = 2**15
SEQUENCES: Final = 2**16
CHECKSUMS: Final = 2**17
HEARTBEAT_S: Final = 15.0
SILENCE_S: Final = 60.0
MOST_CHANNELS: Final = 25
"""The least that a document says."""
FAILED: Final = 10300
SUBSCRIBED_ALREADY: Final = 10301
UNKNOWN_CHANNEL: Final = 10302
TOO_MANY: Final = 10305
BAD_UNSUBSCRIBE: Final = 10400
UNKNOWN_EVENT: Final = 10000
SILENT: Final = Close(1001, "")
RESTART: Final = '{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}'
MAINTENANCE: Final = (
    '{"event":"info","code":20060,"msg":"Entering in Maintenance mode. Please pause any activity"}'
)
MAINTENANCE_OVER: Final = (
    '{"event":"info","code":20061,"msg":"Maintenance ended. You can resume normal activity"}'
)
_END: Final = re.compile(r",([0-9]+)\]$")
_CHECKSUM: Final = '[0,"cs",'


@dataclass
class _Channel:
    number: int
    sent_s: float


class BitfinexConversation:
    """One client of Bitfinex.

    Args:
        server: the id in its first frame.
        numbers: gives the numbers of channels.
    """

    def __init__(
        self, server: str, numbers: Callable[[], int], subscriptions: Subscriptions, now_s: float
    ) -> None:
        self._server = server
        self._numbers = numbers
        self._subscriptions = subscriptions
        self._channels: dict[str, _Channel] = {}
        self._unwritten: set[str] = set()
        self._flags = 0
        self._sequence = 0
        self._heard_s = now_s

    @property
    def streams(self) -> Collection[str]:
        """`book.P0.F0.100:tBTCUSD`, `trades:tBTCUSD`."""
        return self._channels

    @property
    def next_tick_s(self) -> float:
        """When a channel needs a heartbeat, or a client without one has been silent for too long."""
        if not self._channels:
            return self._heard_s + SILENCE_S
        return min(channel.sent_s for channel in self._channels.values()) + HEARTBEAT_S

    def opened(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """Version and state of the platform."""
        return (f'{{"event":"info","version":2,"serverId":"{self._server}","platform":{{"status":1}}}}',)

    def admit(self, now_s: float) -> Close | None:
        """Frames are not limited."""
        self._heard_s = now_s
        return None

    def received(self, text: str, now_s: float, clock_ms: int) -> Iterable[Output]:
        """The answer to a request; none to what is no JSON."""
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        event = request.get("event") if isinstance(request, dict) else None
        if event == "conf" and isinstance(request.get("flags"), int):
            self._flags = request["flags"]
            return (_json({"event": "conf", "status": "OK", "flags": self._flags}),)
        if event == "subscribe":
            return self._subscribe(request, now_s)
        if event == "unsubscribe":
            return (self._unsubscribe(request.get("chanId")),)
        if event == "ping":
            return (_json({"event": "pong", "ts": clock_ms, "cid": request.get("cid", 0)}),)
        return (_json({"event": "error", "msg": "unknown event", "code": UNKNOWN_EVENT}),)

    def _subscribe(self, request: dict[str, Any], now_s: float) -> list[Output]:
        symbol = wire_name(symbol_of(str(request.get("symbol", ""))))
        pair = symbol.removeprefix("t")
        about = {"channel": request.get("channel"), "symbol": symbol}
        stream = f"{about['channel']}:{symbol}"
        if about["channel"] == "book":
            about |= {"prec": request.get("prec", "P0"), "freq": request.get("freq", "F0")}
            about["len"] = request.get("len", "25")
            stream = f"book.{about['prec']}.{about['freq']}.{about['len']}:{symbol}"
        code, message = self._problem(about, stream)
        if code:
            asked = {key: value for key, value in request.items() if key != "event"} | {"symbol": symbol}
            return [_json(asked | {"event": "error", "msg": message, "code": code, "pair": pair})]
        topic = self._subscriptions.find(stream)
        assert topic is not None, "it would have been refused"
        channel = self._channels[stream] = _Channel(self._numbers(), now_s)
        head = {"event": "subscribed", "channel": about.pop("channel"), "chanId": channel.number}
        return [*self._subscriptions.begin(stream, topic, _json(head | about | {"pair": pair}))]

    def _problem(self, about: dict[str, Any], stream: str) -> tuple[int, str]:
        """Code and words with which a request is refused; 0 when it is not."""
        if about["channel"] not in ("book", "trades"):
            return UNKNOWN_CHANNEL, "channel: unknown"
        if about["channel"] == "book":
            if about["prec"] not in ("P0", "R0"):
                return FAILED, "prec: invalid"
            if about["freq"] not in INTERVALS_MS or (about["prec"] == "R0" and about["freq"] != "F0"):
                return FAILED, "freq: invalid"
            if about["len"] not in map(str, LENGTHS):
                return FAILED, "len: invalid"
        if self._subscriptions.find(stream) is None:
            return FAILED, "symbol: invalid"
        if stream in self._channels:
            return SUBSCRIBED_ALREADY, "subscribe: dup"
        if len(self._channels) >= MOST_CHANNELS:
            return TOO_MANY, "subscribe: limit"
        refused = self._subscriptions.refused([stream])
        return (int(refused[1].value) or FAILED, "symbol: invalid") if refused is not None else (0, "")

    def _unsubscribe(self, number: object) -> str:
        for stream, channel in self._channels.items():
            if channel.number == number:
                del self._channels[stream]
                self._subscriptions.detach(stream)
                return _json({"event": "unsubscribed", "status": "OK", "chanId": number})
        refusal = {"event": "error", "msg": "unsubscribe: invalid", "code": BAD_UNSUBSCRIBE}
        return _json({"chanId": number} | refusal)

    def ponged(self, payload: bytes) -> None:
        """Websocket pongs mean nothing here."""

    def frame(self, event: Event, deflated: bool) -> bytes:
        """A frame for each line of the event, with the numbers of this client."""
        channel = self._channels.get(event.stream)
        if channel is None:  # delayed until it was unsubscribed
            return b""
        self._unwritten.add(event.stream)
        texts = [self._numbered(channel, line) for line in self._wanted(event)]
        return b"".join(text_frame(text.encode()) for text in texts)

    def missed(self, event: Event) -> None:
        """What was lost has taken its numbers."""
        self._sequence += len(self._wanted(event))

    def _wanted(self, event: Event) -> list[str]:
        """The frames of an event that the flags ask for."""
        if event.payload.startswith(_CHECKSUM) and not self._flags & CHECKSUMS:
            return []
        return event.payload.split("\n")

    def _numbered(self, channel: _Channel, line: str) -> str:
        """A line with channel, sequence and time."""
        self._sequence += 1
        end = _END.search(line)
        if end is None:  # a fault has cut it
            return f"[{channel.number}{line[2:]}"
        return f"[{channel.number}{line[2 : end.start()]}{self._tail(end[1])}]"

    def _tail(self, time: str) -> str:
        sequence = f",{self._sequence}" if self._flags & SEQUENCES else ""
        return f"{sequence},{time}" if self._flags & TIMESTAMP else sequence

    def wrote(self, now_s: float) -> None:
        """Data of a channel make its next heartbeat later."""
        for stream in self._unwritten & self._channels.keys():
            self._channels[stream].sent_s = now_s
        self._unwritten.clear()

    def tick(self, now_s: float, clock_ms: int) -> Iterable[Output]:
        """A heartbeat for each channel that had no data for long; the end of a client that wants nothing."""
        if not self._channels:
            return (SILENT,) if now_s >= self._heard_s + SILENCE_S else ()
        beats = []
        for channel in self._channels.values():
            if now_s >= channel.sent_s + HEARTBEAT_S:
                channel.sent_s = now_s
                self._sequence += 1
                beats.append(f'[{channel.number},"hb"{self._tail(str(clock_ms))}]')
        return beats

    def shutdown_notice(self, clock_ms: int) -> str:
        """The notice of a restart."""
        return RESTART

    def maintenance_notice(self, *, over: bool) -> str:
        """Notices 20060 and 20061; while it lasts the channels go on."""
        return MAINTENANCE_OVER if over else MAINTENANCE

    def describe(self) -> dict[str, Any]:
        """Its flags, and how many frames have been counted."""
        return {"flags": self._flags, "sequence": self._sequence}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
