"""Who owns the alerts: one worker, by one lease; and what it knows of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError

from workers.alerts.metrics import FLAPPING, LEFT_OUT, OPEN, PENDING
from workers.errors import LeaseLost, StateUnreadable
from workers.model.alerts.machine import AlertMachine
from workers.model.alerts.records import Alert, Change, Comment, Past
from workers.model.alerts.rules import Rule
from workers.runtime.backoff import Backoff
from workers.runtime.process import Process
from workers.store.alerts.book import LEASE, ROLE, AlertBook
from workers.store.fleet.leases import Leases
from workers.store.keys import Keys

log = structlog.get_logger()

RENEWED_TIMES: Final = 6
"""In the length of a lease."""
WEBHOOK: Final = "webhook"
"""The place up to which messages were sent."""
HOUR: Final = "webhook_hour"
"""The messages of this hour, among the places."""
RESOLVED: Final = "webhook_resolved:"
"""And before the id of an alert the record of its end, which the webhook has still to be told."""


class AlertOwner:
    """The alerts as long as this worker owns them; `machine` is None while it does not.

    What changed is kept until it is stored: only then anything else is looked at.
    """

    def __init__(self, process: Process, rules: Sequence[Rule]) -> None:
        self._process = process
        self._rules = rules
        self.book = AlertBook(process.client, process.settings.alerts.kept)
        self._leases = Leases(process.client, Keys(), ROLE, process.name, process.settings.fleet.lease_ms)
        self.machine: AlertMachine | None = None
        self.places: dict[str, str] = {}
        """How far each stream was looked at, and messages were sent."""
        self.ends: dict[str, str] = {}
        """Records of alerts of whose end the webhook has still to be told."""
        self.unsent: set[str] = set()
        """Alerts of which nobody ever tried to tell the webhook, so that it need not be told of their end."""
        self._changes: list[Change] = []
        self._moved: dict[str, str] = {}
        self._pasts: dict[str, Past | None] = {}
        self.told = asyncio.Event()
        """Set when something was told in the stream `alerts`."""

    @property
    def token(self) -> int:
        """The fencing number; 0 while the alerts are not owned."""
        return self._leases.held.get(LEASE, 0) if self.machine is not None else 0

    async def keep(self) -> None:
        """Take the lease when it is free and renew it, until cancelled."""
        pause_s, waits = self._process.settings.fleet.lease_ms / 1000 / RENEWED_TIMES, Backoff("leases")
        while True:
            wait_s = pause_s
            try:
                await self._take_or_renew()
                waits.accepted()
            except (RedisError, OSError, StateUnreadable) as error:
                wait_s = max(pause_s, waits.refused(error))
            await asyncio.sleep(wait_s)

    async def _take_or_renew(self) -> None:
        if self.machine is not None and LEASE in self._leases.held:
            if await self._leases.renew():
                self.lost()
            return
        if LEASE not in self._leases.held and not await self._leases.take([LEASE]):
            return
        (opened, pasts), places = await self.book.take_up(), await self.book.places()
        self._changes, self._moved, self._pasts, self.places, self.unsent = [], {}, {}, places, set()
        self.ends = {name: places.pop(name) for name in list(places) if name.startswith(RESOLVED)}
        if not self._process.settings.alerts.webhook_url:
            self.changed([], dict.fromkeys([WEBHOOK, HOUR, *self.ends], ""))
        elif not places.get(WEBHOOK):  # what was told before there was a webhook is not for it
            self.changed([], {WEBHOOK: await self.book.last()})
        most_open = self._process.settings.alerts.most_open
        self.machine = AlertMachine(self._rules, opened, pasts, most_open)
        log.info("lease_taken", role=ROLE, symbol=LEASE, token=self.token, open=len(opened))

    def lost(self) -> None:
        """Forget everything: the alerts are another worker's."""
        log.warning("lease_lost", role=ROLE, symbol=LEASE)
        self._leases.forget(LEASE)
        self.machine = None
        for gauge in (OPEN, PENDING, LEFT_OUT, FLAPPING):
            gauge.set(0)  # those of the next owner

    def changed(self, changes: Sequence[Change], places: Mapping[str, str]) -> None:
        """Take note of what is to be stored."""
        self._changes += changes
        self._moved |= places
        self.places |= places

    async def store(self) -> list[Change]:
        """Store and tell what changed; what was told, for who counts it.

        Raises:
            RedisError: it is kept for the next call.
            LeaseLost: it is not ours to tell.
        """
        if self.machine is not None:
            self._pasts |= self.machine.take_unsaved()
        changes, moved, pasts = self._changes, self._moved, self._pasts
        await self.book.commit(self.token, changes, moved, pasts=pasts)
        self._changes, self._moved, self._pasts = [], {}, {}
        if any(change.event != "updated" for change in changes):
            self.told.set()
        if self.machine is not None:
            OPEN.set(len(self.machine.open_alerts()))
            PENDING.set(self.machine.pending)
            LEFT_OUT.set(self.machine.left_out)
            FLAPPING.set(sum(alert.flapping for alert in self.machine.open_alerts()))
        return changes

    async def sent(
        self, place: str, changes: Sequence[Change] = (), places: Mapping[str, str] | None = None
    ) -> None:
        """Note how far messages were sent, what became of alerts by that, and what else of the webhook is to be known
        (empty: nothing any more). Raises: RedisError; LeaseLost."""
        moved = {WEBHOOK: place, **(places or {})}
        await self.book.commit(self.token, changes, places=moved)
        for name, value in moved.items():
            known = self.ends if name.startswith(RESOLVED) else self.places
            if value:
                known[name] = value
            else:
                known.pop(name, None)

    def opened(self) -> list[Alert]:
        """The alerts that are open, and ours."""
        return self.machine.open_alerts() if self.machine is not None else []

    async def comment(self, field: str, comment: Comment) -> None:
        """Store what a machine said of an alert, if that is open still. Raises: RedisError; LeaseLost."""
        await self.book.commit(self.token, comments=[(field, comment)])
        self.told.set()

    def is_open(self, alert: Alert) -> bool:
        """Whether an alert is open, and ours."""
        return any(one.id == alert.id for one in self.opened())

    async def release(self) -> None:
        """Store what there is to store and give the lease back."""
        try:
            if self.token:
                await self.store()
            await self._leases.release([LEASE])
        except (RedisError, OSError, LeaseLost) as error:
            log.warning("release_failed", role=ROLE, symbol=LEASE, error=str(error))
