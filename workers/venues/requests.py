"""What REST is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Post(NamedTuple):
    """What makes a request a POST of a user's own; what it says is between the user and the exchange."""

    body: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        """Without a word of it: what is printed may end up in a log."""
        return "Post(…)"

    def __rich_repr__(self) -> Iterator[str]:
        """The same where rich prints it."""
        yield "…"


class RestRequest(NamedTuple):
    """A GET (or a POST), its cost, and how long its reply can be."""

    url: str
    weight: int
    pool: str
    most_bytes: int
    """Of the body, unpacked: far beyond what the exchange sends, and what memory bears."""
    post: Post | None = None
