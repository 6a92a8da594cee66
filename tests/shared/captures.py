"""Frames of recordings of several exchanges, and books made of them the naive way."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import zstandard

from workers.model.events import DepthEvent, Level

_RECEIVED = re.compile(r"(?:[0-9.]+: )(.*)", re.DOTALL)


def received_frames(path: Path) -> Iterator[str]:
    """What a socket received: bare frames a line, or `<time>: <frame>` among lines of what was sent."""
    with path.open("rb") as packed:
        whole = zstandard.ZstdDecompressor().stream_reader(packed) if path.suffix == ".zst" else packed
        for line in io.TextIOWrapper(whole, encoding="utf-8"):
            if path.suffix == ".jsonl":
                yield line.rstrip("\n")
            elif found := _RECEIVED.fullmatch(line.rstrip("\n")):
                yield found[1]


class NaiveBook:
    """A book as a dict by exact price; what it counts on the way."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.bids: dict[Decimal, Level] = {}
        self.asks: dict[Decimal, Level] = {}
        self.orphan_deletes = 0

    def take(self, event: DepthEvent, *, whole: bool) -> None:
        if whole:
            self.bids.clear()
            self.asks.clear()
        for side, changes in ((self.bids, event.bids), (self.asks, event.asks)):
            for price, quantity in changes:
                if Decimal(quantity):
                    side[Decimal(price)] = (price, quantity)
                elif side.pop(Decimal(price), None) is None:
                    self.orphan_deletes += 1
        if self.most:
            for key in sorted(self.bids)[: -self.most]:
                del self.bids[key]
            for key in sorted(self.asks)[self.most :]:
                del self.asks[key]

    def top(self, levels: int) -> tuple[list[Level], list[Level]]:
        bids = [self.bids[key] for key in sorted(self.bids, reverse=True)[:levels]]
        return bids, [self.asks[key] for key in sorted(self.asks)[:levels]]

    @property
    def crossed(self) -> bool:
        return bool(self.bids and self.asks and max(self.bids) >= min(self.asks))
