"""The stream on which a venue announces listings and delistings: one quiet socket, opened again for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp
import structlog
from prometheus_client import Counter, Gauge

from workers.errors import MalformedFrame
from workers.model.pauses import Pauses
from workers.venues.interface import Announcements, Venue
from workers.venues.messages import ContractNotice, Refused, ShutdownNotice, Subscription
from workers.venues.session import Session

log = structlog.get_logger()

NOTICES = Counter(
    "fleet_announcements_total", "Listings, delistings and changes the exchange announced", ["venue"]
)
OPEN = Gauge("fleet_announcements_connected", "1 while the venue's announcements are read", ["venue"])
FAILED = Counter(
    "fleet_announcement_failed_total",
    "Announcements that ended in an error nobody foresaw, and were dropped",
    ["venue"],
)
LOST = Counter("fleet_announcements_lost_total", "Times the socket of the announcements ended", ["venue"])

PING_S: Final = 20.0
"""The stream is silent for days: our own pings tell whether the socket lives."""
OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
LARGEST_FRAME: Final = 1 << 20


class AnnouncementReader:
    """Reads the announcements of one venue.

    Args:
        take: called with each notice.
        opened: called when the stream is there (again): what was announced before was missed.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        venue: Venue,
        where: Announcements,
        take: Callable[[ContractNotice], None],
        opened: Callable[[], None],
    ) -> None:
        self._session = session
        self._venue = venue
        self._where = where
        self._take = take
        self._opened = opened

    async def run(self) -> None:
        """Read until cancelled."""
        pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    socket = await self._session.ws_connect(
                        self._where.url, heartbeat=PING_S, max_msg_size=LARGEST_FRAME, compress=0
                    )
                pauses.reset()
                await self._serve(socket)
                reason = f"closed with {socket.close_code}"
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                reason = str(error) or type(error).__name__
            pause_s = pauses.take()
            LOST.labels(self._venue.name).inc()
            log.warning("announcements_lost", venue=self._venue.name, url=self._where.url, reason=reason,
                        retry_in_s=pause_s)  # fmt: skip
            await asyncio.sleep(pause_s)

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        OPEN.labels(self._venue.name).set(1)
        try:
            session = self._venue.session(self._where.url)
            stream = Subscription(self._where.stream, "announcements", "")
            for frame in session.subscribe([stream], 1):
                await socket.send_str(frame)
            log.info("announcements_connected", venue=self._venue.name, url=self._where.url)
            self._opened()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and not self._note(session, message.data):
                    return
        finally:
            OPEN.labels(self._venue.name).set(0)
            with suppress(Exception):  # of no use any more, whatever becomes of it
                await asyncio.wait_for(socket.close(), CLOSE_TIMEOUT_S)

    def _note(self, session: Session, text: str) -> bool:
        """Take in a frame; False when the exchange is about to close the socket."""
        try:
            events = session.received(text, time.time_ns() // 1_000_000)
        except MalformedFrame as error:
            log.warning("malformed_frame", venue=self._venue.name, error=str(error))
            return True
        except Exception:  # nobody foresaw it: it costs this frame, not the keeper
            FAILED.labels(self._venue.name).inc()
            log.exception("announcement_failed", venue=self._venue.name, excerpt=text[:120])
            return True
        for event in events:
            if isinstance(event, ContractNotice):
                NOTICES.labels(self._venue.name).inc()
                log.info("announcement", venue=self._venue.name, symbol=event.symbol, status=event.status)
                self._take(event)
            elif isinstance(event, Refused):
                log.error(
                    "subscription_refused", venue=self._venue.name, code=event.code, message=event.message
                )
        return not any(isinstance(event, ShutdownNotice) for event in events)
