"""The stream on which a venue announces listings and delistings: one quiet socket, opened again for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp
import structlog
from prometheus_client import Counter, Gauge

from workers.errors import MalformedFrame
from workers.venues.interface import Announcements, ContractNotice, Refused, ShutdownNotice, Venue

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
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    socket = await self._session.ws_connect(
                        self._where.url, heartbeat=PING_S, max_msg_size=LARGEST_FRAME, compress=0
                    )
                pause = FIRST_PAUSE_S
                await self._serve(socket)
                reason = f"closed with {socket.close_code}"
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                reason = str(error) or type(error).__name__
            LOST.labels(self._venue.name).inc()
            log.warning("announcements_lost", venue=self._venue.name, url=self._where.url, reason=reason,
                        retry_in_s=pause)  # fmt: skip
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        OPEN.labels(self._venue.name).set(1)
        try:
            await socket.send_str(self._venue.subscribe([self._where.stream], 1))
            log.info("announcements_connected", venue=self._venue.name, url=self._where.url)
            self._opened()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and not self._note(message.data):
                    return
        finally:
            OPEN.labels(self._venue.name).set(0)
            with suppress(Exception):  # of no use any more, whatever becomes of it
                await asyncio.wait_for(socket.close(), CLOSE_TIMEOUT_S)

    def _note(self, text: str) -> bool:
        """Take in a frame; False when the exchange is about to close the socket."""
        try:
            frame = self._venue.split(text)
        except MalformedFrame as error:
            log.warning("malformed_frame", venue=self._venue.name, error=str(error))
            return True
        except Exception:  # nobody foresaw it: it costs this frame, not the keeper
            FAILED.labels(self._venue.name).inc()
            log.exception("announcement_failed", venue=self._venue.name, excerpt=text[:120])
            return True
        if isinstance(frame, ContractNotice):
            NOTICES.labels(self._venue.name).inc()
            log.info("announcement", venue=self._venue.name, symbol=frame.symbol, status=frame.status)
            self._take(frame)
        elif isinstance(frame, Refused):
            log.error("subscription_refused", venue=self._venue.name, code=frame.code, message=frame.message)
        return not isinstance(frame, ShutdownNotice)
