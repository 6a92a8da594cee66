"""The fold of one symbol's trades into the windows of one interval, part of the fold of all in `fold.py`."""

from __future__ import annotations

from workers.model.events import Trade
from workers.model.trades.windows import Reason, Window


class IntervalFold:
    """One interval: its newest window and its bars.

    Args:
        length: of its windows, ms.
        provable: whether the ids are the venue's own; else they prove nothing.
    """

    def __init__(self, length: int, *, provable: bool) -> None:
        self.length = length
        self._provable = provable
        self.newest: Window | None = None
        self.bars: list[tuple[str, dict[str, str]]] = []
        self.versions: dict[int, Window] = {}
        self.revised: dict[int, Window] = {}
        """Closed windows that the batch changed."""
        self.revisions = 0
        self.bar_ms = 0
        self.bar_sequence = 0

    def _append(self, window: Window) -> None:
        if window.start > self.bar_ms:
            self.bar_ms, self.bar_sequence = window.start, 0
        else:
            self.bar_sequence += 1
        self.bars.append((f"{self.bar_ms}-{self.bar_sequence}", self.fields(window)))
        self.versions[window.start] = window

    def fields(self, window: Window) -> dict[str, str]:
        """A window as its bar tells it."""
        return window.bar(provable=self._provable)

    def append_revised(self) -> None:
        """One revision of each window that was changed, in the order of their time."""
        for _, window in sorted(self.revised.items()):
            self._append(window)
            self.revisions += window.revision > 0
        self.revised.clear()

    def _changed(self, start: int) -> Window | None:
        window = self.revised.get(start)
        if window is None and (window := self.versions.get(start)) is not None:
            window.revision += 1
            self.revised[start] = window
        return window

    def _end(self, window: Window) -> None:
        """A trade of a later window is there, and no id is missing before it."""
        if not window.closed:
            self._append(window)
        elif window.reason == "unproven":
            self._changed(window.start)
            window.reason = ""

    def fold(self, trade: Trade, lack: Reason) -> bool:
        """Take a trade; True if it was late.

        Args:
            trade: it.
            lack: what is known to be missing from the windows it falls into.
        """
        start = trade.trade_time - trade.trade_time % self.length
        newest = self.newest
        if newest and start == newest.start and not newest.closed:
            newest.add(trade)
            newest.reason = lack or newest.reason
            return False
        if newest and start <= newest.start:
            self._revise(trade, start, lack)
            return True
        if newest:
            self._end(newest)
        self.newest = Window.of(trade, start)
        self.newest.reason = lack
        return False

    def _revise(self, trade: Trade, start: int, lack: Reason) -> None:
        window = self._changed(start)
        if window is None:
            # Nothing proves that no other trade of that time was missed.
            window = self.revised[start] = Window.of(trade, start)
            window.reason = "late"
        else:
            window.add(trade)
            window.reason = lack or window.reason

    def fold_not_market(self, trade: Trade) -> None:
        """Pass over a trade: it counts in the window it belongs to, and ends and proves an earlier one."""
        newest = self.newest
        if newest is None:
            return
        start = trade.trade_time - trade.trade_time % self.length
        if start > newest.start:
            self._end(newest)
            newest.closed = True
            return
        window = newest if start == newest.start and not newest.closed else self._changed(start)
        if window is not None:
            window.skip(trade)

    def close(self, window: Window) -> None:
        """The clock says that the newest window is over; no id does."""
        window.reason = window.reason or "unproven"
        self._append(window)
        window.closed = True

    def mark_missing(self) -> None:
        """Trades after the last one are missing for good; of a proven window none can be."""
        newest = self.newest
        if newest and newest.closed and newest.reason == "unproven":
            self._changed(newest.start)
            newest.reason = "missing"
        elif newest and not newest.closed and newest.complete:
            newest.reason = "missing"

    def state(self, digits: int) -> str:
        """The newest window as the state hash holds it, with so many decimals."""
        assert self.newest is not None
        return self.newest.state(self.bar_ms, self.bar_sequence, digits)
