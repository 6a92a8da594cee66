"""When nobody is told of alerts: `22:00-06:00` every day, or `2026-11-28T20:00/2026-11-28T22:00` once; all UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from workers.errors import SettingsError

DAY_MS: Final = 86_400_000
LONGEST_MS: Final = 366 * DAY_MS
"""A silence that never ends is a rule that nobody is told of."""
_DAILY: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


class Silence(NamedTuple):
    """A stretch of time, from its start up to, without, its end: ms of the day, or ms since 1970 where it is
    `once`."""

    start_ms: int
    end_ms: int
    once: bool = False

    def covers(self, now_ms: int) -> bool:
        """Whether a moment is in it. A daily one that ends before it starts goes over midnight."""
        at = now_ms if self.once else now_ms % DAY_MS
        if self.once or self.start_ms <= self.end_ms:
            return self.start_ms <= at < self.end_ms
        return at >= self.start_ms or at < self.end_ms


def parse_silence(text: str, place: str, rule: str) -> Silence:
    """The stretch that a text says. Raises: SettingsError, with the place and the rule."""
    if found := _DAILY.fullmatch(text.strip()):
        first, second, third, fourth = map(int, found.groups())
        if (first, second) == (third, fourth):
            raise SettingsError(
                place, f"rule {rule!r}: {text.strip()!r} silences nothing: it ends as it begins"
            )
        return Silence((first * 60 + second) * 60_000, (third * 60 + fourth) * 60_000)
    start, slash, end = text.partition("/")
    try:
        moments = [_moment(part) for part in (start, end)] if slash else []
    except ValueError:
        moments = []
    if not moments or moments[0] >= moments[1]:
        ways = "write 22:00-06:00 or 2026-11-28T20:00/2026-11-28T22:00"
        raise SettingsError(place, f"rule {rule!r}: {text[:100]!r} is no stretch of time: {ways}")
    if moments[1] - moments[0] > LONGEST_MS:
        raise SettingsError(place, f"rule {rule!r}: {text!r} is longer than a year: remove the rule instead")
    return Silence(moments[0], moments[1], once=True)


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text.strip())
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
