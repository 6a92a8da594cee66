"""What Binance publishes on data.binance.vision: a .zip with one .csv, or the .csv itself.

| kind | columns |
|---|---|
| aggTrades | id, price, quantity, first and last trade id, time, buyer is maker; spot: best match |
| trades | id, price, quantity, quote quantity, time, buyer is maker; spot: best match |
| klines | open time, open, high, low, close, volume, close time, quote volume, count, two of takers, ignored |

The columns decide the kind, whatever the file is called. Spot files have times in µs from 2025-01-01 on and in ms
before; futures files have ms, and a header row in newer ones. Beside a file may lie `<file>.CHECKSUM`, a line
of sha256sum.
Published files are known to repeat rows, to have them out of order, and to hold rows of the neighbouring day.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import file_digest
from pathlib import Path
from typing import Final, Literal, TextIO, cast

from workers.errors import RecordingError
from workers.model.events import Trade
from workers.recordings.oddities import Oddities
from workers.recordings.records import Market, Period

MICROSECONDS_FROM: Final = 10**14
"""Times this large are microseconds; as ms they would be the year 5138."""
FileKind = Literal["aggTrades", "trades", "klines"]
_KLINE_COLUMNS: Final = 12
_NAME: Final = re.compile(
    r"(?P<symbol>.+)-(?:aggTrades|trades|\d+[a-zA-Z]+)-(?P<year>\d{4})-(?P<month>\d{2})(?:-(?P<day>\d{2}))?\.(?:zip|csv)"
)
_HEADING: Final = re.compile(r"[A-Za-z_][A-Za-z_ ]*")
_COINM: Final = re.compile(r".+USD_(?:PERP|\d{6})")
_FOLDERS: Final[dict[str, Market]] = {"spot": "spot", "um": "usdm", "cm": "coinm"}
_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}


class OfficialFile:
    """One published file; nothing is read before it is asked for.

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
        self.oddities = Oddities(self.period)
        """What is odd about the rows that `trades` has given since it was last asked."""

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
        if self.kind() == "klines":
            spot = int(self._first_row()[0]) >= MICROSECONDS_FROM
        else:
            spot = _is_flag(self._first_row()[-2])
        if spot:
            return "spot"
        return "coinm" if _COINM.fullmatch(self.symbol) else "usdm"

    def kind(self) -> FileKind:
        """What the columns are those of.

        Raises:
            RecordingError: of nothing that can be compared.
        """
        line, row = self._first()
        flags = [_is_flag(cell) for cell in row]
        if len(row) == _KLINE_COLUMNS and not any(flags[:6]):
            return "klines"
        if len(row) > 6 and not flags[5] and row[6].strip().lower() in _TRUTH:
            return "aggTrades"
        if len(row) in (6, 7) and flags[5]:
            return "trades"
        problem = f"{','.join(row)[:80]!r} is no row of aggTrades, trades or klines"
        raise RecordingError(str(self.path), line, problem)

    def _first_row(self) -> list[str]:
        return self._first()[1]

    def _first(self) -> tuple[int, list[str]]:
        for line, row in self._rows():
            return line, row
        raise RecordingError(str(self.path), 0, "it holds no rows")

    def trades(self) -> Iterator[Trade]:
        """The rows of an aggTrades or trades file as they stand; times in ms, event time as the trade time.

        Raises:
            RecordingError: the file cannot be read at some line.
        """
        parse = self._raw if self.kind() == "trades" else self._aggregate
        oddities = self.oddities = Oddities(self.period)
        for line, row in self._rows():
            try:
                trade = parse(row)
            except (ValueError, KeyError, IndexError):
                problem = f"{','.join(row)[:80]!r} is no row of {self.kind()}"
                raise RecordingError(str(self.path), line, problem) from None
            oddities.look(line, trade.trade_id, trade.trade_time)
            yield trade

    def _aggregate(self, row: list[str]) -> Trade:
        maker, time = _TRUTH[row[6].strip().lower()], _ms(row[5])
        return Trade(self.symbol, int(row[0]), row[1], row[2], int(row[3]), int(row[4]), time, time, maker)

    def _raw(self, row: list[str]) -> Trade:
        trade_id, maker, time = int(row[0]), _TRUTH[row[5].strip().lower()], _ms(row[4])
        return Trade(self.symbol, trade_id, row[1], row[2], trade_id, trade_id, time, time, maker)

    def klines(self) -> Iterator[tuple[int, tuple[str, str, str, str, str, str, str]]]:
        """The rows of a klines file: the start (ms), and open, high, low, close, volume, quote and taker buy volume.

        Raises:
            RecordingError: the file cannot be read at some line.
        """
        for line, row in self._rows():
            try:
                numbers = (row[1], row[2], row[3], row[4], row[5], row[7], row[9])
                for number in numbers:
                    Decimal(number)
                yield _ms(row[0]), numbers
            except (ValueError, IndexError, InvalidOperation):
                problem = f"{','.join(row)[:80]!r} is no row of klines"
                raise RecordingError(str(self.path), line, problem) from None

    def window_ms(self) -> int:
        """The length of a klines file's windows."""
        row = self._first_row()
        return _ms(row[6]) + 1 - _ms(row[0])

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows without headers, which stand wherever files were joined."""
        with self._readable(), self._text() as text:
            reader = csv.reader(text)
            for row in reader:
                if not row:
                    continue
                row[0] = row[0].lstrip("\ufeff")
                if not _is_header(row):
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
                problem = f"it holds {len(names)} .csv files, not one: unpack it and compare each"
                raise RecordingError(str(self.path), 0, problem)
            with packed.open(names[0]) as data, io.TextIOWrapper(data, "utf-8", newline="") as file:
                yield cast(TextIO, file)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, zipfile.BadZipFile, UnicodeDecodeError, csv.Error, EOFError) as error:
            problem = getattr(error, "strerror", None) or error
            raise RecordingError(str(self.path), 0, f"the file cannot be read: {problem}") from error


def _ms(text: str) -> int:
    time = int(text)
    return time // 1000 if time >= MICROSECONDS_FROM else time


def _is_flag(cell: str) -> bool:
    return cell.strip().lower() in ("true", "false")


def _is_header(row: list[str]) -> bool:
    """Whether a row is made of names."""
    return all(_HEADING.fullmatch(cell.strip()) and not _is_flag(cell) for cell in row)


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
