"""Columns of whole numbers and of decimal texts as bytes, for the blocks of `workers/model/history/block.py`.

A column of numbers is written in the smallest of 1, 2, 4 or 8 bytes each, the first bytes of all numbers
before the second ones of all (the high bytes are mostly equal), then compressed by itself: on real books this
is 6 % smaller than all columns in one frame, and read at the speed of C.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate

import msgspec
import zstandard

ZSTD_LEVEL = 3
"""Higher ones gain 2 to 4 % (`bench/history.py`)."""
MOST_DECIMALS = 40
"""Decimals of a number; `LONGEST_NUMBER` of the order book has no more characters."""
MOST_NUMBERS = 1 << 20
"""Numbers of one column that are still believed; a busy minute of 1,000 levels a side has 25,000."""

_TYPES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LARGEST_CODE = 1 << 60
_DIGITS = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")


def _uniform(decimals: int) -> str:
    """A pattern of decimals with commas after them, all of them with so many decimals and at most 18 digits."""
    fraction = rf"\.[0-9]{{{decimals}}}" if decimals else ""
    return rf"(?:(?:0|[1-9][0-9]{{0,{max(0, 17 - decimals)}}}){fraction},)+"


class Column(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Unsigned numbers below 2^64."""

    count: int
    width: int
    """Bytes of each number."""
    data: bytes
    """A zstandard frame; empty for an empty column."""


def pack_column(numbers: Sequence[int], level: int = ZSTD_LEVEL) -> Column:
    """Numbers from 0 to 2^64 - 1 as bytes. O(n); OverflowError beyond."""
    if not numbers:
        return Column(0, 1, b"")
    bits = max(numbers).bit_length()
    width = next((width for width in _TYPES if bits <= 8 * width), 8)
    cells = array(_TYPES[width], numbers)
    if sys.byteorder == "big":
        cells.byteswap()
    plain = cells.tobytes()
    planes = plain if width == 1 else b"".join(plain[start::width] for start in range(width))
    return Column(len(numbers), width, zstandard.ZstdCompressor(level=level).compress(planes))


def unpack_column(column: Column) -> array[int]:
    """The numbers back. O(n).

    Raises:
        ValueError: damaged, or of another size than it says; never more memory than `MOST_NUMBERS` take.
    """
    kind = _TYPES.get(column.width)
    if kind is None or not 0 <= column.count <= MOST_NUMBERS:
        raise ValueError("a column has an impossible size")
    cells = array(kind)
    if column.count:
        size = column.count * column.width
        try:
            if zstandard.get_frame_parameters(column.data).content_size != size:
                raise ValueError("a column has another size than it says")
            planes = zstandard.ZstdDecompressor().decompress(column.data, max_output_size=size)
        except zstandard.ZstdError as error:
            raise ValueError(f"a column cannot be decompressed ({error})") from error
        plain = bytearray(size)
        for start in range(column.width):
            plain[start :: column.width] = planes[start * column.count : (start + 1) * column.count]
        cells.frombytes(plain)
        if sys.byteorder == "big":
            cells.byteswap()
    return cells


def differences(numbers: Iterable[int]) -> list[int]:
    """Each number less the one before it (the first less 0), signs folded: 0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    folded, before = [], 0
    for number in numbers:
        change = number - before
        folded.append(change << 1 if change >= 0 else (-change << 1) - 1)
        before = number
    return folded


def sums(folded: Iterable[int]) -> list[int]:
    """The reverse of `differences`."""
    return list(accumulate(-(change + 1 >> 1) if change & 1 else change >> 1 for change in folded))


class Spelling(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """How decimals are written as whole numbers, so that the very same text comes back.

    A text written as all others are is counted in units of 10^-decimals. Any other one (more or fewer zeros
    than usual, a bare point, more digits than a number of 60 bits has) is kept as text; its number is `base` plus
    its place in `odd`.
    """

    decimals: int
    plain: bool
    """Whether numbers end with their last digit that is not 0 (`1.5`), or all have `decimals` digits (`1.50`)."""
    base: int
    odd: list[str]

    @classmethod
    def of(cls, texts: Collection[str]) -> tuple[Spelling, dict[str, int]]:
        """The spelling that suits most of these decimals, and the number of each. O(n)."""
        decimals = len(next(iter(texts), "").partition(".")[2])
        joined = ",".join(texts)
        if decimals <= 17 and re.fullmatch(_uniform(decimals), f"{joined},"):  # as exchanges write: fast
            codes = dict(zip(texts, map(int, joined.replace(".", "").split(",")), strict=True))
            return cls(decimals, False, max(codes.values()) + 1, []), codes
        found = {text: _DIGITS.fullmatch(text) for text in texts}
        fractions = [match[2] or "" for match in found.values() if match]
        decimals = max(map(len, fractions), default=0)
        fixed = sum(len(fraction) == decimals for fraction in fractions)
        plain = sum(not fraction.endswith("0") for fraction in fractions) > fixed
        codes, odd = {}, []
        for text, match in found.items():
            fraction = (match[2] or "") if match else ""
            usual = not fraction.endswith("0") if plain else len(fraction) == decimals
            if match and usual and (code := int(match[1] + fraction.ljust(decimals, "0"))) < _LARGEST_CODE:
                codes[text] = code
            else:
                odd.append(text)
        base = max(codes.values(), default=0) + 1
        codes |= {text: base + place for place, text in enumerate(odd)}
        return cls(decimals, plain, base, odd), codes

    def text(self, code: int) -> str:
        """The text of a number. IndexError for one that was never given."""
        if code >= self.base:
            return self.odd[code - self.base]
        if not self.decimals:
            return str(code)
        digits = str(code).rjust(self.decimals + 1, "0")
        text = f"{digits[: -self.decimals]}.{digits[-self.decimals :]}"
        return text.rstrip("0").rstrip(".") if self.plain else text

    def values(self, codes: Sequence[int]) -> list[float]:
        """The numbers as doubles, each the same that `float` makes of its text (both are rounded once)."""
        unit, base = 10**self.decimals, self.base
        return [code / unit if code < base else float(self.odd[code - base]) for code in codes]
