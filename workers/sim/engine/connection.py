"""One client websocket of the simulated exchange.

aiohttp does the handshake, the inbound frames and ping, pong and close; events and replies are written to
the transport as ready-made frames. They are collected during one step of the generator and written
together. A subscriber that does not read is dropped once more than `send_buffer_bytes` wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import WSMsgType, web

from workers.sim.binance.protocol import ControlSession, FrameLimiter, Heartbeat, RequestError
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.faults import Fault
from workers.sim.engine.frames import deflated_text_frame, text_frame
from workers.sim.engine.symbols import Market
from workers.sim.engine.topics import Event, StreamClass, Topic
from workers.sim.settings import SimSettings

log = structlog.get_logger(__name__)

POLICY_VIOLATION: Final = 1008
GOING_AWAY: Final = 1001
CLOSE_REPLY_S: Final = 2.0
FULL_WINDOW_BITS: Final = 15
STALL_CHECK_S: Final = 0.2
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Root:
    """A websocket path: its market, the stream classes it delivers, and whether frames are combined."""

    path: str
    market: Market
    classes: frozenset[StreamClass]
    combined: bool


class Connection:
    """A subscriber. `ready(connection)` is called when it has something to flush."""

    def __init__(
        self,
        *,
        number: int,
        root: Root,
        request: web.Request,
        settings: SimSettings,
        exchange: Exchange,
        clock_ms: Callable[[], float],
        ready: Callable[[Connection], None],
    ) -> None:
        self.number = number
        self.root = root
        self.remote = request.remote or ""
        self.opened_ms = clock_ms()
        self.frames_in = self.frames_out = self.bytes_out = 0
        self._request = request
        self._settings = settings
        self._topics = exchange.topics
        self._event_faults = exchange.event_faults
        self._faults = exchange.faults
        self.agent = request.headers.get("User-Agent", "")
        self._attached: dict[str, Topic] = {}
        self._clock_ms = clock_ms
        self._ready = ready
        self._pending: list[bytes] = []
        self._open = False
        self._deflated = False
        self._timing_changed = asyncio.Event()
        self._socket = web.WebSocketResponse(
            autoping=False, timeout=CLOSE_REPLY_S, max_msg_size=settings.max_inbound_frame_bytes
        )
        spot = root.market == "spot"
        now_s = asyncio.get_running_loop().time()
        self._opened_s = now_s
        self._ends_s = now_s + settings.lifetime_s
        self._limiter = FrameLimiter(
            settings.spot_frames_per_second if spot else settings.usdm_frames_per_second
        )
        self._heartbeat = Heartbeat(
            settings.spot_ping_s if spot else settings.usdm_ping_s,
            settings.spot_pong_timeout_s if spot else settings.usdm_pong_timeout_s,
            now_s,
        )
        self.session = ControlSession(
            root.market, root.combined, settings.max_streams, self._attach, self._detach, self._check_streams
        )

    async def run(self, streams: list[str]) -> web.WebSocketResponse:
        """Accept the upgrade, subscribe to the streams of the URL and serve until the end."""
        try:
            self.session.subscribe(streams)
        except RequestError as error:
            raise web.HTTPBadRequest(text=error.message) from None
        await self._socket.prepare(self._request)
        self._deflated = self._socket.compress == FULL_WINDOW_BITS
        self._open = True
        self._pending.clear()
        timer = asyncio.create_task(self._keep_time())
        try:
            await self._receive()
        finally:
            self._open = False
            timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await timer
        return self._socket

    def detach_all(self) -> None:
        """Leave every topic."""
        for topic in self._attached.values():
            topic.subscribers.pop(self, None)
        self._attached.clear()

    def _attach(self, name: str) -> None:
        topic = self._topics.find(self.root.market, self.root.classes, name)
        if topic is not None:
            topic.subscribers[self] = None
            self._attached[name] = topic

    def _detach(self, name: str) -> None:
        topic = self._attached.pop(name, None)
        if topic is not None:
            topic.subscribers.pop(self, None)

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            self.frames_in += 1
            if self.stalled:
                continue
            if not self._limiter.admit(loop.time()):
                await self.close(POLICY_VIOLATION, "Too many requests")
                return
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._heartbeat.pong(bytes(message.data))
            else:
                self._answer(message.data)

    def _answer(self, data: str | bytes) -> None:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        self.send_text(self.session.handle(text))
        self.flush()

    async def _keep_time(self) -> None:
        """Ping, watch for missing pongs, and end the connection at the end of its life."""
        loop = asyncio.get_running_loop()
        while True:
            now_s = loop.time()
            if self.stalled:
                await asyncio.sleep(STALL_CHECK_S)
                continue
            if self._heartbeat.expired(now_s):
                await self.close(POLICY_VIOLATION, "Pong timeout")
                return
            if now_s >= self._ends_s:
                await self.close(GOING_AWAY, "")
                return
            payload = self._heartbeat.ping(now_s, int(self._clock_ms()))
            if payload is not None:
                with contextlib.suppress(ConnectionError):
                    await self._socket.ping(payload)
            self._timing_changed.clear()
            wait_s = min(self._heartbeat.next_event_s, self._ends_s) - loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._timing_changed.wait(), max(0.001, wait_s))

    def deliver(self, event: Event) -> None:
        """Take an event of a subscribed stream, by way of the faults for this connection."""
        if self._faults.connection_faults:
            faults = [
                active
                for active in self._faults.connection_faults
                if self.meant(active.fault)
                and active.fault.covers_stream(event.stream)
                and self._symbol_meant(active.fault, event.stream)
            ]
            if faults:
                self._event_faults.apply(faults, self.number, event, self._accept)
                return
        self._accept(event)

    def meant(self, fault: Fault) -> bool:
        """Whether a fault concerns this connection."""
        return fault.covers_connection(self.root.market, self.root.path, self.number, self.agent)

    def _covered(self, fault: Fault, stream: str) -> bool:
        return fault.covers_stream(stream) and self._symbol_meant(fault, stream)

    def _check_streams(self, names: Sequence[str]) -> None:
        """Refuse a request as a whole for one stream that a fault names."""
        for active in self._faults.on("refuse_stream"):
            fault = active.fault
            for name in names if self.meant(fault) else ():
                topic = self._topics.find(self.root.market, self.root.classes, name)
                symbol = topic.symbol if topic is not None else ""
                if fault.covers_stream(name) and fault.symbol in ("", symbol) and active.strikes():
                    raise RequestError(
                        int(fault.value) or 2, f"Invalid request: stream {name} is not available"
                    )

    def _symbol_meant(self, fault: Fault, stream: str) -> bool:
        topic = self._attached.get(stream)
        return not fault.symbol or (topic is not None and topic.symbol == fault.symbol)

    @property
    def stalled(self) -> bool:
        """Whether a fault keeps this connection from sending and from hearing anything."""
        return any(self.meant(active.fault) for active in self._faults.on("stall"))

    def _accept(self, event: Event) -> None:
        if self._open:
            self._queue(event.frame(self.session.combined, self._deflated))

    def send_text(self, text: str) -> None:
        """Send a reply; replies are never wrapped, on either root."""
        if self._open:
            self._queue((deflated_text_frame if self._deflated else text_frame)(text.encode()))

    def _queue(self, frame: bytes) -> None:
        if not self._pending:
            self._ready(self)
        self._pending.append(frame)

    def flush(self) -> None:
        """Write what has been collected; drop the connection if its reader is too slow."""
        transport = self._request.transport
        unwritable = transport is None or transport.is_closing() or not self._open or self.stalled
        if not self._pending or transport is None or unwritable:
            self._pending.clear()
            return
        data = b"".join(self._pending)
        self.frames_out += len(self._pending)
        self.bytes_out += len(data)
        self._pending.clear()
        if transport.get_write_buffer_size() + len(data) > self._settings.send_buffer_bytes:
            log.warning("slow_subscriber_dropped", connection=self.number, path=self.root.path)
            self.reset()
            return
        transport.write(data)

    def announce_shutdown(self) -> None:
        """Send `serverShutdown` in the framing in use and close after the set delay (Binance docs)."""
        payload = f'{{"e":"serverShutdown","E":{int(self._clock_ms())}}}'
        self.deliver(Event("!serverShutdown", payload))
        self.flush()
        now_s = asyncio.get_running_loop().time()
        self._ends_s = min(self._ends_s, now_s + self._settings.shutdown_delay_s)
        self._timing_changed.set()

    def suffer(self, fault: Fault) -> None:
        """What a `reset`, `shutdown`, `lifetime` or `mute` fault does to it."""
        if fault.kind == "reset":
            self.reset()
        elif fault.kind == "shutdown":
            self.announce_shutdown()
        elif fault.kind == "mute":
            for stream in [name for name in self._attached if self._covered(fault, name)]:
                self._detach(stream)
        else:
            self._ends_s = min(self._ends_s, self._opened_s + fault.value)
            self._timing_changed.set()

    async def close(self, code: int, reason: str) -> None:
        """Close with a code, after what is waiting has been written."""
        self.flush()
        self._open = False
        log.info("connection_closed", connection=self.number, path=self.root.path, code=code, reason=reason)
        await self._socket.close(code=code, message=reason.encode())

    def reset(self) -> None:
        """Cut the TCP connection without a close frame (RST)."""
        self._open = False
        transport = self._request.transport
        if transport is None:
            return
        with contextlib.suppress(OSError):
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        transport.abort()

    def describe(self) -> dict[str, Any]:
        """State as the control endpoint shows it."""
        return {
            "id": self.number,
            "market": self.root.market,
            "path": self.root.path,
            "remote": self.remote,
            "agent": self.agent,
            "opened_ms": int(self.opened_ms),
            "combined": self.session.combined,
            "deflated": self._deflated,
            "streams": list(self.session.streams),
            "delivering": len(self._attached),
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "bytes_out": self.bytes_out,
        }
