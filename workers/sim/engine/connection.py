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
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from aiohttp import WSMsgType, web

from workers.sim.engine.exchange import Exchange
from workers.sim.engine.faults import Fault
from workers.sim.engine.flavour import Conversation, Output, Ping, Root, TellsMaintenance
from workers.sim.engine.frames import deflated_text_frame, text_frame
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import Event
from workers.sim.settings import SimSettings

log = structlog.get_logger(__name__)

GOING_AWAY: Final = 1001
CLOSE_REPLY_S: Final = 2.0
FULL_WINDOW_BITS: Final = 15
STALL_CHECK_S: Final = 0.2
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class Connection:
    """A subscriber. `ready(connection)` is called when it has something to flush."""

    def __init__(
        self,
        *,
        number: int,
        root: Root,
        request: web.Request,
        settings: SimSettings,
        exchange: Exchange[Any],
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
        self._event_faults = exchange.event_faults
        self._faults = exchange.faults
        self.agent = request.headers.get("User-Agent", "")
        self._clock_ms = clock_ms
        self._ready = ready
        self._pending: list[bytes] = []
        self._open = False
        self._deflated = False
        self._timing_changed = asyncio.Event()
        self._socket = web.WebSocketResponse(
            autoping=False,
            compress=root.deflates,
            timeout=CLOSE_REPLY_S,
            max_msg_size=root.largest_frame or settings.max_inbound_frame_bytes,
        )
        now_s = asyncio.get_running_loop().time()
        self._opened_s = now_s
        self._ends_s = now_s + settings.lifetime_s
        self.subscriptions = Subscriptions(
            self,
            exchange.topics,
            (root.market,) if root.market else exchange.flavour.markets,
            root.classes,
            exchange.faults,
            self.meant,
        )
        self.conversation: Conversation = exchange.flavour.converse(root, self.subscriptions, request, now_s)

    async def run(self) -> web.WebSocketResponse:
        """Accept the upgrade and serve until the end."""
        await self._socket.prepare(self._request)
        self._deflated = self._socket.compress == FULL_WINDOW_BITS
        self._open = True
        self._pending.clear()
        loop = asyncio.get_running_loop()
        timer = asyncio.create_task(self._keep_time(), name="sim: keep time")
        try:
            if await self._perform(self.conversation.opened(loop.time(), int(self._clock_ms()))):
                await self._receive()
        finally:
            self._open = False
            timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await timer
        return self._socket

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            self.frames_in += 1
            if self.stalled:
                continue
            now_s = loop.time()
            end = self.conversation.admit(now_s)
            if end is not None:
                await self.close(end.code, end.reason)
                return
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self.conversation.ponged(bytes(message.data))
            else:
                data = message.data
                text = data if isinstance(data, str) else data.decode("utf-8", "replace")
                outputs = self.conversation.received(text, now_s, int(self._clock_ms()))
                if not await self._perform(outputs):
                    return
                self._timing_changed.set()

    async def _perform(self, outputs: Iterable[Output]) -> bool:
        """Send what the conversation gives; False when it ended."""
        for output in outputs:
            if isinstance(output, str):
                self.send_text(output)
            elif isinstance(output, Event):
                self.deliver(output)
            elif isinstance(output, Ping):
                with contextlib.suppress(ConnectionError):
                    await self._socket.ping(output.payload)
            else:
                await self.close(output.code, output.reason)
                return False
        self.flush()
        return True

    async def _keep_time(self) -> None:
        """Let the conversation do what is due, and end the connection at the end of its life."""
        loop = asyncio.get_running_loop()
        while self._open:  # in Python 3.11 `wait_for` may swallow the cancellation
            now_s = loop.time()
            if self.stalled:
                await asyncio.sleep(STALL_CHECK_S)
                continue
            if not await self._perform(self.conversation.tick(now_s, int(self._clock_ms()))):
                return
            if now_s >= self._ends_s:
                await self.close(GOING_AWAY, "")
                return
            self._timing_changed.clear()
            wait_s = min(self.conversation.next_tick_s, self._ends_s) - loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._timing_changed.wait(), max(0.001, wait_s))

    def deliver(self, event: Event) -> None:
        """Take an event of a subscribed stream, by way of the faults for this connection."""
        if self._faults.connection_faults and not event.lost:
            faults = [
                active
                for active in self._faults.connection_faults
                if self.meant(active.fault) and self.subscriptions.covered(active.fault, event.stream)
            ]
            if faults:
                self._event_faults.apply(faults, self.number, event, self._accept)
                return
        self._accept(event)

    def meant(self, fault: Fault) -> bool:
        """Whether a fault concerns this connection."""
        return fault.covers_connection(self.root.market, self.root.path, self.number, self.agent)

    @property
    def stalled(self) -> bool:
        """Whether a fault keeps this connection from sending and from hearing anything."""
        return any(self.meant(active.fault) for active in self._faults.on("stall"))

    def _accept(self, event: Event) -> None:
        if event.lost:
            self.conversation.missed(event)
        elif self._open and (frames := self.conversation.frame(event, self._deflated)):
            self._queue(frames)

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
        self.conversation.wrote(asyncio.get_running_loop().time())

    def announce_shutdown(self) -> None:
        """Send what the exchange says before it closes a socket, and close after the set delay."""
        notice = self.conversation.shutdown_notice(int(self._clock_ms()))
        if isinstance(notice, str):
            self.send_text(notice)
        elif notice is not None:
            self.deliver(notice)
        self.flush()
        now_s = asyncio.get_running_loop().time()
        self._ends_s = min(self._ends_s, now_s + self._settings.shutdown_delay_s)
        self._timing_changed.set()

    def suffer(self, fault: Fault) -> None:
        """What a `reset`, `shutdown`, `maintenance`, `lifetime` or `mute` fault does to it."""
        if fault.kind == "reset":
            self.reset()
        elif fault.kind == "shutdown":
            self.announce_shutdown()
        elif fault.kind == "maintenance":
            if isinstance(self.conversation, TellsMaintenance):
                self.send_text(self.conversation.maintenance_notice(over=fault.value == 1))
                self.flush()
        elif fault.kind == "mute":
            self.subscriptions.mute(fault)
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
            **self.conversation.describe(),
            "deflated": self._deflated,
            "streams": list(self.conversation.streams),
            "delivering": len(self.subscriptions),
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "bytes_out": self.bytes_out,
        }
