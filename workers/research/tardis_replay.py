"""`fleet import tardis://…`: what a tardis-machine replays over HTTP, into the archive.

The ids of what is filed are made of the local times, so that the same message always has the same: what was filed of a
reply that broke off is there already when the day is asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from workers.archive.files.layout import Source
from workers.archive.files.storage import Storage
from workers.errors import RestUnavailable
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.normalised import iso_us
from workers.recordings.tardis.replayed import Disconnected, Line, parse_line, refusal_in
from workers.research.filing import Filing, bound
from workers.research.outcome import Imported
from workers.research.symbol_data import Cut
from workers.research.tardis_import import BookRows, LineRows, TradeRows
from workers.research.tardis_machine import KEY_VARIABLE, Machine, ReplayUrl, Taker


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
        """Import everything. Raises: as of `Machine.run`."""
        await Machine(self._url, self._key, self.outcome.note).run(self._day)
        return self.outcome

    def _day(self, from_us: int, to_us: int) -> Taker:
        return _Day(self.outcome, self._storage, self._level, self._venue, from_us, to_us, self._shown)


class _Day:
    """Files the messages of one reply: of one try, since the next one begins anew."""

    def __init__(
        self,
        outcome: Imported,
        storage: Storage,
        level: int,
        venue: str,
        from_us: int,
        to_us: int,
        shown: Callable[[int], None],
    ) -> None:
        self._outcome = outcome
        self._storage, self._level, self._venue = storage, level, venue
        self._from_us, self._to_us = from_us, to_us
        self._shown = shown
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
        bound(one.filing for one in self._symbols.values())
        self._shown(outcome.rows)

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
            found = _Symbol(line, filing, self._outcome, Cut(self._from_us, self._to_us, local_time_of))
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
        if self.hole_from and isinstance(self._rows, TradeRows):
            holes = list(self._rows.hole(self.hole_from))
            self._outcome.holes += len(holes)
            self.filing.add(holes)
            self.hole_from = 0
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


def local_time_of(message: BookMessage) -> int:
    return message.local_timestamp


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
