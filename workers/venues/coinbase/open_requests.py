"""What was asked for on a socket of Coinbase and not answered.

An acknowledgement lists all that is subscribed, whoever asked; a refusal is a sentence, and costs its whole request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

_PRODUCT: Final = re.compile(r"[A-Z0-9]+(?:-[A-Z0-9]+)+")


class Refusal(NamedTuple):
    """Of a request: the streams that were refused, and those that it took along and must be asked for again."""

    refused: list[str]
    others: list[str]


class OpenRequests:
    """Streams are `channel:product`; the oldest request is answered first."""

    def __init__(self) -> None:
        self._requests: list[list[str]] = []
        self._accepted: set[str] = set()

    def add(self, streams: Sequence[str]) -> None:
        """One request was sent."""
        self._requests.append(list(streams))

    def forget(self, streams: Iterable[str]) -> None:
        """These are not wanted any more."""
        gone = set(streams)
        self._accepted -= gone
        self._drop(gone)

    def accept(self, streams: Iterable[str]) -> list[str]:
        """Which of all that is subscribed are new, in their order."""
        new = [stream for stream in dict.fromkeys(streams) if stream not in self._accepted]
        self._accepted.update(new)
        self._drop(set(new))
        return new

    def refuse(self, text: str) -> Refusal:
        """What a refusal is about: the products that it names, else the whole of the oldest request. O(open)."""
        named = set(_PRODUCT.findall(text.upper()))
        for request in self._requests:
            refused = [stream for stream in request if stream.partition(":")[2] in named]
            if refused:
                self._requests.remove(request)
                return Refusal(refused, [stream for stream in request if stream not in refused])
        return Refusal(self._requests.pop(0) if self._requests else [], [])

    def _drop(self, streams: set[str]) -> None:
        left = [[stream for stream in request if stream not in streams] for request in self._requests]
        self._requests = [request for request in left if request]
