"""`fleet import tardis://…`: what a tardis-machine replays over HTTP, into the archive.

    tardis://localhost:8000/binance-futures?symbols=BTCUSDT,ETHUSDT&from=2026-11-20&to=2026-11-22&dataTypes=trade

It is asked day by day, since every day begins with whole books. A reply that breaks off, or ends with an error, is
asked for again; what of it was filed is there already then. The ids of what is filed are made of the local times, so
that the same message always has the same.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from workers.archive.files.layout import Source
from workers.archive.files.storage import Storage
from workers.errors import CommandError, RecordingError, RequestRefused, RestUnavailable, WrongArgument
from workers.model.pauses import Pauses
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.normalised import iso_us
from workers.recordings.tardis.replayed import DATASET_OF, Disconnected, Line, parse_line, refusal_in
from workers.research.filing import Filing
from workers.research.held import Cut
from workers.research.outcome import Imported
from workers.research.tardis_import import BookRows, LineRows, TradeRows

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
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


class ReplayImport:
    """Imports what a URL names.

    Args:
        venue: the name of the folder; empty: what the machine calls the exchange.
        key: of Tardis; empty: the machine has its own, or needs none.
        shown: called now and then with the messages read so far.
    """

    def __init__(
        self, url: ReplayUrl, storage: Storage, level: int, venue: str, key: str, shown: Callable[[int], None]
    ) -> None:
        self._url = url
        self._storage, self._level = storage, level
        self._venue = venue or url.exchange
        self._key = key
        self._shown = shown
        self.outcome = Imported(url.text, "replay-normalized", self._venue)

    async def run(self) -> Imported:
        """Import everything.

        Raises:
            RecordingError: the machine refused the question, or did not answer it whole however often it was asked.
            OSError: the archive cannot be written.
        """
        async with aiohttp.ClientSession(read_bufsize=1 << 20) as session:
            for start, end in self._url.days():
                await self._day(session, start, end)
        return self.outcome

    async def _day(self, session: aiohttp.ClientSession, start: datetime, end: datetime) -> None:
        pauses = Pauses(0.5, 30.0)
        for left in reversed(range(TRIES)):
            day = _Day(self.outcome, self._storage, self._level, self._venue, _us(start), _us(end))
            try:
                async for lines in self._lines(session, self._url.options(start, end, self._key)):
                    day.file(lines)
                    self._shown(self.outcome.rows)
                day.finish()
                return
            except RequestRefused as error:
                raise RecordingError(self._url.text, 0, f"{start.date()}: {error.problem}") from error
            except (aiohttp.ClientError, TimeoutError, RestUnavailable) as error:
                problem = error.problem if isinstance(error, RestUnavailable) else str(error)
                said = f"{start.date()}: {problem or type(error).__name__}"
                if not left:
                    raise RecordingError(self._url.text, 0, said) from error
                self.outcome.note(f"{self._url.text}: {said}; asked again.")
                await asyncio.sleep(pauses.take() * random.uniform(0.5, 1.5))  # noqa: S311 -- no secret
            finally:
                day.close()

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


class _Day:
    """Files the messages of one reply: of one try, since the next one begins anew."""

    def __init__(
        self, outcome: Imported, storage: Storage, level: int, venue: str, from_us: int, to_us: int
    ) -> None:
        self._outcome = outcome
        self._storage, self._level, self._venue = storage, level, venue
        self._from_us, self._to_us = from_us, to_us
        self._symbols: dict[tuple[str, str], _Symbol] = {}
        """By dataset and symbol."""

    def file(self, lines: list[bytes]) -> None:
        """Take some lines. Raises: OSError; RestUnavailable, where one is an error."""
        outcome = self._outcome
        for line in lines:
            if not line:
                continue
            outcome.rows += 1
            try:
                found = parse_line(line)
            except ValueError as error:
                if said := refusal_in(line):
                    raise RestUnavailable(outcome.file, 200, said) from None
                outcome.problem(f"{outcome.file}, message {outcome.rows}: it {error}.")
                continue
            if isinstance(found, Disconnected):
                self._torn(found)
            else:
                self._of(found).take(found)

    def _torn(self, disconnected: Disconnected) -> None:
        named = ", ".join(disconnected.symbols) or "the exchange"
        at = iso_us(disconnected.local_timestamp)
        self._outcome.note(f"{self._outcome.file}: the recorder of {named} was away from {at} on.")
        for (_, symbol), one in self._symbols.items():
            if not disconnected.symbols or symbol in disconnected.symbols:
                one.hole_from = disconnected.local_timestamp

    def _of(self, line: Line) -> _Symbol:
        key = line.dataset, line.symbol
        found = self._symbols.get(key)
        if found is None:
            kinds = {"trades": ("trades", ""), "incremental_book_L2": ("depth", "")}
            kind, channel = kinds.get(line.dataset, ("raw", line.dataset))
            source = Source(self._venue, line.symbol, kind, channel=channel)  # type: ignore[arg-type]  # one of the three
            filing = Filing(self._storage, source, self._level)
            found = _Symbol(line, filing, self._outcome, Cut(self._from_us, self._to_us, _local))
            self._symbols[key] = found
            if line.symbol not in self._outcome.symbols:
                self._outcome.symbols.append(line.symbol)
        return found

    def finish(self) -> None:
        """The reply is whole: write what is left of it."""
        for one in self._symbols.values():
            one.filing.finish()

    def close(self) -> None:
        """Count what was filed."""
        self._outcome.count(one.filing for one in self._symbols.values())
        self._symbols = {}


class _Symbol:
    """One dataset of one symbol."""

    def __init__(self, line: Line, filing: Filing, outcome: Imported, cut: Cut) -> None:
        self.filing = filing
        self.hole_from = 0
        self._outcome = outcome
        self._cut = cut
        self._place = 0
        self._rows: TradeRows | LineRows | None = None
        self._book: BookRows | None = None
        if line.dataset == "incremental_book_L2":
            self._book = BookRows(line.exchange, line.symbol)
        else:
            self._rows = TradeRows(line.exchange) if line.dataset == "trades" else LineRows()

    def take(self, line: Line) -> None:
        """File what a line tells."""
        # in place of a line's number, which would be another one in a reply that begins later
        self._place = place = max(self._place + 1, line.local_timestamp)
        if self._rows is not None:
            self.filing.add(self._rows.rows([place], [line.told], self._outcome))
        elif self._book is not None and isinstance(line.told, BookMessage):
            hole = self.hole_from if line.told.is_snapshot else 0
            told = line.told._replace(line=place, hole_from=hole)
            if hole:
                self.hole_from = 0
            self.filing.add(self._book.messages(self._kept(told), self._outcome))

    def _kept(self, message: BookMessage) -> Iterator[BookMessage]:
        found = list(self._cut.kept(message))
        if not self._cut.is_known:
            self._outcome.ignored += 1
        yield from found


def _local(message: BookMessage) -> int:
    return message.local_timestamp


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _us(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def is_replay(text: str) -> bool:
    """Whether a text names a replay and no file."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def import_replay(
    text: str,
    storage: Storage,
    level: int,
    venue: str,
    environ: Mapping[str, str],
    shown: Callable[[int], None],
) -> Imported:
    """Import what a URL names. Raises: CommandError, RecordingError, OSError."""
    key = environ.get(KEY_VARIABLE, "")
    return asyncio.run(ReplayImport(ReplayUrl.parse(text), storage, level, venue, key, shown).run())
