"""What `[alerts]` can say: the rules, whom to tell, and a language model's comments. No rules: the role does not
run."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from workers.model.alerts.rules import Severity
from workers.settings.numbers import LARGEST, Count, Number


class RuleSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One `[[alerts.rules]]` (docs/how-to/alerts.md)."""

    name: str
    when: str = ""
    """The condition as text; or, instead, the typed keys below."""
    signal: str = ""
    operator: Literal["", ">", ">=", "<", "<=", "==", "!="] = ""
    threshold: float | str | None = None
    for_s: Annotated[float, Meta(ge=0)] = 0
    symbols: list[str] = field(default_factory=list)
    severity: Severity = "warning"
    resolve: float | None = None
    """Where the number must have come back to; absent: not beyond the threshold any more is enough."""
    resolve_after_s: Annotated[float, Meta(ge=0)] | None = None
    """How long it must be back; absent: 0, and 60 s for what happens at a moment."""
    most_open: Count | None = None
    """Instead of `alerts.most_open_a_rule`."""
    flapping_after: Number | None = None
    """Instead of `alerts.flapping_after`."""
    silence: list[str] = field(default_factory=list)
    """When nobody is told (UTC): `22:00-06:00` daily, `2026-11-28T20:00/2026-11-28T22:00` once."""


class AlertSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Alerts (docs/how-to/alerts.md)."""

    rules: list[RuleSettings] = field(default_factory=list)
    """The rules, as `[[alerts.rules]]`; none: no alerts, and the role does not run."""
    every_ms: Annotated[int, Meta(ge=100, le=LARGEST)] = 1_000
    """Least pause between two looks at one value."""
    commands_per_s: Annotated[int, Meta(ge=10, le=LARGEST)] = 200
    """Commands a second that the looks may send to Redis; more symbols or rules are looked at less often."""
    most_open_a_rule: Count = 20
    """Alerts of one rule that are open at a time; of those beyond it one alert says how many they are."""
    most_open: Count = 1_000
    """Alerts of all rules that are open at a time; of those beyond it one alert a rule says how many they are."""
    flapping_after: Number = 4
    """How often an alert fires within `flapping_within_s` until it flaps: it stays open, and nothing is told, until it
    has not changed for so long. 0: none does; 1 is refused."""
    flapping_within_s: Annotated[float, Meta(gt=0, le=86_400)] = 600
    """How lately it fired that often, and how long one that flaps must not change."""
    kept: Count = 10_000
    """Entries kept, about, in the stream `alerts`."""
    webhook_url: str = ""
    """Where each alert is sent by POST; a secret: set it as `FLEET_ALERTS__WEBHOOK_URL`. Empty: nowhere."""
    webhook_form: Literal["json", "slack"] = "json"
    webhook_severity: Severity = "info"
    """The least severity that is sent."""
    webhook_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 5
    webhook_retry_s: Annotated[float, Meta(ge=0)] = 600
    """How long one message is tried again, with growing pauses, before it is dropped."""
    webhook_queue: Count = 1_000
    """Messages that may wait; beyond it the oldest are dropped."""
    messages_per_hour: Count = 500
    """Messages to the webhook in an hour at most, besides those that say a told alert is over; of those beyond it one
    says how many were withheld."""
    commentary_url: str = ""
    """Base of an OpenAI-compatible API (`https://api.openai.com/v1`) that is asked one question an alert; empty:
    none."""
    commentary_model: str = ""
    """The model that is asked."""
    commentary_key: str = ""
    """Its key; a secret: set it as `FLEET_ALERTS__COMMENTARY_KEY`. Empty: none is sent."""
    commentary_severity: Severity = "warning"
    """The least severity that is asked about."""
    commentary_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 20
    commentary_per_hour: Count = 20
    """Questions an hour at most; alerts beyond it stay without a comment."""
    commentary_tokens: Annotated[int, Meta(ge=16, le=4_000)] = 300
    """Most tokens of one answer."""
    commentary_tokens_per_day: Count = 100_000
    """Tokens of questions and answers a day (UTC) at most."""
