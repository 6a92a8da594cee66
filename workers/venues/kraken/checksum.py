"""The checksum Kraken sends with every book message: CRC32 of the ten best levels a side, as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final
from zlib import crc32

from workers.model.books.checksum import ChecksumRule
from workers.model.events import Level

LEVELS: Final = 10


def book_checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Asks upwards, then bids downwards: price and quantity without points and leading zeros. O(levels).

    Source: Kraken's "Book checksum" guides of v1 and v2. A side with fewer than ten levels gives what it has.
    """
    figures = chain.from_iterable(chain(asks[:LEVELS], bids[:LEVELS]))
    return crc32("".join(figure.replace(".", "").lstrip("0") for figure in figures).encode())


RULE: Final = ChecksumRule(LEVELS, book_checksum)
