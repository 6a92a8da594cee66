"""The aggregate trades that Binance publishes on data.binance.vision: a .zip with one .csv, or the .csv itself.

Spot files have 8 columns (the last says "best match") and no header, times in µs from 2025-01-01 on and in ms
before. Futures files have 7 columns, times in ms, and a header row in newer ones. Beside a file may lie
`<file>.CHECKSUM`, a line of sha256sum. Published files are known to repeat rows and to have some out of order.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Final, NamedTuple, TextIO, cast

from workers.errors import RecordingError
from workers.model.events import Trade
from workers.model.reordering import in_order
from workers.recordings.records import Market

MICROSECONDS_FROM: Final = 10**14
"""Times this large are microseconds; as ms they would be the year 5138."""
REORDERED: Final = 20_000
"""How many rows a row may stand behind its place."""
_SPOT_COLUMNS: Final = 8
_FUTURES_COLUMNS: Final = 7
_NAME: Final = re.compile(
    r"(?P<symbol>.+)-aggTrades-(?P<year>\d{4})-(?P<month>\d{2})(?:-(?P<day>\d{2}))?\.(?:zip|csv)"
)
_COINM: Final = re.compile(r".+USD_(?:PERP|\d{6})")
_FOLDERS: Final[dict[str, Market]] = {"spot": "spot", "um": "usdm", "cm": "coinm"}
_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}


class Period(NamedTuple):
    """A stretch of time, ms, without its end."""

    start_ms: int
    end_ms: int


class OfficialTrades:
    """One published file; nothing is read before `trades`.

    Args:
        path: as downloaded; another name is fine where symbol and market are given otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        named = _NAME.fullmatch(path.name)
        self.symbol = named["symbol"] if named else ""
        """Empty where the file's name does not tell it."""
        self.period = _period(int(named["year"]), int(named["month"]), named["day"]) if named else None
        """The days the file's name says it holds."""

    def verify_checksum(self) -> bool:
        """Compare with the `.CHECKSUM` beside the file; False when there is none.

        Raises:
            RecordingError: the file is another one than the checksum's.
        """
        beside = self.path.with_name(self.path.name + ".CHECKSUM")
        if not beside.is_file():
            return False
        words = beside.read_text(encoding="utf-8", errors="replace").split()
        with self._readable(), self.path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
        if not words or words[0].lower() != found:
            raise RecordingError(str(self.path), 0, f"its sha256 is {found}, {beside.name} says otherwise")
        return True

    def market(self) -> Market:
        """The market: told by the folders of the download site, else by the columns and the symbol."""
        for folder in reversed(self.path.absolute().parent.parts):
            if folder in _FOLDERS:
                return _FOLDERS[folder]
        columns = next((len(row) for _, row in self._rows()), _FUTURES_COLUMNS)
        if columns == _SPOT_COLUMNS:
            return "spot"
        return "coinm" if _COINM.fullmatch(self.symbol) else "usdm"

    def trades(self) -> Iterator[Trade]:
        """The rows as they stand; times in ms, event time as the trade time.

        Raises:
            RecordingError: the file cannot be read at some line.
        """
        for line, row in self._rows():
            try:
                maker = _TRUTH[row[6].strip().lower()]
                time = int(row[5])
                time = time // 1000 if time >= MICROSECONDS_FROM else time
                yield Trade(
                    self.symbol, int(row[0]), row[1], row[2], int(row[3]), int(row[4]), time, time, maker
                )
            except (ValueError, KeyError, IndexError):
                problem = f"{','.join(row)[:80]!r} is no row of aggregate trades"
                raise RecordingError(str(self.path), line, problem) from None

    def in_order(self) -> Iterator[Trade]:
        """The rows by id; one more than `REORDERED` rows behind its place comes late."""
        return in_order(self.trades(), lambda trade: trade.trade_id, REORDERED)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with self._readable(), self._text() as text:
            reader = csv.reader(text)
            for row in reader:
                if not row or (reader.line_num == 1 and not row[0].lstrip("\ufeff").strip().isdigit()):
                    continue
                row[0] = row[0].lstrip("\ufeff")
                yield reader.line_num, row

    @contextmanager
    def _text(self) -> Iterator[TextIO]:
        if self.path.suffix != ".zip":
            with self.path.open(encoding="utf-8", newline="") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as packed:
            names = [name for name in packed.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise RecordingError(str(self.path), 0, f"it holds {len(names)} .csv files, not one")
            with packed.open(names[0]) as data, io.TextIOWrapper(data, "utf-8", newline="") as file:
                yield cast(TextIO, file)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, zipfile.BadZipFile, UnicodeDecodeError, csv.Error, EOFError) as error:
            problem = getattr(error, "strerror", None) or error
            raise RecordingError(str(self.path), 0, f"the file cannot be read: {problem}") from error


def _period(year: int, month: int, day: str | None) -> Period | None:
    try:
        if day:
            start = _midnight_ms(date(year, month, int(day)))
            return Period(start, start + 86_400_000)
        after = date(year + month // 12, month % 12 + 1, 1)
        return Period(_midnight_ms(date(year, month, 1)), _midnight_ms(after))
    except ValueError:
        return None


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
