"""An alert as it is stored and served, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from workers.model.alerts.rules import Rule, Severity, Target
from workers.model.stored_json import decoder_of

Event = Literal["fired", "unsilenced", "steady", "grown", "resolved", "commented"]
"""What an entry of the stream says: an alert opened; the silence it opened in is over; it flaps no more and its
condition is met; twice as many as were told of are left out; it is over; a language model said something of it."""
EVENTS: Final = frozenset(get_args(Event))


class Alert(msgspec.Struct, gc=False):
    """One alert, from when it fired until it is resolved. Times are ms since 1970 by the clock of its owner."""

    id: str
    """`<rule>/<target>/<fired_ms>`: the same however often it is told."""
    rule: str
    severity: Severity
    venue: str
    """Empty: it is about the whole fleet."""
    symbol: str
    """Empty: it is about a venue, or the whole fleet."""
    condition: str
    """What the rule says."""
    value: float | bool | str | None
    """Of the signal when it fired; of something that happened: how often."""
    last_value: float | bool | str | None
    """When the condition was last met."""
    since_ms: int
    """Since when the condition had been met."""
    fired_ms: int
    last_met_ms: int
    count: int = 1
    """Of something that happened: how often until now."""
    resolved_ms: int | None = None
    resolution: str = ""
    """Why it is over."""
    silenced: bool = False
    """It fired in a silence of its rule, and nobody was told."""
    untold: bool = False
    """The webhook was not told that it fired: it was away too long, or was told too much in that hour. It is told later
    if the alert is open still."""
    flapping: bool = False
    """It fired too often in a short time: it stays open, and nothing is told of it, until it has been steady."""
    firings: int = 1
    """Of one that flaps or flapped: how often it fired in that short time, and would have fired since."""
    met: bool = True
    """False: it flaps, and its condition is over for now."""
    left_out: int = 0
    """Of the alert of a rule about those beyond its limit (`symbol` is `*`): how many there are now."""
    facts: dict[str, str | float | bool | None] = {}
    """What else was known of the target when it fired."""

    @property
    def target(self) -> Target:
        """What it is about."""
        return Target(self.venue, self.symbol)


class Past(msgspec.Struct, array_like=True, gc=False):
    """What the next owner must know of a rule at a target besides its open alert."""

    rule: str
    venue: str
    symbol: str
    fired: Sequence[int] = ()
    """When it fired lately, the oldest first."""
    left_out_ms: int = 0
    """When it fired beyond a limit, so that it has no alert of its own; 0: it did not."""
    flapping: bool = False
    """Of one that is left out."""
    stands: bool = False
    """Of one that is left out: whether its condition is met now."""

    @property
    def target(self) -> Target:
        """What it is about."""
        return Target(self.venue, self.symbol)


class Comment(msgspec.Struct, gc=False):
    """What a language model said of an alert: text of a machine, and nothing but text."""

    alert: str
    """The alert's id."""
    text: str
    model: str
    asked_ms: int
    machine_written: bool = True


class Change(NamedTuple):
    """Something to store and to tell."""

    event: Literal["fired", "updated", "unsilenced", "steady", "grown", "resolved"]
    """`updated` is stored, and not told."""
    alert: Alert

    @property
    def field(self) -> str:
        """Where the alert stands among the open ones."""
        return field_of(self.alert.rule, self.alert.target)


def field_of(rule: str, target: Target) -> str:
    """The field of a rule and target among the open alerts: each has one alert at a time."""
    return f"{rule}/{target}"


def open_alert(
    rule: Rule, target: Target, value: float | bool | str | None, since_ms: int, now_ms: int
) -> Alert:
    """An alert that fires now."""
    return Alert(
        id=f"{field_of(rule.name, target)}/{now_ms}",
        rule=rule.name,
        severity=rule.severity,
        venue=target.venue,
        symbol=target.symbol,
        condition=rule.text,
        value=value,
        last_value=value,
        since_ms=since_ms,
        fired_ms=now_ms,
        last_met_ms=now_ms,
        count=int(value) if rule.condition.signal.kind == "event" and isinstance(value, int | float) else 1,
        silenced=rule.silent(now_ms),
    )


def encode(record: Alert | Comment | Past) -> bytes:
    """As it is stored."""
    return msgspec.json.encode(record)


_alert, _past, _comment = decoder_of(Alert), decoder_of(Past), decoder_of(Comment)


def decode_alert(payload: bytes) -> Alert:
    """An alert back. Raises: msgspec.MsgspecError."""
    return _alert(payload)


def decode_past(payload: bytes) -> Past:
    """A past back. Raises: msgspec.MsgspecError."""
    return _past(payload)


def decode_comment(payload: bytes) -> Comment:
    """A comment back. Raises: msgspec.MsgspecError."""
    return _comment(payload)
