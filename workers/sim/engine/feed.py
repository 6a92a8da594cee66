"""One symbol on the exchange: its market, running, and what a flavour sends of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from workers.sim.engine.derivatives import Derivative
from workers.sim.engine.history import Fill
from workers.sim.engine.market import SymbolMarket
from workers.sim.engine.symbols import Spelling, SymbolSpec
from workers.sim.engine.topics import TopicRegistry
from workers.sim.settings import SimSettings

STALEST_SNAPSHOT_MS: Final = 10_000  # how far back a snapshot made stale on purpose can be

Schedule = Callable[[float, Callable[[float], None]], None]
Phase = Literal["pending", "trading", "halted", "delisted", "closed"]
"""What becomes of a symbol; each exchange has words of its own for it."""


class FeedParts(NamedTuple):
    """What every flavour makes a feed of."""

    spec: SymbolSpec
    settings: SimSettings
    start_ms: int
    topics: TopicRegistry
    schedule: Schedule


class SymbolFeed(ABC):
    """Runs a symbol's market; a flavour turns what happens into events.

    `schedule(due_ms, action)` is called for everything that must happen later; `action(due_ms)` is then
    due. Times are exchange time in ms.
    """

    def __init__(self, spelling: Spelling, settings: SimSettings, start_ms: int, schedule: Schedule) -> None:
        self.spelling = spelling
        self.spec = spelling.spec
        self.phase: Phase = "trading"
        self.derivative: Derivative | None = None
        """Of contracts, where the flavour has channels of it."""
        self._idle = False
        self.market = SymbolMarket(self.spec, settings, start_ms)
        self.first_id = self.market.last_id
        self.schedule = schedule
        self.engine_time = start_ms
        """Time of the last change, ms."""
        self._snapshot_times: deque[tuple[float, int]] = deque([(0.0, self.first_id)])
        self._snapshot_window_ms = (
            settings.snapshot_lag_ms + settings.snapshot_refresh_ms + STALEST_SNAPSHOT_MS
        )
        self._snapshot_lag_ms = settings.snapshot_lag_ms
        self._snapshot_refresh_ms = settings.snapshot_refresh_ms

    @property
    @abstractmethod
    def status(self) -> str:
        """The phase in the exchange's words."""

    @abstractmethod
    def note_changes(self, position: int, at_ms: float) -> None:
        """The book has changed; `position` is that of the first change in the log."""

    @abstractmethod
    def note_fills(self, orders: list[list[Fill]], at_ms: float) -> None:
        """Orders have been filled."""

    @abstractmethod
    def flush(self, at_ms: float) -> None:
        """Send everything pending now instead of when it is due."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """How many events there have been, as the control endpoint shows it."""

    @abstractmethod
    def truth_trades(self, from_id: int, limit: int) -> dict[str, Any]:
        """First and next id of the trades the exchange sends, and up to `limit` of them from an id on."""

    def truth_orders(self) -> dict[str, Any] | None:
        """Every single order of now; None where the exchange tells none."""
        return None

    def truth_id(self, update_id: int, stream: str) -> int:
        """The market's update id at which a stream's book has an id of the exchange.

        Raises TruthTooOldError where that is forgotten.
        """
        return update_id

    def announce(self, now_ms: float) -> None:  # noqa: B027 -- most exchanges announce nothing
        """Say on a stream that the symbol's phase is another one."""

    def begin_trade_ids(self, first_id: int, at_ms: float) -> None:  # noqa: B027 -- only where trades are merged
        """Let the ids of merged trades begin anew."""

    def begin_book_ids(self, first_id: int, at_ms: float) -> None:  # noqa: B027 -- only where a protocol knows it
        """Let the ids of book messages begin anew."""

    def start(self, at_ms: float) -> None:
        """Begin trading."""
        self.schedule(self.market.next_moment(at_ms), self.act)

    def act(self, at_ms: float) -> None:
        """Run one moment of the market and note what has to be sent when."""
        if self.phase != "trading":
            self._idle = True
            return
        self.change(at_ms, partial(self.market.act, at_ms))
        if self.market.fills:
            self.note_fills(self.market.fills, at_ms)
        if self.derivative is not None:
            self.derivative.note(self.market.fills, at_ms)
        self.schedule(self.market.next_moment(at_ms), self.act)

    def change(self, at_ms: float, alter: Callable[[], None]) -> None:
        """Let something alter the book and note what has to be sent when."""
        before, position = self.market.last_id, self.market.changes.position
        alter()
        if self.market.last_id != before:
            self.engine_time = int(at_ms)
            self.note_changes(position, at_ms)
            self._remember_snapshot(at_ms)

    def halt(self, phase: Phase) -> None:
        """Stop trading; what is pending is still sent."""
        self.phase = phase

    def reopen(self, at_ms: float) -> None:
        """Trade again."""
        self.phase = "trading"
        if self._idle:
            self._idle = False
            self.start(at_ms)

    def _remember_snapshot(self, at_ms: float) -> None:
        times = self._snapshot_times
        times.append((at_ms, self.market.last_id))
        while len(times) > 1 and times[1][0] < at_ms - self._snapshot_window_ms:
            times.popleft()

    def snapshot_id(self, now_ms: float, older_ms: float = 0.0) -> int:
        """The last update id in the cached copy that REST serves at `now_ms`, or one so much older."""
        refresh = self._snapshot_refresh_ms
        copied_at = (now_ms - self._snapshot_lag_ms) // refresh * refresh - older_ms
        visible = self._snapshot_times[0][1]
        for at_ms, update_id in self._snapshot_times:
            if at_ms > copied_at:
                break
            visible = update_id
        return visible
