"""Values as COPY takes them in its text format. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from workers.model.trades.windows import LATEST_MS

NULL: Final = "\\N"
MOST_BIGINT: Final = 2**63 - 1
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,100}(?:\.\d{0,100})?|\.\d{1,100})", re.ASCII)
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""In JSON."""
_ESCAPED: Final = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\N{REPLACEMENT CHARACTER}"}
)


def line_of(cells: Iterable[str]) -> str:
    """A row."""
    return "\t".join(cells) + "\n"


def text(value: str) -> str:
    """Any text; PostgreSQL has no NUL, nor half of a surrogate pair."""
    if value.isalnum():
        return value
    return value.encode(errors="replace").decode().translate(_ESCAPED)


def is_number(value: str | None) -> bool:
    """Whether NUMERIC takes it as it stands, every digit of it kept."""
    return value is not None and _NUMBER.fullmatch(value) is not None


def number(value: str | None) -> str:
    """An exact decimal; NULL for what is none."""
    return value if value is not None and _NUMBER.fullmatch(value) else NULL


def integer(value: int | None) -> str:
    """A bigint; NULL for what is beyond it."""
    return str(value) if value is not None and -MOST_BIGINT <= value <= MOST_BIGINT else NULL


def double(value: float | None) -> str:
    """A double, so that the same one is read again; NULL for none."""
    return NULL if value is None else repr(value)


def json(value: object) -> str:
    """A jsonb, which has no NUL either; NULL for none."""
    if value is None:
        return NULL
    return text(_NUL.sub("\\1\N{REPLACEMENT CHARACTER}", msgspec.json.encode(value).decode()))


def flag(value: object) -> str:
    """A boolean."""
    return "t" if value else "f"


def numbers(values: Iterable[str]) -> str:
    """An array of exact decimals."""
    return "{" + ",".join(value if _NUMBER.fullmatch(value) else "NULL" for value in values) + "}"


@lru_cache(8192)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def is_time(ms: int | None) -> bool:
    """Whether it is a time of our era, ms."""
    return ms is not None and 0 <= ms < LATEST_MS


def from_ms(ms: int | None) -> str:
    """A timestamptz of ms since 1970; NULL for 0 and for what is no such time."""
    if ms is None or not 0 < ms < LATEST_MS:
        return NULL
    return f"{_second(ms // 1000)}.{ms % 1000:03d}+00"


def from_us(us: int | None) -> str:
    """The same of µs."""
    if us is None or not 0 < us < 1000 * LATEST_MS:
        return NULL
    return f"{_second(us // 1_000_000)}.{us % 1_000_000:06d}+00"


def whole(value: bytes | None) -> int | None:
    """A count, an id or a time in the text of Redis; None for what is none."""
    if value is None or len(value) > 18 or not value.removeprefix(b"-").isdigit():
        return None
    return int(value)
