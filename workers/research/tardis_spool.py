"""What a tardis-machine replays, as a file of its lines: a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from workers.errors import RestUnavailable
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.normalised import encode_change
from workers.recordings.tardis.replayed import Line, parse_line, refusal_in
from workers.research.symbol_data import Cut
from workers.research.tardis_machine import Machine, ReplayUrl
from workers.research.tardis_replay import local_time_of


class _Day:
    """Appends the lines of one try of a day; nothing of one that is not whole stays.

    A book begins with the whole one of midnight also where less is asked for: what came before makes the one that the
    stretch begins with. What is no message is left to whoever reads the file.
    """

    def __init__(self, url: str, file: BinaryIO, from_us: int, to_us: int) -> None:
        self._url, self._file, self._began = url, file, file.tell()
        self._stretch = from_us, to_us
        self._cuts: dict[tuple[str, str], Cut] = {}
        self._is_whole = False

    def file(self, lines: list[bytes]) -> None:
        """Take some lines. Raises: OSError; RestUnavailable, where one is an error."""
        for line in filter(None, lines):
            try:
                found = parse_line(line)
            except ValueError:
                if said := refusal_in(line):
                    raise RestUnavailable(self._url, 200, said) from None
                found = None
            if isinstance(found, Line) and isinstance(found.told, BookMessage):
                names = found.exchange, found.symbol
                cut = self._cuts.setdefault(names, Cut(*self._stretch, local_time_of))
                for kept in cut.kept(found.told):
                    self._file.write(encode_change(*names, kept) + b"\n")
            else:
                self._file.write(line + b"\n")

    def finish(self) -> None:
        """The reply is whole."""
        self._is_whole = True

    def close(self) -> None:
        """Take back what is not whole."""
        if not self._is_whole:
            self._file.seek(self._began)
            self._file.truncate()


async def spool(text: str, folder: Path, key: str, note: Callable[[str], None]) -> Path:
    """A file in a folder with what a URL names, in the order it was replayed.

    Raises:
        CommandError: the URL is none.
        RecordingError, OSError: as of `Machine.run`.
    """
    url = ReplayUrl.parse(text)
    path = folder / f"{url.exchange}.jsonl"
    with path.open("wb") as file:
        await Machine(url, key, note).run(lambda from_us, to_us: _Day(url.base, file, from_us, to_us))
    return path
