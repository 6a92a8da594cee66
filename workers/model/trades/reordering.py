"""Putting a long list that is nearly in order into order, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Reordering(Generic[Item]):
    """Gives items out in order of their key, as far as each is at most `within` items behind its place.

    Items of one key keep their order. Memory: `within` items. Cost: O(log within) an item.
    """

    def __init__(self, key: Callable[[Item], Any], within: int) -> None:
        self._key = key
        self._within = within
        self._count = 0
        self._waiting: list[tuple[Any, int, Item]] = []

    def put(self, items: Iterable[Item]) -> Iterator[Item]:
        """Take items in; what is certain by now comes out."""
        for item in items:
            entry = (self._key(item), self._count, item)
            self._count += 1
            if len(self._waiting) < self._within:
                heapq.heappush(self._waiting, entry)
            else:
                yield heapq.heappushpop(self._waiting, entry)[2]

    def rest(self) -> Iterator[Item]:
        """All that is left; nothing more comes in."""
        while self._waiting:
            yield heapq.heappop(self._waiting)[2]


def in_order(items: Iterable[Item], key: Callable[[Item], Any], within: int) -> Iterator[Item]:
    """The items in order of their key, each at most `within` items behind its place; others come late."""
    reordering = Reordering(key, within)
    yield from reordering.put(items)
    yield from reordering.rest()
