"""One rule at one target: whether its condition stands, and whether it flaps. Time is an argument.

A condition *rises* with the first look at which it has been met for `for` without a break, and is *over* once it has
been back for `resolve_after` without a break. A look that knows nothing, or comes too long after the one before it,
breaks either: what was not seen is not taken for met. It *flaps* from the rise that is the `flapping_after`-th within
`flapping_within`, and is *steady* again after a look that follows `flapping_within` without a change or a break.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from workers.model.alerts.records import Alert, Past
from workers.model.alerts.rules import Rule

Turn = Literal["", "risen", "over", "steady"]
"""What a look changed: nothing, the condition rose, it is over, it flaps no more."""


class Watched:
    """What is known of a rule at a target.

    Args:
        alert: the one that is open.
        past: what an earlier owner knew besides.
    """

    __slots__ = (
        "alert",
        "calm_since",
        "clear_since",
        "fired",
        "flapping",
        "left_out_ms",
        "looked_ms",
        "met_since",
        "stands",
    )

    def __init__(self, alert: Alert | None = None, past: Past | None = None) -> None:
        self.alert = alert
        self.fired: Sequence[int] = past.fired if past is not None else ()
        """When it rose lately; nothing while it flaps, or cannot."""
        self.left_out_ms = past.left_out_ms if past is not None and alert is None else 0
        """When it rose beyond a limit; 0: it has an alert, or none is due."""
        self.stands = alert.met if alert is not None else past is not None and past.stands
        self.flapping = alert.flapping if alert is not None else past is not None and past.flapping
        self.met_since: int | None = None
        self.clear_since: int | None = None
        self.calm_since: int | None = None
        self.looked_ms = 0

    def look(self, rule: Rule, *, met: bool | None, clear: bool | None, now_ms: int, apart_ms: int) -> Turn:
        """Take a look into account.

        Args:
            met: whether the value meets the condition; None: nothing is known.
            clear: whether it is back.
            apart_ms: two looks farther apart than this are no unbroken stretch.
        """
        if not 0 <= now_ms - self.looked_ms <= apart_ms:  # a clock that went back breaks it too
            self.met_since = self.clear_since = self.calm_since = None
        self.looked_ms = now_ms
        if self._turns(rule, met=met, clear=clear, now_ms=now_ms):
            self.stands = not self.stands
            if self.stands:
                self._rise(rule, now_ms)
            else:
                self.met_since = None
            self.clear_since, self.calm_since = None, now_ms
            return "risen" if self.stands else "over"
        if self.flapping and self._is_calm(rule, met, now_ms):
            self.flapping = False
            return "steady"
        return ""

    def _turns(self, rule: Rule, *, met: bool | None, clear: bool | None, now_ms: int) -> bool:
        if self.stands:
            self.clear_since = _since(self.clear_since, now_ms) if clear else None
            return self.clear_since is not None and now_ms - self.clear_since >= rule.resolve_after_ms
        self.met_since = _since(self.met_since, now_ms) if met else None
        return self.met_since is not None and now_ms - self.met_since >= rule.condition.for_ms

    def _rise(self, rule: Rule, now_ms: int) -> None:
        if self.flapping or not rule.flapping_after:
            return
        recent = [at for at in self.fired if 0 <= now_ms - at < rule.flapping_within_ms]
        self.fired = (*recent, now_ms)
        if len(self.fired) >= rule.flapping_after:
            self.flapping, self.fired = True, ()

    def _is_calm(self, rule: Rule, met: bool | None, now_ms: int) -> bool:
        if met is None:
            self.calm_since = None
            return False
        self.calm_since = _since(self.calm_since, now_ms)
        return now_ms - self.calm_since >= rule.flapping_within_ms

    def forget_old(self, within_ms: int, now_ms: int) -> bool:
        """Forget when it rose if that is long ago; whether there was something to forget."""
        if not self.fired or 0 <= now_ms - self.fired[-1] < within_ms:
            return False
        self.fired = ()
        return True

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known that matters later."""
        return not (self.stands or self.alert or self.left_out_ms or self.fired or self.met_since is not None)

    def past(self, rule: str, venue: str, symbol: str) -> Past | None:
        """What the next owner must know besides the open alert; None: nothing."""
        if self.left_out_ms:
            return Past(rule, venue, symbol, self.fired, self.left_out_ms, self.flapping, self.stands)
        return Past(rule, venue, symbol, self.fired) if self.fired else None


def _since(began_ms: int | None, now_ms: int) -> int:
    return now_ms if began_ms is None else began_ms
