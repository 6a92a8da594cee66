"""What REST is asked for."""

from __future__ import annotations

from typing import NamedTuple


class RestRequest(NamedTuple):
    """A GET, its cost, and how long its reply can be."""

    url: str
    weight: int
    pool: str
    most_bytes: int
    """Of the body, unpacked: far beyond what the exchange sends, and what memory bears."""
