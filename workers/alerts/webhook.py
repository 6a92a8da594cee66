"""Sending what became of alerts to a webhook: from the stream `alerts`, beside everything else.

The stream is the queue, and how far it was sent is stored with it: a restart loses nothing. A message may come twice
(the webhook took it, and we died before that was stored): its alert has an id. A webhook that is dead or slow delays
its own messages alone; more than `alerts.webhook_queue` of them do not wait. An alert whose message was dropped so is
marked as `untold`, and told once nothing waits any more, if it is open still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import aiohttp
import structlog
from redis.exceptions import RedisError

from workers.alerts.metrics import DROPPED, FAILED, SENT
from workers.alerts.owner import WEBHOOK, AlertOwner
from workers.errors import LeaseLost
from workers.model.alerts.notices import json_notice, slack_notice
from workers.model.alerts.records import Alert, Change, Comment
from workers.model.alerts.rules import SEVERITIES
from workers.model.pauses import Pauses
from workers.runtime.backoff import Backoff
from workers.settings.alerts import AlertSettings
from workers.store.alerts.book import AlertEntry

log = structlog.get_logger()

READ_AT_ONCE: Final = 100
POLL_S: Final = 5.0
"""How often the stream is looked at though nothing was told by this worker."""
FIRST_S: Final = 0.5
ROOM_S: Final = 5.0
"""How often it is looked whether too many wait, while messages are taken."""
MOST_S: Final = 60.0
"""Longest pause between two tries."""
OPENING: Final = frozenset({"fired", "unsilenced"})
"""Messages without which nobody knows of an open alert."""
PASSING: Final = frozenset({408, 425, 429})
"""Refusals that may pass, besides those of the 500s; any other is one for good."""


class Webhook:
    """One webhook; nothing is done where the settings name none."""

    def __init__(self, settings: AlertSettings, owner: AlertOwner, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._owner = owner
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=settings.webhook_timeout_s)
        self._notice = slack_notice if settings.webhook_form == "slack" else json_notice
        self._least = SEVERITIES.index(settings.webhook_severity)
        self._most = max(1, min(settings.webhook_queue, settings.kept // 2))
        self._room_at = 0.0

    async def run(self) -> None:
        """Send until cancelled."""
        waits = Backoff("webhook")
        while self._settings.webhook_url:
            wait_s = POLL_S
            try:
                if self._owner.token and (await self._send_some() or await self._tell_again()):
                    wait_s = 0.0
                waits.accepted()
            except RedisError as error:
                wait_s = max(0.5, waits.refused(error))
            except LeaseLost:
                wait_s = 0.5  # the looks find it out too
            if wait_s:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._owner.told.wait(), wait_s if self._owner.token else 0.5)
            self._owner.told.clear()
        await asyncio.Event().wait()

    async def _send_some(self) -> bool:
        """Send what waits; whether there was anything."""
        book = self._owner.book
        entries = await book.after(self._owner.places[WEBHOOK], READ_AT_ONCE)
        for entry in entries:
            if self._is_wanted(entry.record) and not await self._send(entry):
                break  # the place was moved
            await self._owner.sent(entry.id)
            if entry is not entries[-1] and time.monotonic() >= self._room_at and await self._make_room():
                break  # they are taken, and come faster than that
        return bool(entries)

    async def _tell_again(self) -> bool:
        """Tell of one open alert whose message was dropped; whether that was taken, or refused for good."""
        for alert in self._owner.opened():
            if alert.untold and self._is_wanted(alert):
                reason, passing = await self._post(self._notice("fired", alert))
                if reason:
                    FAILED.labels(reason).inc()
                    log.warning("alerts_webhook_failed", reason=reason, alert_event="fired")
                if reason and passing:
                    return False
                if reason:
                    self._count_dropped("refused", reason, "fired", 1)
                else:
                    SENT.inc()
                alert.untold = False
                await self._owner.sent(self._owner.places[WEBHOOK], [Change("updated", alert)])
                return True
        return False

    def _is_wanted(self, record: Alert | Comment) -> bool:
        if not isinstance(record, Alert):
            return True
        return not record.silenced and SEVERITIES.index(record.severity) >= self._least

    def _untold(self, entries: Sequence[AlertEntry]) -> list[Change]:
        """What becomes of the alerts of which the webhook was not told."""
        ids = {one.record.id for one in entries if one.event in OPENING and isinstance(one.record, Alert)}
        alerts = [alert for alert in self._owner.opened() if alert.id in ids and not alert.untold]
        for alert in alerts:
            alert.untold = True
        return [Change("updated", alert) for alert in alerts]

    def _count_dropped(self, kind: str, reason: str, event: str, messages: int) -> None:
        DROPPED.labels(kind).inc(messages)
        log.error("alerts_webhook_dropped", reason=reason, alert_event=event, messages=messages)

    async def _send(self, entry: AlertEntry) -> bool:
        """Send one message, again and again if need be; False: it was dropped, and the place moved behind it."""
        pauses, began = Pauses(FIRST_S, MOST_S), time.monotonic()
        body = self._notice(entry.event, entry.record)
        while True:
            reason, passing = await self._post(body)
            if not reason:
                SENT.inc()
                return True
            FAILED.labels(reason).inc()
            if not passing:
                self._count_dropped("refused", reason, entry.event, 1)
                return True
            if time.monotonic() - began >= self._settings.webhook_retry_s:
                self._count_dropped("time", "tried for too long", entry.event, 1)
                await self._owner.sent(entry.id, self._untold([entry]))
                return False
            log.warning("alerts_webhook_failed", reason=reason, alert_event=entry.event)
            if await self._make_room():
                return False
            await asyncio.sleep(pauses.take())

    async def _post(self, body: bytes) -> tuple[str, bool]:
        """Why the webhook did not take a message (empty: it did), and whether that may pass."""
        try:
            async with self._session.post(
                self._settings.webhook_url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return type(error).__name__, True  # its text may have the URL, which is a secret
        if 200 <= status < 300:
            return "", True
        return f"status {status}", status >= 500 or status in PASSING

    async def _make_room(self) -> bool:
        """Drop the oldest messages where too many wait; whether there were any to drop."""
        book, place = self._owner.book, self._owner.places[WEBHOOK]
        waiting = await book.waiting(place, self._most + 1)
        self._room_at = time.monotonic() + ROOM_S
        if len(waiting) <= self._most:
            return False
        dropped, cutoff, untold = 0, waiting[-1], list[Change]()
        while place != cutoff:
            passed = await book.passed(place, cutoff, READ_AT_ONCE)
            dropped, place = dropped + passed.entries, passed.last
            untold += self._untold(passed.alerts)
        self._count_dropped("queue", "too many wait", "", dropped)
        await self._owner.sent(cutoff, untold)
        return True
