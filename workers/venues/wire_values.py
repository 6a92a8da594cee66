"""Values of wires whatever their spelling: levels, numbers as plain text, times as milliseconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from workers.model.events import Level

Text = Annotated[str, Meta(min_length=1, max_length=40)]
"""A price or quantity of a level."""
Figure = Annotated[str, Meta(max_length=4096)]
"""A price or quantity of a trade: one that is too long is refused as a number, so that its id still counts."""
Brief = Annotated[str, Meta(max_length=64)]
"""What is said of a symbol in a word; it goes into keys and pages."""
Moment = Annotated[datetime, Meta(tz=True)]
"""An RFC 3339 time as wires send it, to the µs or ns: `2026-08-24T22:21:58.343688Z`."""

LONGEST_EXPANDED: Final = 40
"""Characters of a number written without its exponent; a longer one is none of a market."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_PLAIN: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_SECONDS: Final = re.compile(r"[0-9]{1,11}(?:\.[0-9]*)?", re.ASCII)
_WITH_EXPONENT: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]{1,3})")


class WireLevel(Struct, array_like=True, gc=False):
    """A level that may have more after its quantity: `["411.8","10","0","4"]`."""

    price: Text
    quantity: Text


def levels_of(sent: Sequence[WireLevel]) -> list[Level]:
    """Price and quantity as sent."""
    return [(level.price, level.quantity) for level in sent]


def number_text(raw: msgspec.Raw) -> str:
    """A JSON number, or a text that holds one, as plain decimal text: digits and zeros as sent, no exponent.

    `0.00005100` stays as it is, `7e-7` becomes `0.0000007`.

    Raises:
        ValueError: it is no number, or one of more than `LONGEST_EXPANDED` characters by its exponent.
    """
    sent = bytes(raw).strip(b'"')
    if _PLAIN.fullmatch(sent):
        return sent.decode("ascii")
    scientific = _WITH_EXPONENT.fullmatch(sent.decode("ascii", "replace"))
    if scientific is None:
        raise ValueError(f"{sent[:40]!r} is no number")
    sign, whole, fraction, exponent = scientific.groups(default="")
    return sign + _moved_point(whole, fraction, int(exponent))


def _moved_point(whole: str, fraction: str, places: int) -> str:
    digits = whole + fraction
    if not digits.strip("0"):
        return "0"
    point = len(whole) + places
    if max(len(digits), point) - min(point, 0) > LONGEST_EXPANDED:
        raise ValueError("its exponent makes it longer than any number of a market")
    if point <= 0:
        return "0." + "0" * -point + digits
    integer = digits[:point].ljust(point, "0").lstrip("0") or "0"
    return f"{integer}.{digits[point:]}" if digits[point:] else integer


def milliseconds(moment: datetime) -> int:
    """Since 1970; -1 for a time before it, as the zero time `0001-01-01T00:00:00Z` is."""
    return max((moment - _EPOCH) // _MILLISECOND, -1)


def microseconds(moment: datetime) -> int:
    """Since 1970; -1 for a time before it."""
    return max((moment - _EPOCH) // _MICROSECOND, -1)


def seconds_text_ms(text: str) -> int:
    """Milliseconds of plain decimal text in seconds, without a double: `1617666423.606671` → 1617666423606.

    Raises:
        ValueError: it is no plain decimal.
    """
    if not _SECONDS.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no time in seconds")
    whole, _, fraction = text.partition(".")
    return int(whole) * 1000 + int(fraction[:3].ljust(3, "0"))
