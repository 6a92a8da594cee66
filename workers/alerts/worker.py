"""The alerts role: looks at what the rules watch, and stores and tells what becomes of alerts.

It reads what everybody may read, at most `alerts.commands_per_s` commands a second, and writes its own keys alone:
nothing waits for it. Sending and commenting are tasks of their own that follow what is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from workers.alerts.commentary import Commentator
from workers.alerts.metrics import COMMANDS, FIRED, FLAPPED, GROWN, RESOLVED, ROUND
from workers.alerts.owner import AlertOwner
from workers.alerts.watching import Watching
from workers.alerts.webhook import Webhook
from workers.errors import LeaseLost
from workers.model.alerts.records import Change
from workers.model.alerts.rules import Rule
from workers.model.alerts.signals import Source, Value
from workers.model.alerts.values import worker_values
from workers.runtime.backoff import Backoff
from workers.runtime.context import venue_contexts
from workers.runtime.follow_symbols import follow
from workers.runtime.process import PORT_OFFSETS, Process
from workers.runtime.proxies import open_session, proxy_for
from workers.runtime.tasks import end, seen
from workers.runtime.unreadable import UnreadableKeys
from workers.settings.alert_rules import rules_in_force
from workers.store.alerts.reading import Watch, look

log = structlog.get_logger()

PAGE: Final = 100
"""Commands in one round trip, about."""
LEAST_APART_MS: Final = 5_000
"""Two looks that are no farther apart than this show what was between them, for all that matters here."""
BEGUN_ANEW_S: Final = 5.0
ROLES: Final = tuple(PORT_OFFSETS)


class AlertWorker:
    """The rules of this fleet, and the loop over what they watch."""

    def __init__(self, process: Process, rules: Sequence[Rule]) -> None:
        self._process = process
        self._settings = process.settings.alerts
        self._rules = rules
        self._contexts = venue_contexts(process.settings)
        self._watching = Watching(rules, self._contexts)
        self.owner = AlertOwner(process, rules)
        self._sources = {rule.source for rule in rules}
        self._unreadable = UnreadableKeys(process.role)
        urls = self._settings.webhook_url, self._settings.commentary_url
        proxies = [proxy_for(url, "") if url else "" for url in urls]
        self._sessions = {proxy: open_session(proxy, limit=4) for proxy in set(proxies)}
        self._webhook = Webhook(self._settings, self.owner, self._sessions[proxies[0]])
        self._commentator = Commentator(self._settings, self.owner, self._sessions[proxies[1]])
        self._round_s = 0.0

    @property
    def _apart_ms(self) -> int:
        return max(LEAST_APART_MS, int(3_000 * self._round_s), 3 * self._settings.every_ms)

    async def round(self) -> None:
        """Look at everything that is watched, once.

        Raises:
            RedisError: the rest is looked at with the next round.
            LeaseLost: the alerts are another worker's.
        """
        began = time.monotonic()
        self._tell(await self.owner.store())
        self._watching.refresh()
        attended = await self._look_wide()
        await self._pause(1)
        for page in self._watching.pages(PAGE):
            if self._process.stop.is_set() or self.owner.machine is None:
                return
            await self._look(page, attended)
            await self._pause(sum(watch.commands for watch in page))
        if self.owner.machine is not None:
            targets, undecided = self._watching.targets, self._watching.undecided
            changes = self.owner.machine.keep(
                targets, _now_ms(), apart_ms=self._apart_ms, undecided=undecided
            )
            self.owner.changed(changes, {})
            self._tell(await self.owner.store())
        self._round_s = time.monotonic() - began
        ROUND.set(self._round_s)

    async def _pause(self, commands: int) -> None:
        COMMANDS.inc(commands)
        await self._process.sleep(commands / self._settings.commands_per_s)

    async def _look_wide(self) -> bool:
        """Look at the venues and the fleet; whether a worker lives that would withdraw books."""
        if not self._sources & {Source.WORKERS, Source.SHOWN}:
            return True
        roles = ROLES if Source.WORKERS in self._sources else ("books",)
        workers = await self._process.registry.workers(roles)
        await self._pause(len(roles) + len(workers))
        changes: list[Change] = []
        for target, signals in self._watching.wide():
            if signals and self.owner.machine is not None:
                values: dict[str, Value] = worker_values(signals, workers, target)
                changes += self.owner.machine.look(
                    target, values, _now_ms(), apart_ms=self._apart_ms, facts=values
                )
        self.owner.changed(changes, {})
        self._tell(await self.owner.store())
        return any(worker["role"] == "books" for worker in workers)

    async def _look(self, page: Sequence[Watch], attended: bool) -> None:
        now_ms = _now_ms()
        found = await look(self._process.client, page, self.owner.places, now_ms, attended=attended)
        if self.owner.machine is None:
            return
        for watch, shown in zip(page, found, strict=True):
            self._unreadable.looked(str(watch.target), shown.unreadable)
            facts = {name: value for name, value in shown.values.items() if value is not None}
            changes = self.owner.machine.look(
                watch.target, shown.values, now_ms, apart_ms=self._apart_ms, facts=facts
            )
            self.owner.changed(changes, shown.places)
        self._tell(await self.owner.store())

    def _tell(self, changes: Sequence[Change]) -> None:
        for event, alert in changes:
            if event == "fired":
                FIRED.labels(alert.rule, alert.severity).inc()
                log.warning("alert_fired", rule=alert.rule, severity=alert.severity, venue=alert.venue,
                            symbol=alert.symbol, value=alert.value, silenced=alert.silenced)  # fmt: skip
                if alert.flapping:
                    FLAPPED.labels(alert.rule).inc()
                    log.warning("alert_flapped", rule=alert.rule, venue=alert.venue, symbol=alert.symbol,
                                firings=alert.firings)  # fmt: skip
            elif event == "grown":
                GROWN.labels(alert.rule).inc()
                log.warning("alert_grown", rule=alert.rule, left_out=alert.left_out)
            elif event == "resolved":
                RESOLVED.labels(alert.rule).inc()
                log.info("alert_resolved", rule=alert.rule, venue=alert.venue, symbol=alert.symbol,
                         reason=alert.resolution)  # fmt: skip
            if event in ("fired", "unsilenced"):
                self._commentator.offer(alert)

    async def _look_again_and_again(self) -> None:
        waits = Backoff("alerts")
        while not self._process.stop.is_set():
            wait_s, began = 0.0, time.monotonic()
            try:
                if self.owner.machine is not None:
                    await self.round()
                waits.accepted()
            except LeaseLost:
                self.owner.lost()
            except RedisError as error:
                wait_s = waits.refused(error)
            machine = self.owner.machine
            self._process.details = {
                "rules": len(self._rules),
                "watched": len(self._watching.symbols),
                "open": len(machine.open_alerts()) if machine else 0,
                "left_out": machine.left_out if machine else 0,
                "owner": int(machine is not None),
            }
            rest_s = self._settings.every_ms / 1000 - (time.monotonic() - began)
            await self._process.sleep(max(wait_s, rest_s, 0.05))

    async def run(self) -> None:
        """Serve until told to stop; then give the alerts back."""
        tasks = [
            asyncio.create_task(self._look_again_and_again(), name="alerts: looks"),
            asyncio.create_task(self.owner.keep(), name="alerts: lease"),
            asyncio.create_task(follow(self._process, self._contexts), name="alerts: symbols"),
            asyncio.create_task(_beside("alerts: webhook", self._webhook.run), name="alerts: beside 1"),
            asyncio.create_task(
                _beside("alerts: commentary", self._commentator.run), name="alerts: beside 2"
            ),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # the end of the looks, or an error nobody foresaw
        finally:
            await end(tasks)
            await self.owner.release()
            await self.close()

    async def close(self) -> None:
        """End what is under way outside."""
        for session in self._sessions.values():
            await session.close()


async def _beside(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do what talks to others, who may bring an error that nobody foresaw: it is told, and the work begun anew."""
    while True:
        task = seen(asyncio.create_task(work(), name=name))
        try:
            await asyncio.wait([task])
        finally:
            await end([task])
        await asyncio.sleep(BEGUN_ANEW_S)


def _now_ms() -> int:
    return int(time.time() * 1000)


async def main(process: Process) -> None:
    """The role's loop."""
    await AlertWorker(process, rules_in_force(process.settings.alerts)).run()
