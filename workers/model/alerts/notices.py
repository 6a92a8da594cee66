"""What is told of alerts outside of the fleet: JSON for programs, and the form that Slack's webhooks take.

Slack: https://docs.slack.dev/messaging/formatting-message-text (`&`, `<` and `>` are escaped: else a name could call
people or hide a link).
"""

from __future__ import annotations

from typing import Final

import msgspec

from workers.model.alerts.records import Alert, Comment
from workers.model.alerts.rules import BEYOND_LIMIT

_SIGNS: Final = {"fired": "🔴", "unsilenced": "🔴", "steady": "🔴", "grown": "🔴", "resolved": "🟢"}


def json_notice(event: str, record: Alert | Comment) -> bytes:
    """`{"event": "fired", "alert": {…}}`, or with `comment` where a machine commented."""
    return msgspec.json.encode(
        {"event": event, "comment" if isinstance(record, Comment) else "alert": record}
    )


def slack_notice(event: str, record: Alert | Comment) -> bytes:
    """A message for people."""
    return msgspec.json.encode({"text": _escaped(sentence(event, record)), "mrkdwn": False})


def withheld_notice(messages: int, limit: int, *, slack: bool) -> bytes:
    """`{"event": "withheld", "messages": 480, "limit": 500}`, or a message for people."""
    if slack:
        text = f"🟠 {messages} messages were withheld: more than {limit} in an hour. GET /alerts has what is open"
        return msgspec.json.encode({"text": text, "mrkdwn": False})
    return msgspec.json.encode({"event": "withheld", "messages": messages, "limit": limit})


def sentence(event: str, record: Alert | Comment) -> str:
    """What happened, in one line."""
    if isinstance(record, Comment):
        return f"🤖 Written by a machine ({record.model}) on {record.alert}: {record.text}"
    head = f"{_SIGNS.get(event, '')} {record.severity} {event}: {record.rule} at {place(record)}, {record.condition}"
    if event == "resolved":
        return f"{head}: {record.resolution}"
    if record.target == BEYOND_LIMIT:
        return f"{head}: no alert of their own ({record.facts.get('targets', '')}, …)"
    flaps = f", flapping: {record.firings} times lately" if record.flapping else ""
    return f"{head}: {value_text(record.value)}{flaps}"


def place(alert: Alert) -> str:
    """What an alert is about, as people read it."""
    return f"{alert.left_out} more" if alert.target == BEYOND_LIMIT else str(alert.target)


def value_text(value: float | bool | str | None) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float | int) else str(value)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
