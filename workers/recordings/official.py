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
import zlib
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
MOST_ID: Final = 2**63
_UNREADABLE: Final = (
    OSError, zipfile.BadZipFile, zlib.error, UnicodeDecodeError, csv.Error, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip
"""What a package raises that is damaged, or packed or encrypted as none of these files is."""
_KLINE_COLUMNS: Final = 12
_KLINE_NUMBERS: Final = (1, 2, 3, 4, 5, 7, 9)
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
        is_klines = self.kind() == "klines"
        if self._first_time(0) >= MICROSECONDS_FROM if is_klines else _is_flag(self._first()[1][-2]):
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

    def _first_time(self, place: int) -> int:
        line, row = self._first()
        try:
            return int(row[place])
        except ValueError:
            raise RecordingError(str(self.path), line, f"{row[place][:40]!r} is no time") from None

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
        # of rows that are no trade, the ids of fills are -1
        trade_id, first, last = _trade_id(row[0]), _trade_id(row[3], -1), _trade_id(row[4], -1)
        return Trade(self.symbol, trade_id, _number(row[1]), _number(row[2]), first, last, time, time, maker)

    def _raw(self, row: list[str]) -> Trade:
        trade_id, maker, time = _trade_id(row[0]), _TRUTH[row[5].strip().lower()], _ms(row[4])
        price, quantity = _number(row[1]), _number(row[2])
        return Trade(self.symbol, trade_id, price, quantity, trade_id, trade_id, time, time, maker)

    def klines(self) -> Iterator[tuple[int, tuple[str, str, str, str, str, str, str]]]:
        """The rows of a klines file: the start (ms), and open, high, low, close, volume, quote and taker buy volume.

        Raises:
            RecordingError: the file cannot be read at some line.
        """
        for line, row in self._rows():
            try:
                opened, high, low, closed, volume, quote, bought = (_number(row[at]) for at in _KLINE_NUMBERS)
                yield _ms(row[0]), (opened, high, low, closed, volume, quote, bought)
            except (ValueError, IndexError):
                problem = f"{','.join(row)[:80]!r} is no row of klines"
                raise RecordingError(str(self.path), line, problem) from None

    def window_ms(self) -> int:
        """The length of a klines file's windows."""
        opened, closed = self._first_time(0), self._first_time(6)
        return _in_ms(closed) + 1 - _in_ms(opened)

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
        except _UNREADABLE as error:
            problem = getattr(error, "strerror", None) or error
            raise RecordingError(str(self.path), 0, f"the file cannot be read: {problem}") from error


def _in_ms(time: int) -> int:
    return time // 1000 if time >= MICROSECONDS_FROM else time


def _ms(text: str) -> int:
    time = _in_ms(int(text))
    if not 0 <= time < MICROSECONDS_FROM:
        raise ValueError(text)
    return time


def _trade_id(text: str, least: int = 0) -> int:
    number = int(text)
    if not least <= number < MOST_ID:
        raise ValueError(text)
    return number


def _number(text: str) -> str:
    try:
        is_number = Decimal(text).is_finite()
    except InvalidOperation:
        is_number = False
    if not is_number:
        raise ValueError(text)
    return text


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
