"""One websocket: connect, subscribe in paced frames, watch that every stream really delivers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import aiohttp
import structlog
from prometheus_client import Counter, Gauge

from workers.settings import IngestSettings, VenueSettings
from workers.tasks import end
from workers.venues.interface import Acknowledged, Frame, Message, ShutdownNotice, Subscription, Venue

log = structlog.get_logger()

CONNECTED = Gauge("fleet_sockets_connected", "Sockets open", ["venue", "line"])
CONNECTS = Counter("fleet_connects_total", "Sockets opened", ["venue", "line"])
SILENT_STREAMS = Counter("fleet_stream_silent_total", "Streams acknowledged without data", ["venue", "line"])
SILENT_SOCKETS = Counter(
    "fleet_socket_silent_total", "Sockets replaced because nothing arrived", ["venue", "line"]
)
OVERSIZED = Counter(
    "fleet_oversized_frames_total", "Sockets closed by a frame beyond the limit", ["venue", "line"]
)

FRAMES_PER_TURN = 64
ALIVE_S = 10.0
RARELY_S = 600.0
"""Longest pause between two reports of streams that were never heard."""

FrameHandler = Callable[[bytes | str, int], Frame | None]
ControlFrame = Callable[[Sequence[str], int], str]


class Connection:
    """One socket and the streams subscribed on it, which may change while it is open; used once.

    Args:
        on_frame: takes each text frame and the µs it arrived at (`Line.frame`).

    `settled` is set once every stream delivered, or the first-message time has passed.
    `replace` is set when the socket should be succeeded: the exchange announced its end, or streams are silent.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        venue: Venue,
        url: str,
        subscriptions: Sequence[Subscription],
        line: str,
        settings: IngestSettings,
        venue_settings: VenueSettings,
        on_frame: FrameHandler,
    ) -> None:
        self._session = session
        self._venue = venue
        self.url = url
        self._subscriptions: list[Subscription] = []
        self._settings = settings
        self._venue_settings = venue_settings
        self._on_frame = on_frame
        self._labels = (venue.name, line)
        self._log = log.bind(venue=venue.name, line=line, url=url, streams=len(subscriptions))
        self._unheard: set[tuple[str, str]] = set()
        self._requests: deque[tuple[tuple[ControlFrame, ...], list[str], bool]] = deque()
        self._asking = asyncio.Event()
        self._unanswered: set[int] = set()
        self._asked_at, self._told_after_s = 0.0, settings.first_message_s
        self._last_frame = self._last_data = -ALIVE_S
        self.is_open = False
        """Whether the socket is connected, whatever it delivers."""
        self.settled = asyncio.Event()
        self.replace = asyncio.Event()
        self.reason = ""
        self.subscribe(subscriptions)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want these streams too: their frames go out in their turn."""
        self._subscriptions += subscriptions
        self._unheard |= {(wanted.channel, wanted.symbol) for wanted in subscriptions}
        self._asked_at, self._told_after_s = time.monotonic(), self._settings.first_message_s
        self._ask([self._venue.subscribe], subscriptions)

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want these streams no more."""
        gone = set(subscriptions)
        self._subscriptions = [wanted for wanted in self._subscriptions if wanted not in gone]
        self._unheard -= {(wanted.channel, wanted.symbol) for wanted in subscriptions}
        if not self._unheard:
            self.settled.set()
        self._ask([self._venue.unsubscribe], subscriptions)

    def _ask(
        self, frames: Sequence[ControlFrame], subscriptions: Sequence[Subscription], *, expected: bool = True
    ) -> None:
        """Queue control frames about streams; several frames about the same streams go out without a pause."""
        step = self._venue_settings.streams_per_request
        for first in range(0, len(subscriptions), step):
            streams = [wanted.stream for wanted in subscriptions[first : first + step]]
            self._requests.append((tuple(frames), streams, expected))
        self._asking.set()

    async def run(self) -> str:
        """Serve until the socket ends; the reason it ended, in a few stable words."""
        try:
            async with asyncio.timeout(self._settings.open_timeout_s):
                socket = await self._session.ws_connect(
                    self.url,
                    autoping=False,
                    max_msg_size=self._settings.max_frame_bytes,
                    decode_text=False,
                    compress=0,
                )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._log.warning("connect_failed", error=str(error) or type(error).__name__)
            return "connect failed"
        CONNECTS.labels(*self._labels).inc()
        CONNECTED.labels(*self._labels).inc()
        self.is_open = True
        self._log.info("connected")
        self._last_frame = self._asked_at = time.monotonic()
        tasks = [asyncio.create_task(self._send_requests(socket)), asyncio.create_task(self._watch(socket))]
        try:
            return await self._receive(socket)
        finally:
            self.is_open = False
            CONNECTED.labels(*self._labels).dec()
            await end(tasks)
            with suppress(Exception):
                await asyncio.wait_for(socket.close(), 1)
            self._log.info("disconnected", reason=self.reason, code=socket.close_code)

    @property
    def alive(self) -> bool:
        """Whether data arrived just now: what a silent symbol on a living socket did not send, did not happen.

        A ping or an acknowledgement is no data: a socket that brings nothing else may be dead at its source.
        """
        return time.monotonic() - self._last_data < ALIVE_S

    async def _send_requests(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Send control frames in the order they were asked for, with the pause the exchange wants between them."""
        number = 0
        while True:
            await self._asking.wait()
            while self._requests:
                frames, streams, expected = self._requests.popleft()
                for frame in frames:
                    number += 1
                    if expected:
                        self._unanswered.add(number)
                    with suppress(ConnectionError):  # the receive loop tells how the socket ended
                        await socket.send_str(frame(streams, number))
                await asyncio.sleep(len(frames) * self._venue_settings.request_spacing_ms / 1000)
            self._asking.clear()

    def _subscribe_again(self) -> None:
        """Subscribe anew to what was never heard: a symbol listed since then may not know of us.

        In one breath: what a quiet stream sends while it is not subscribed may be lost on both lines, as they were
        started together and so do this together.
        """
        wanted = [one for one in self._subscriptions if (one.channel, one.symbol) in self._unheard]
        self._ask([self._venue.unsubscribe, self._venue.subscribe], wanted, expected=False)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> str:
        taken = 0
        while True:
            message = await socket.receive()
            self._last_frame = time.monotonic()
            taken += 1
            if taken % FRAMES_PER_TURN == 0:
                await asyncio.sleep(
                    0
                )  # while frames are queued `receive` never yields, and nothing else would run
            kind = message.type
            if kind is aiohttp.WSMsgType.TEXT:
                self._take(message.data)
            elif kind is aiohttp.WSMsgType.PING:
                with suppress(ConnectionError):
                    await socket.pong(message.data)
            elif kind is aiohttp.WSMsgType.BINARY:
                self._on_frame(
                    b"", time.time_ns() // 1000
                )  # no binary frame is expected: counted as malformed
            elif kind is aiohttp.WSMsgType.ERROR:
                if socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                    OVERSIZED.labels(*self._labels).inc()
                    self._log.error("oversized_frame", limit=self._settings.max_frame_bytes)
                    self.reason = "oversized frame"
                else:
                    self.reason = f"protocol error: {message.data}"
                return self.reason
            elif kind in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                self.reason = self.reason or f"closed with {socket.close_code} {message.extra or ''}".rstrip()
                return self.reason

    def _take(self, data: bytes) -> None:
        frame = self._on_frame(data, time.time_ns() // 1000)
        if isinstance(frame, Message):
            self._last_data = self._last_frame
            if self._unheard:
                self._unheard.discard((frame.channel, frame.symbol))
                if not self._unheard:
                    self.settled.set()
        elif isinstance(frame, Acknowledged):
            self._unanswered.discard(frame.request_id)
        elif isinstance(frame, ShutdownNotice):
            self._log.info("shutdown_notice")
            self.replace.set()

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Replace a silent socket; report streams that were acknowledged and never spoke."""
        opened = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, max(0.05, self._settings.silence_s / 4)))
            now = time.monotonic()
            if now - self._last_frame > self._settings.silence_s:
                SILENT_SOCKETS.labels(*self._labels).inc()
                self._log.warning("socket_silent", seconds=round(now - self._last_frame, 1))
                self.reason = "silent"
                await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
                return
            if now - max(opened, self._last_data) > self._settings.silence_s and not self.replace.is_set():
                SILENT_SOCKETS.labels(*self._labels).inc()
                self._log.warning("socket_without_data", seconds=round(now - max(opened, self._last_data), 1))
                self.replace.set()  # pings come, so it may only be a quiet market: the successor overlaps
            if self._unheard and now - self._asked_at > self._told_after_s:
                self.settled.set()
                # a thin or halted stream is told of ever more rarely
                self._told_after_s = min(self._told_after_s * 2, self._told_after_s + RARELY_S)
                silent = sorted(f"{symbol}@{channel}" for channel, symbol in self._unheard)
                SILENT_STREAMS.labels(*self._labels).inc(len(silent))
                self._log.warning(
                    "stream_silent",
                    silent=silent[:20],
                    count=len(silent),
                    unanswered=sorted(self._unanswered),
                )
                if len(silent) == len(self._subscriptions) or self._unanswered:
                    self.reason = "no data after the acknowledgement"
                    await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
                    return
                self._subscribe_again()
