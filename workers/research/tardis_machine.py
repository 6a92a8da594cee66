"""Asking a tardis-machine for what it replays over HTTP, day by day.

    tardis://localhost:8000/binance-futures?symbols=BTCUSDT,ETHUSDT&from=2026-11-20&to=2026-11-22&dataTypes=trade

It is asked day by day, since every day begins with whole books. A reply that breaks off, or ends with an error, is
asked for again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from workers.errors import CommandError, RecordingError, RequestRefused, RestUnavailable, WrongArgument
from workers.model.pauses import Pauses
from workers.recordings.tardis.normalised import microseconds
from workers.recordings.tardis.replayed import DATASET_OF, refusal_in

SCHEMES: Final = {"tardis": "http", "tardis+https": "https"}
KEY_VARIABLE: Final = "TARDIS_API_KEY"
TYPES: Final = ("trade", "book_change")
"""What is asked for where the URL names nothing."""
TRIES: Final = 6
FINAL: Final = (400, 401, 403, 404)
"""What says that the same question would be refused again."""
SILENT_S: Final = 120.0
"""How long nothing may come of a reply under way."""
LONGEST_LINE: Final = 64 << 20
LINES: Final = 1_000
"""Of a reply, that are filed at once."""
_DAY: Final = timedelta(days=1)


class ReplayUrl(NamedTuple):
    """What is asked of which machine."""

    text: str
    """As it was written."""
    base: str
    exchange: str
    symbols: list[str]
    types: list[str]
    start: datetime
    end: datetime

    @classmethod
    def parse(cls, text: str) -> ReplayUrl:
        """Raises: CommandError."""
        url = urlsplit(text)
        query = dict(parse_qsl(url.query))
        exchange, symbols = (
            url.path.strip("/"),
            [name for name in query.pop("symbols", "").split(",") if name],
        )
        types = [name for name in query.pop("dataTypes", ",".join(TYPES)).split(",") if name]
        try:
            start, end = (_time(query.pop(name, "")) for name in ("from", "to"))
        except ValueError:
            raise CommandError(f"{text}: write &from= and &to= as ISO times, such as 2026-11-20.") from None
        if not url.hostname or not exchange or query or start >= end:
            raise CommandError(
                f"{text}: write tardis://HOST:PORT/EXCHANGE?symbols=A,B&from=TIME&to=TIME, the end after the start."
            )
        for name in types:
            if name not in DATASET_OF:
                raise WrongArgument(f"{text}: {name!r} cannot be imported", list(DATASET_OF))
        return cls(text, f"{SCHEMES[url.scheme]}://{url.netloc}", exchange, symbols, types, start, end)

    def days(self) -> Iterator[tuple[datetime, datetime]]:
        """The days, the first and the last cut to what is asked for."""
        start = self.start
        while start < self.end:
            end = min(self.end, start.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY)
            yield start, end
            start = end

    def options(self, start: datetime, end: datetime, key: str) -> list[dict[str, Any]]:
        """What to ask for of a day. The book from midnight on: before then no whole one is told."""
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        by_start: dict[datetime, list[str]] = {}
        for name in self.types:
            by_start.setdefault(midnight if name == "book_change" else start, []).append(name)
        found = []
        for begin, types in by_start.items():
            options: dict[str, Any] = {"exchange": self.exchange, "dataTypes": types}
            options |= {"from": begin.isoformat(), "to": end.isoformat(), "withDisconnectMessages": True}
            options |= {"symbols": self.symbols} if self.symbols else {}
            found.append(options | ({"apiKey": key} if key else {}))
        return found


class Taker(Protocol):
    """What takes the reply of a day: of one try, since the next one begins anew."""

    def file(self, lines: list[bytes]) -> None:
        """Take some lines. Raises: OSError; RestUnavailable, where one is an error."""

    def finish(self) -> None:
        """The reply is whole."""

    def close(self) -> None:
        """Nothing more comes, whether it was whole or not."""


class Machine:
    """Asks a machine for what a URL names, day by day.

    Args:
        key: of Tardis; empty: the machine has its own, or needs none.
        note: told, in a sentence, that a day is asked for again.
    """

    def __init__(self, url: ReplayUrl, key: str, note: Callable[[str], None]) -> None:
        self._url = url
        self._key = key
        self._note = note

    async def run(self, taker_of: Callable[[int, int], Taker]) -> None:
        """Give each try of a day (its start and end, µs) a taker of its own.

        Raises:
            RecordingError: the machine refused the question, or did not answer it whole however often it was asked.
            OSError: a taker cannot write.
        """
        async with aiohttp.ClientSession(read_bufsize=1 << 20) as session:
            for start, end in self._url.days():
                await self._day(session, start, end, taker_of)

    async def _day(
        self,
        session: aiohttp.ClientSession,
        start: datetime,
        end: datetime,
        taker_of: Callable[[int, int], Taker],
    ) -> None:
        pauses = Pauses(0.5, 30.0)
        for left in reversed(range(TRIES)):
            taker = taker_of(microseconds(start), microseconds(end))
            try:
                async for lines in self._lines(session, self._url.options(start, end, self._key)):
                    taker.file(lines)
                taker.finish()
                return
            except RequestRefused as error:
                raise RecordingError(self._url.text, 0, f"{start.date()}: {error.problem}") from error
            except (aiohttp.ClientError, TimeoutError, RestUnavailable) as error:
                problem = error.problem if isinstance(error, RestUnavailable) else str(error)
                said = f"{start.date()}: {problem or type(error).__name__}"
                if not left:
                    raise RecordingError(self._url.text, 0, said) from error
                self._note(f"{self._url.text}: {said}; asked again.")
                await asyncio.sleep(pauses.take() * random.uniform(0.5, 1.5))  # noqa: S311 -- no secret
            finally:
                taker.close()

    async def _lines(
        self, session: aiohttp.ClientSession, options: list[dict[str, Any]]
    ) -> AsyncIterator[list[bytes]]:
        """The lines of a reply, some at a time."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=SILENT_S)
        query = {"options": json.dumps(options, separators=(",", ":"))}
        url = f"{self._url.base}/replay-normalized"
        async with session.get(url, params=query, headers=headers, timeout=timeout) as reply:
            if reply.status != 200:
                body = await reply.content.read(10_000)
                said = refusal_in(body) or f"status {reply.status}"
                is_final = reply.status in FINAL or said.startswith("Invalid")
                raise (RequestRefused if is_final else RestUnavailable)(url, reply.status, said)
            rest = bytearray()
            async for chunk in reply.content.iter_any():
                rest += chunk
                if len(rest) > LONGEST_LINE:
                    raise RequestRefused(url, 200, "a line is too long")
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                for first in range(0, len(lines), LINES):
                    yield lines[first : first + LINES]
            if rest:
                said = refusal_in(bytes(rest)) or "the reply ends in the middle of a line"
                raise RestUnavailable(url, 200, said)


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)


def is_replay(text: str) -> bool:
    """Whether a text names a replay and no file."""
    return text.partition("://")[0] in SCHEMES and "://" in text
