"""One websocket: connect, subscribe in paced frames, watch that every stream really delivers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import aiohttp
import structlog

from workers.ingest.metrics import (
    ANEW,
    BROKEN,
    CONNECTED,
    CONNECTS,
    OVERSIZED,
    REFUSED,
    REVIVED,
    SILENT_SOCKETS,
    SILENT_STREAMS,
    STOPPED,
    TORN,
    UNANSWERED,
)
from workers.ingest.pace import Pace
from workers.ingest.rest_questions import RestQuestions
from workers.ingest.settling import Settling
from workers.ingest.subscriptions import Method, Refusal, Refusals, Subscriptions, named
from workers.runtime.tasks import end
from workers.settings.schema import IngestSettings, VenueSettings
from workers.venues.interface import Venue
from workers.venues.messages import Acknowledged, Message, Refused, ShutdownNotice, Subscription
from workers.venues.session import (
    Accepted,
    Ask,
    Broken,
    Event,
    RefusedStreams,
    Send,
    Session,
    Stale,
    Torn,
)

log = structlog.get_logger()

FRAMES_PER_TURN: Final = 64
ALIVE_S: Final = 10.0
LIVING_S: Final = 5.0
"""A socket that brought data this recently is none whose every stream is silent."""
MOST_NAMED: Final = 20
PATIENCE: Final = {"a": 1.0, "b": 1.5}
"""Line b waits longer for a silent stream, so that the lines do not leave it for a moment at the same time."""


class Sink(Protocol):
    """What takes the frames of a socket: a `Line`. Times are µs since 1970."""

    def frame(
        self, frame: bytes | str, received_us: int, session: Session | None = None
    ) -> Sequence[Event] | None:
        """Take in a frame; what it meant, None if it could not be used."""

    def torn(
        self, session: Session, names: Iterable[tuple[str, str]], now_us: int, data: bytes = b""
    ) -> None:
        """Something is missing in streams (channel, symbol) of a socket; `data`: what the exchange said of it."""

    def begun_anew(self, session: Session, names: Iterable[tuple[str, str]], now_us: int) -> None:
        """Streams (channel, symbol) of a socket that were asked for anew begin now."""

    def ended(self, session: Session, now_us: int, *, succeeded: bool = False) -> None:
        """The socket has ended; `succeeded`: another one brings its streams already."""


class Connection:
    """One socket and the streams subscribed on it, which may change while it is open; used once.

    Args:
        sink: takes what comes.
        refusals: what the exchange refuses to the line; shared by its sockets.
        pace: how fast the line may open sockets and send frames; shared likewise.

    `settled` is set once it can be relied on (see `Settling`), `replace` when the socket should be succeeded: the
    exchange announced its end, or it brings no data.
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
        sink: Sink,
        refusals: Refusals | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._pace = Pace(venue.facts) if pace is None else pace
        self._session = session
        self._largest_frame = max(settings.max_frame_bytes, venue.facts.largest_frame)
        self._venue_session = venue.session(url)
        self.url = url
        self._settings = settings
        self._venue_settings = venue_settings
        self._sink = sink
        self._labels = (venue.name, line)
        self._patience = PATIENCE.get(line, 1.0)
        self._log = log.bind(venue=venue.name, line=line, url=url, streams=len(subscriptions))
        self._refusals = Refusals(settings.refused_retry_s) if refusals is None else refusals
        self.streams = Subscriptions(
            self._refusals, venue_settings.streams_per_request, settings.stream_silence_s
        )
        self._asking = asyncio.Event()
        self._settling = Settling(self.streams, settings.first_message_s)
        self.settled = self._settling.done
        self._free_at = 0.0
        """When the next control frame may be sent (monotonic seconds)."""
        self._last_frame = self.last_data = self._pinged = -ALIVE_S
        self.is_open = False
        """Whether the socket is connected, whatever it delivers."""
        self.replace = asyncio.Event()
        self.reason = ""
        self._questions = RestQuestions(session, self._labels, settings.open_timeout_s)
        self.subscribe(subscriptions)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want these streams too: their frames go out in their turn."""
        self._settling.asked(time.monotonic())
        self.streams.want(subscriptions)
        self._asking.set()

    def unsubscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Want these streams no more."""
        self.streams.unwant(subscriptions)
        self._asking.set()

    def revive(self, names: Collection[tuple[str, str]]) -> None:
        """Subscribe anew to streams (channel, symbol) that were found dead, unless they are heard here."""
        revived = self.streams.revive(names, time.monotonic())
        if revived:
            REVIVED.labels(*self._labels).inc(len(revived))
            self._log.warning("stream_revived", revived=named(revived)[:MOST_NAMED], count=len(revived))
            self._asking.set()

    def renew(self, names: Collection[tuple[str, str]]) -> None:
        """Subscribe anew to streams (channel, symbol), so that their whole books come again."""
        if self.streams.renew(names):
            self._asking.set()

    async def run(self) -> str:
        """Serve until the socket ends; the reason it ended, in a few stable words."""
        try:
            async with self._pace.opening(), asyncio.timeout(self._settings.open_timeout_s):
                socket = await self._session.ws_connect(
                    self.url,
                    autoping=False,
                    max_msg_size=self._largest_frame,
                    decode_text=False,
                    compress=0,
                )
                await self._send(socket, self._venue_session.opened(time.time_ns() // 1_000_000))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._log.warning("connect_failed", error=str(error) or type(error).__name__)
            return "connect failed"
        CONNECTS.labels(*self._labels).inc()
        CONNECTED.labels(*self._labels).inc()
        self.is_open = True
        self._log.info("connected")
        self._last_frame = time.monotonic()
        self._settling.opened(self._last_frame)
        tasks = [
            asyncio.create_task(self._send_requests(socket), name="socket: requests"),
            asyncio.create_task(self._watch(socket), name="socket: watch"),
        ]
        receiving = asyncio.create_task(self._receive(socket), name="socket: receiving")
        try:
            await asyncio.wait({receiving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not receiving.done():
                    task.result()  # an error nobody foresaw: without it the socket is looked after no more
            return await receiving
        finally:
            self.is_open = False
            succeeded = not any(task.done() for task in (receiving, *tasks))
            self._sink.ended(self._venue_session, time.time_ns() // 1000, succeeded=succeeded)
            CONNECTED.labels(*self._labels).dec()
            await end([receiving, *tasks, *self._questions.tasks])
            with suppress(Exception):
                await asyncio.wait_for(socket.close(), 1)
            self._log.info("disconnected", reason=self.reason, code=socket.close_code)

    @property
    def alive(self) -> bool:
        """Whether data arrived just now: what a silent symbol on a living socket did not send, did not happen.

        A ping or an acknowledgement is no data: a socket that brings nothing else may be dead at its source.
        """
        return time.monotonic() - self.last_data < ALIVE_S

    @property
    def expected(self) -> bool:
        """Whether data is to be expected at all: not of a socket whose every stream the exchange refuses."""
        return self.streams.accepted > 0

    async def _send_requests(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Send control frames in the order they were asked for, with the pause the exchange wants between them."""
        session, number = self._venue_session, 0
        frames: dict[Method, Callable[[Sequence[Subscription], int], list[str]]] = {
            "subscribe": session.subscribe,
            "unsubscribe": session.unsubscribe,
        }
        while True:
            await self._asking.wait()
            self._asking.clear()
            while (request := self.streams.next()) is not None:
                for method in request.methods:
                    number += 1
                    self.streams.sent(number, method, request.streams, time.monotonic())
                    for frame in frames[method](request.streams, number):
                        async with self._pace.frame():
                            await self._send(socket, [frame])
                while (wait_s := self._free_at - time.monotonic()) > 0:  # noqa: ASYNC110 -- a PONG may move it
                    await asyncio.sleep(wait_s)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse[bool], frames: Sequence[str]) -> None:
        """Send frames without a pause between them, and count them."""
        self._spend(len(frames))
        for frame in frames:
            with suppress(ConnectionError):  # the receive loop tells how the socket ended
                await socket.send_str(frame)

    def _spend(self, frames: int) -> None:
        """Frames were sent; the exchange counts PONGs like requests, and closes sockets that send too many."""
        spacing_s = self._venue_settings.request_spacing_ms / 1000
        self._free_at = max(self._free_at, time.monotonic()) + frames * spacing_s

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> str:
        taken = 0
        while True:
            message = await socket.receive()
            self._last_frame = time.monotonic()
            taken += 1
            if taken % FRAMES_PER_TURN == 0:
                # while frames are queued `receive` never yields, and nothing else would run
                await asyncio.sleep(0)
            kind = message.type
            if kind is aiohttp.WSMsgType.TEXT:
                for event in (
                    self._sink.frame(message.data, time.time_ns() // 1000, self._venue_session) or ()
                ):
                    if isinstance(event, Message):
                        self._heard(event)
                    else:
                        await self._act(socket, event)
            elif kind is aiohttp.WSMsgType.PING:
                with suppress(ConnectionError):
                    await socket.pong(message.data)
                self._spend(1)
            elif kind is aiohttp.WSMsgType.BINARY:
                # no binary frame is expected: counted as malformed
                self._sink.frame(b"", time.time_ns() // 1000, self._venue_session)
            elif kind is aiohttp.WSMsgType.ERROR:
                if socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                    OVERSIZED.labels(*self._labels).inc()
                    self._log.error("oversized_frame", limit=self._largest_frame)
                    self.reason = "oversized frame"
                else:
                    self.reason = f"protocol error: {message.data}"
                return self.reason
            elif kind in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                self.reason = self.reason or f"closed with {socket.close_code} {message.extra or ''}".rstrip()
                return self.reason

    def _heard(self, message: Message) -> None:
        self.last_data = self._last_frame
        self.streams.heard(message.channel, message.symbol, self._last_frame)
        if not self.settled.is_set():
            self._settling.look(self._last_frame)

    async def _act(self, socket: aiohttp.ClientWebSocketResponse[bool], event: Event) -> None:
        """Do what an event asks for that is no message."""
        if isinstance(event, Acknowledged):
            self._accepted(self.streams.acknowledged(event.request_id))
        elif isinstance(event, Accepted):
            self._accepted(self.streams.accept(event.streams))
            if begun := self.streams.begun_anew():
                self._sink.begun_anew(self._venue_session, begun, time.time_ns() // 1000)
        elif isinstance(event, Refused):
            self._refused(self.streams.refused(event.request_id, event.code, event.message, self._last_frame))
        elif isinstance(event, RefusedStreams):
            self._refused(self.streams.refuse(event.streams, event.code, event.message, self._last_frame))
        elif isinstance(event, Send):
            async with self._pace.frame():
                await self._send(socket, [event.text])
        elif isinstance(event, Ask):
            self._questions.ask(event, partial(self._act, socket))
        elif isinstance(event, Broken):
            BROKEN.labels(*self._labels).inc()
            self._log.warning("connection_broken", why=event.reason, expected=event.expected, got=event.got)
            await self._close(socket, f"{event.reason} broken")
        elif isinstance(event, Stale):
            ANEW.labels(*self._labels).inc(len(event.streams))
            self._log.warning("streams_anew", why=event.reason, streams=event.streams[:MOST_NAMED])
            self._sink.torn(self._venue_session, self.streams.names_of(event.streams), time.time_ns() // 1000)
            self.streams.anew(event.streams)
            self._asking.set()
        elif isinstance(event, Torn):
            TORN.labels(*self._labels, event.reason).inc(len(event.streams))
            self._log.warning("streams_torn", why=event.reason, streams=event.streams[:MOST_NAMED])
            names, now_us = self.streams.names_of(event.streams), time.time_ns() // 1000
            self._sink.torn(self._venue_session, names, now_us, event.data)
            self._sink.begun_anew(self._venue_session, names, now_us)
        elif isinstance(event, ShutdownNotice):
            self._log.info("shutdown_notice")
            self.replace.set()

    def _accepted(self, no_more_refused: Sequence[str]) -> None:
        for stream in no_more_refused:
            self._log.info("subscription_accepted", stream=stream)
        REFUSED.labels(*self._labels).set(len(self._refusals.names()))
        self._settling.look(self._last_frame)

    def _refused(self, news: Sequence[Refusal]) -> None:
        """A refusal concerns the streams of its request; the others go on as if nothing had been."""
        for refusal in news:
            self._log.error("subscription_refused", stream=refusal.stream.stream, code=refusal.code,
                            message=refusal.message, retry_in_s=refusal.pause_s)  # fmt: skip
        REFUSED.labels(*self._labels).set(len(self._refusals.names()))
        self._asking.set()
        self._settling.look(self._last_frame)

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        """Replace a silent socket; find out which streams are silent alone."""
        opened = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, max(0.05, self._settings.silence_s / 4)))
            now = time.monotonic()
            for event in self._venue_session.tick(time.time_ns() // 1_000_000):
                await self._act(socket, event)
            silence_s = self._settings.silence_s * self.streams.patience
            if now - max(self._last_frame, self._pinged) > silence_s / 3:
                self._pinged = now
                with suppress(ConnectionError):
                    await socket.ping()
                self._spend(1)
            if now - self._last_frame > silence_s:
                SILENT_SOCKETS.labels(*self._labels).inc()
                self._log.warning("socket_silent", seconds=round(now - self._last_frame, 1))
                return await self._close(socket, "silent")
            without_data_s = now - max(opened, self.last_data)
            if without_data_s > silence_s and self.expected and not self.replace.is_set():
                SILENT_SOCKETS.labels(*self._labels).inc()
                self._log.warning("socket_without_data", seconds=round(without_data_s, 1))
                self.replace.set()  # pings come, so it may only be a quiet market: the successor overlaps
            self._settling.look(now)
            self._ask_anew(now)
            if self._settling.is_overdue(now) and self._tell_unheard():
                return await self._close(socket, "no data after the acknowledgement")

    async def _close(self, socket: aiohttp.ClientWebSocketResponse[bool], reason: str) -> None:
        self.reason = reason
        await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    def _ask_anew(self, now: float) -> None:
        """Ask again for what was refused, and for what fell silent alone."""
        self.streams.retry(now)
        if now - self.last_data < LIVING_S and (stopped := self.streams.stopped(now, self._patience)):
            STOPPED.labels(*self._labels).inc(len(stopped))
            self._log.warning("stream_stopped", stopped=named(stopped)[:MOST_NAMED], count=len(stopped))
        if unanswered := self.streams.unanswered(now, self._settings.first_message_s):
            UNANSWERED.labels(*self._labels).inc(len(unanswered))
            self._log.warning("requests_unanswered", requests=unanswered)
            self.replace.set()  # with overlap: the streams that do come are not to blame
        if self.streams.queued:
            self._asking.set()

    def _tell_unheard(self) -> bool:
        """Report streams that were acknowledged and never spoke; True when the whole socket is of no use."""
        silent = self.streams.unheard
        if not silent:
            return False
        self._settling.told()
        SILENT_STREAMS.labels(*self._labels).inc(len(silent))
        self._log.warning("stream_silent", silent=named(silent)[:MOST_NAMED], count=len(silent))
        if len(silent) == self.streams.accepted:
            return True
        self.streams.again(silent)  # a symbol listed since then may not know of us
        self._asking.set()
        return False
