"""The time by which a message is filed: stream ids, history and retention go by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from workers.errors import MalformedFrame
from workers.ingest.arrivals import ArrivalClock
from workers.ingest.metrics import AHEAD
from workers.model.trades.exchange_clock import ClockCeiling
from workers.settings.schema import IngestSettings
from workers.venues.messages import Message

log = structlog.get_logger()

TOLD_AHEAD_MS: Final = 1_000
"""A time that is further ahead of what is believed is worth a word."""
POSSIBLE_MS: Final = (1_230_768_000_000, 7_258_118_400_000)
"""2009 to 2200: a recorded time before or after is none, whatever clock its recorder had."""


class FilingTime:
    """Judges the times of the messages of one line of a venue by when they arrive.

    Args:
        clock: what live messages are stamped with, so that nobody who sets the machine's clock shifts them.
        recorded: the arrivals are stamped by a recorder's clock, which judges nothing: the exchange's times count, if
            they can be times at all.
        telling: counts an anomaly; whether the log is to name it.
    """

    def __init__(
        self,
        venue: str,
        line: str,
        settings: IngestSettings,
        clock: ArrivalClock | None,
        telling: Callable[[str], bool],
        *,
        recorded: bool,
    ) -> None:
        self._venue, self._line = venue, line
        self._settings = settings
        self._clock = clock
        self._telling = telling
        self._recorded = recorded
        self._ceiling = ClockCeiling()

    def received_us(self, stamped_us: int) -> int:
        """When a frame arrived that was stamped by the time of day, as somebody may have set it."""
        return stamped_us if self._clock is None else self._clock.now_us()

    def of(self, message: Message, received_us: int) -> int:
        """The time of a message that arrived at `received_us`, in ms. Cost: O(1).

        Raises:
            MalformedFrame: it is too far from ours, or no time.
        """
        now_ms = received_us // 1000
        event_ms = message.event_ms
        if event_ms < 0:  # the exchange tells none
            event_ms = now_ms
        elif self._clock is not None:
            self._clock.told(event_ms, received_us)
        if self._recorded:
            earliest_ms, latest_ms = POSSIBLE_MS
            if not earliest_ms <= event_ms < latest_ms:
                raise self._refused(message, f"its time {event_ms} ms is none")
            return event_ms
        ahead_ms = event_ms - now_ms
        if ahead_ms > self._settings.max_clock_ahead_ms or -ahead_ms > self._settings.max_clock_skew_ms:
            raise self._refused(message, f"its time {event_ms} ms is {ahead_ms} ms away from ours")
        believed = self._ceiling.believed(event_ms, now_ms)
        if event_ms - believed > TOLD_AHEAD_MS:
            AHEAD.labels(self._venue, self._line).inc()
            if self._telling("ahead"):
                log.warning("event_ahead", venue=self._venue, line=self._line, channel=message.channel,
                            symbol=message.symbol, ahead_ms=ahead_ms)  # fmt: skip
        return believed

    def _refused(self, message: Message, problem: str) -> MalformedFrame:
        return MalformedFrame(
            self._venue, f"{message.channel} event of {message.symbol}", problem, message.data
        )
