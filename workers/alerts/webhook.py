"""Sending what became of alerts to a webhook: from the stream `alerts`, beside everything else.

The stream is the queue, and how far it was sent is stored with it: a restart loses nothing. A message may come twice
(the webhook took it, and we died before that was stored): its alert has an id. A webhook that is dead or slow delays
its own messages alone; more than `alerts.webhook_queue` of them do not wait.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

import aiohttp
import structlog
from redis.exceptions import RedisError

from workers.alerts.metrics import DROPPED, FAILED, SENT
from workers.alerts.owner import WEBHOOK, AlertOwner
from workers.errors import LeaseLost
from workers.model.alerts.notices import json_notice, slack_notice
from workers.model.alerts.records import Alert
from workers.model.alerts.rules import SEVERITIES
from workers.model.pauses import Pauses
from workers.runtime.backoff import Backoff
from workers.settings.alerts import AlertSettings
from workers.store.alerts.book import Told

log = structlog.get_logger()

READ_AT_ONCE: Final = 100
POLL_S: Final = 5.0
"""How often the stream is looked at though nothing was told by this worker."""
FIRST_S: Final = 0.5
MOST_S: Final = 60.0
"""Longest pause between two tries."""
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

    async def run(self) -> None:
        """Send until cancelled."""
        waits = Backoff("webhook")
        while self._settings.webhook_url:
            wait_s = POLL_S
            try:
                if self._owner.token and await self._send_some():
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
            if not self._is_wanted(entry) or await self._send(entry):
                await self._owner.sent(entry.id)
            else:
                break  # too many wait: the place was moved
        return bool(entries)

    def _is_wanted(self, entry: Told) -> bool:
        if not isinstance(entry.record, Alert):
            return True
        return not entry.record.silenced and SEVERITIES.index(entry.record.severity) >= self._least

    async def _send(self, entry: Told) -> bool:
        """Send one message, again and again if need be; False: messages were dropped instead, this one among them."""
        pauses, began = Pauses(FIRST_S, MOST_S), time.monotonic()
        body = self._notice(entry.event, entry.record)
        while True:
            reason, passing = await self._post(body)
            if not reason:
                SENT.inc()
                return True
            FAILED.labels(reason).inc()
            why = reason if not passing else ""
            if time.monotonic() - began >= self._settings.webhook_retry_s:
                why = why or "tried for too long"
            if why:
                DROPPED.labels("refused" if not passing else "time").inc()
                log.error("alerts_webhook_dropped", reason=why, alert_event=entry.event, messages=1)
                return True
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
        book, place, most = self._owner.book, self._owner.places[WEBHOOK], self._settings.webhook_queue
        waiting = await book.waiting(place, most + 1)
        if len(waiting) <= most:
            return False
        dropped, cutoff = 0, waiting[-1]
        while place != cutoff and (entries := await book.ids_after(place, cutoff, READ_AT_ONCE)):
            dropped, place = dropped + len(entries), entries[-1]
        DROPPED.labels("queue").inc(dropped)
        log.error("alerts_webhook_dropped", reason="too many wait", alert_event="", messages=dropped)
        await self._owner.sent(cutoff)
        return True
