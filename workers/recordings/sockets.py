"""The sockets of a recorder: one session of the venue for each."""

from __future__ import annotations

from workers.recordings.records import Opened
from workers.venues.interface import Venue
from workers.venues.session import Session


class RecordedSockets:
    """Which session a recorded frame belongs to.

    Args:
        url: of frames whose socket was not seen to open.
    """

    def __init__(self, venue: Venue, url: str) -> None:
        self._venue = venue
        self._url = url
        self._sessions: dict[str, Session] = {}
        self._urls: set[tuple[str, str]] = set()
        self.all_opened: dict[str, str] = {}
        """By socket, where it went."""

    def opened(self, record: Opened) -> Session | None:
        """A socket was opened; the session of the one that it replaces, which has ended.

        Where frames name no socket, several may be open to several places: only one to the same place replaces it.
        """
        named = (record.socket, record.url)
        again = named in self._urls if not record.socket else record.socket in self._sessions
        self._urls.add(named)
        self.all_opened.setdefault(record.socket, record.url)
        return self._sessions.pop(record.socket, None) if again else None

    def of(self, socket: str) -> Session:
        """The session of a socket."""
        session = self._sessions.get(socket)
        if session is None:
            url = self.all_opened.get(socket) or self._url
            session = self._sessions[socket] = self._venue.session(url)
        return session
