"""Sending what became of alerts to a webhook: from the stream `alerts`, beside everything else.

The stream is the queue, and how far it was sent is stored with it: a restart loses nothing. A message may come twice
(the webhook took it, and we died before that was stored): its alert has an id. A webhook that is dead or slow delays
its own messages alone; more than `alerts.webhook_queue` of them do not wait, and no more than
`alerts.messages_per_hour` are sent. An alert whose message was dropped or withheld so is marked as `untold`, and told
once nothing waits any more, if it is open still. The end of an alert that the webhook may have been told of is never
withheld, and where its message was dropped it is told then too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import aiohttp
import structlog
from msgspec import MsgspecError
from redis.exceptions import RedisError

from workers.alerts.metrics import DROPPED, FAILED, SENT
from workers.alerts.owner import HOUR, RESOLVED, WEBHOOK, AlertOwner
from workers.errors import LeaseLost
from workers.model.alerts.budget import Budget, budget_at
from workers.model.alerts.notices import json_notice, slack_notice, withheld_notice
from workers.model.alerts.records import Alert, Change, Comment, decode_alert, encode
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
        self._tried = ""
        """The message that was tried last: the webhook may have taken it, whatever it answered."""

    async def run(self) -> None:
        """Send until cancelled."""
        waits = Backoff("webhook")
        while self._settings.webhook_url:
            wait_s = POLL_S
            try:
                if self._owner.token and (
                    await self._tell_end() or await self._send_some() or await self._tell_again()
                ):
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
        owner = self._owner
        entries = await owner.book.after(owner.places[WEBHOOK], READ_AT_ONCE)
        for entry in entries:
            ended = entry.record.id if isinstance(entry.record, Alert) and entry.event == "resolved" else ""
            if not self._is_wanted(entry.record) or ended in owner.unsent:
                await owner.sent(entry.id)
            elif not ended and self._budget().sent >= self._settings.messages_per_hour:
                await self._withhold(entry)
            elif await self._send(entry):
                await owner.sent(entry.id, places={HOUR: str(self._budget(sent=0 if ended else 1))})
                if owner.ends:
                    break  # what is over is told before what comes next
            else:
                break  # the place was moved
            owner.unsent.discard(ended)
            if entry is not entries[-1] and time.monotonic() >= self._room_at and await self._make_room():
                break  # they are taken, and come faster than that
        return bool(entries)

    def _budget(self, *, sent: int = 0, withheld: int = 0) -> Budget:
        """The messages of this hour, with so many more."""
        now = budget_at(int(time.time() * 1000), self._owner.places.get(HOUR, ""))
        return now._replace(sent=now.sent + sent, withheld=now.withheld + withheld)

    async def _withhold(self, entry: AlertEntry) -> None:
        self._count_dropped("hour", "too many in this hour", entry.event, 1)
        changes, _ = self._passed_over([entry])
        await self._owner.sent(entry.id, changes, {HOUR: str(self._budget(withheld=1))})

    async def _tell_end(self) -> bool:
        """Tell of one end of an alert whose message was dropped; whether that was taken, or refused for good."""
        owner = self._owner
        name = next(iter(owner.ends), "")
        if not name:
            return False
        try:
            body = self._notice("resolved", decode_alert(owner.ends[name].encode()))
        except MsgspecError:  # none of ours
            body = b""
        done = not body or await self._post_once("resolved", body)
        if done:
            await owner.sent(owner.places[WEBHOOK], places={name: ""})
        return done

    async def _tell_again(self) -> bool:
        """Tell how many messages were withheld, or of one open alert whose message was dropped or withheld; whether
        that was taken, or refused for good."""
        owner, most, budget = self._owner, self._settings.messages_per_hour, self._budget()
        if budget.withheld and budget.sent <= most:  # one more than of others, so that it is told at once
            body = withheld_notice(budget.withheld, most, slack=self._settings.webhook_form == "slack")
            done = await self._post_once("withheld", body)
            if done:
                spent = {HOUR: str(self._budget(sent=1, withheld=-budget.withheld))}
                await owner.sent(owner.places[WEBHOOK], places=spent)
            return done
        untold = (alert for alert in owner.opened() if alert.untold and self._is_wanted(alert))
        alert = next(untold, None)
        if alert is None or budget.sent >= most:
            return False
        owner.unsent.discard(alert.id)
        if done := await self._post_once("fired", self._notice("fired", alert)):
            alert.untold = False
            changes = [Change("updated", alert)]
            await owner.sent(owner.places[WEBHOOK], changes, {HOUR: str(self._budget(sent=1))})
        return done

    async def _post_once(self, event: str, body: bytes) -> bool:
        """Whether a message was taken, or refused for good."""
        reason, passing = await self._post(body)
        if not reason:
            SENT.inc()
            return True
        FAILED.labels(reason).inc()
        log.warning("alerts_webhook_failed", reason=reason, alert_event=event)
        if not passing:
            self._count_dropped("refused", reason, event, 1)
        return not passing

    def _is_wanted(self, record: Alert | Comment) -> bool:
        if not isinstance(record, Alert):
            return True
        return not record.silenced and SEVERITIES.index(record.severity) >= self._least

    def _passed_over(
        self, entries: Sequence[AlertEntry], kept: int = 0
    ) -> tuple[list[Change], dict[str, str]]:
        """What is to be known of messages that are not sent: which alerts the webhook was not told of, and the ends of
        others; `kept`: so many ends are to be known besides."""
        owner, changes, ends = self._owner, list[Change](), dict[str, str]()
        opened = {alert.id: alert for alert in owner.opened()}
        room = self._most - len(owner.ends) - kept
        for entry in entries:
            alert = entry.record
            if not isinstance(alert, Alert) or not self._is_wanted(alert):
                continue
            if entry.event in OPENING:
                if entry.id != self._tried:
                    owner.unsent.add(alert.id)
                if (current := opened.get(alert.id)) is not None and not current.untold:
                    current.untold = True
                    changes.append(Change("updated", current))
            elif entry.event == "resolved":
                if alert.id not in owner.unsent and len(ends) < room:
                    ends[f"{RESOLVED}{alert.id}"] = encode(alert).decode()
                owner.unsent.discard(alert.id)
        return changes, ends

    def _count_dropped(self, kind: str, reason: str, event: str, messages: int) -> None:
        DROPPED.labels(kind).inc(messages)
        log.error("alerts_webhook_dropped", reason=reason, alert_event=event, messages=messages)

    async def _send(self, entry: AlertEntry) -> bool:
        """Send one message, again and again if need be; False: it was dropped, and the place moved behind it."""
        pauses, began, self._tried = Pauses(FIRST_S, MOST_S), time.monotonic(), entry.id
        body = self._notice(entry.event, entry.record)
        if isinstance(entry.record, Alert):
            self._owner.unsent.discard(entry.record.id)
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
                await self._owner.sent(entry.id, *self._passed_over([entry]))
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
        dropped, cutoff, untold, ends = 0, waiting[-1], list[Change](), dict[str, str]()
        while place != cutoff:
            passed = await book.passed(place, cutoff, READ_AT_ONCE)
            dropped, place = dropped + passed.entries, passed.last
            changes, more = self._passed_over(passed.alerts, len(ends))
            untold, ends = untold + changes, ends | more
        self._count_dropped("queue", "too many wait", "", dropped)
        await self._owner.sent(cutoff, untold, ends)
        return True
