"""An example adapter: the book most people write first, a dictionary that takes whatever comes.

It has no idea of gaps, keeps prices by their text and believes every snapshot. It is here to show that the scenarios
see what is wrong with such a book; docs/conformance.md lists those it fails.
"""

from __future__ import annotations

import json

from workers.conformance.adapters.adapter import Sides


class PlainBook:
    """A `BookAdapter` over two dictionaries."""

    def __init__(self, symbol: str, rule: str, limit: int) -> None:
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._last_id = -1
        self._seeded = False

    def on_event(self, wire_json: bytes) -> None:
        """Change the levels, once there are any."""
        event = json.loads(wire_json)
        if not self._seeded or event["u"] < self._last_id:
            return
        for side, changes in ((self._bids, event["b"]), (self._asks, event["a"])):
            for price, quantity in changes:
                if float(quantity) == 0:
                    side.pop(price, None)
                else:
                    side[price] = quantity
        self._last_id = event["u"]

    def on_snapshot(self, wire_json: bytes) -> None:
        """Begin with a snapshot."""
        snapshot = json.loads(wire_json)
        self._bids = dict(snapshot["bids"])
        self._asks = dict(snapshot["asks"])
        self._last_id = snapshot["lastUpdateId"]
        self._seeded = True

    def wants_snapshot(self) -> bool:
        """Once."""
        return not self._seeded

    def in_sync(self) -> bool:
        """From the snapshot on, for ever."""
        return self._seeded

    def last_update_id(self) -> int:
        """The last id taken in."""
        return self._last_id

    def top(self, count: int) -> Sides:
        """The best levels by number."""
        bids, asks = self.levels()
        return bids[:count], asks[:count]

    def levels(self) -> Sides:
        """Everything."""
        bids = sorted(self._bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self._asks.items(), key=lambda level: float(level[0]))
        return bids, asks

    def known_range(self) -> None:
        """It does not say."""

    def begin_check(self) -> None:
        """It checks nothing."""

    def wait(self, milliseconds: int) -> None:
        """It has no clock."""
