"""Recordings of other exchanges, frame by frame, and a book that is nothing but two dictionaries."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import zstandard

from workers.model.events import Level


def bare_frames(path: Path) -> Iterator[bytes]:
    """tickvault: a frame a line."""
    yield from path.read_bytes().splitlines()


def cryptofeed_lines(path: Path) -> Iterator[tuple[float, str, str]]:
    """`<time>: <frame>` and `https://… -> <time>: <body>`, in the order of the file: time, URL or nothing, payload."""
    with zstandard.open(path, "rb") as raw:
        for line in io.TextIOWrapper(raw, encoding="utf-8"):
            head, _, payload = line.rstrip("\n").partition(": ")
            url, arrow, time = head.partition(" -> ")
            if arrow and url.startswith("https://"):
                yield float(time), url, payload
            elif head[:1].isdigit():
                yield float(head), "", payload


class PlainBook:
    """Prices and quantities by price, as sent. Deletes of what is not there are counted."""

    def __init__(self) -> None:
        self.sides: tuple[dict[Decimal, Level], dict[Decimal, Level]] = ({}, {})
        self.orphans = 0

    def load(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        for side in self.sides:
            side.clear()
        self.apply(bids, asks)

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        for side, changes in zip(self.sides, (bids, asks), strict=True):
            for price, quantity in changes:
                key = Decimal(price)
                if Decimal(quantity):
                    side[key] = (price, quantity)
                else:
                    self.orphans += side.pop(key, None) is None

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        bids, asks = self.sides
        return (
            [bids[key] for key in sorted(bids, reverse=True)[:count]],
            [asks[key] for key in sorted(asks)[:count]],
        )

    @property
    def crossed(self) -> bool:
        bids, asks = self.sides
        return bool(bids and asks and max(bids) >= min(asks))
