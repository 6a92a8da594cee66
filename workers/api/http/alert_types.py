"""What the API answers of alerts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from workers.model.alerts.records import Alert, Comment, Event
from workers.store.alerts.book import AlertEntry, OpenAlert


class AlertWithComment(Struct):
    """An alert that is open, and what a language model said of it."""

    alert: Alert
    comment: Comment | None
    """Text of a machine: it may be wrong, and is nothing but text."""


class AlertEvent(Struct):
    """What became of an alert: an entry of the stream `alerts`."""

    id: str
    event: Event
    alert: Alert | None
    """null where it is `commented`."""
    comment: Comment | None


class AlertsAnswer(Struct):
    """Alerts that are open, the oldest first, and what became of alerts, newest first."""

    owner: Annotated[
        str | None, Meta(description="The worker that looks; null: nobody does, and what is open is old.")
    ]
    open: list[AlertWithComment]
    left_out: Annotated[
        int, Meta(description="How many more there are beyond a limit, without an alert of their own.")
    ]
    newest: list[AlertEvent]


def with_comment(opened: OpenAlert) -> AlertWithComment:
    """An open alert as it is served."""
    return AlertWithComment(opened.alert, opened.comment)


def event_of(entry: AlertEntry) -> AlertEvent:
    """An entry of the stream as it is served."""
    record = entry.record
    if isinstance(record, Alert):
        return AlertEvent(entry.id, entry.event, record, None)
    return AlertEvent(entry.id, entry.event, None, record)
