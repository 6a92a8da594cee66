"""The role on a running fleet: each kind of rule fires and resolves, once, whichever worker owns the alerts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from in_process import KEYS, Fleet, fleet_of

from workers.alerts.worker import AlertWorker
from workers.model.alerts.records import Alert
from workers.model.alerts.signals import FAMILIES, SIGNALS
from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.model.books.audit import AuditOutcome
from workers.runtime.process import Process
from workers.runtime.tasks import end
from workers.settings.alert_rules import rules_in_force
from workers.settings.alerts import AlertSettings, RuleSettings
from workers.store.alerts.book import AlertBook
from workers.store.books.audits import Audit, AuditStore
from workers.store.fleet.leases import Leases
from workers.store.keys import BOOKS_GROUP, DEPTH, TRADES, TRADES_GROUP

SYMBOL = "BTCUSDT"


class Alerts:
    """Alert workers beside a fleet, and what became of their alerts."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.book = AlertBook(fleet.client)
        self.running: dict[str, tuple[AlertWorker, Process, list[asyncio.Task[None]]]] = {}

    def start(self, name: str) -> AlertWorker:
        process = Process("alerts", self.fleet.settings, 0, self.fleet.url)
        process.name = name
        worker = AlertWorker(process, rules_in_force(self.fleet.settings.alerts))
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(process._beat())]
        self.running[name] = worker, process, tasks
        return worker

    async def stop(self, name: str) -> None:
        _, process, tasks = self.running.pop(name)
        process.stop.set()
        await tasks[0]
        await end(tasks)
        await process.client.aclose()

    async def crash(self, name: str) -> None:
        """End a worker without a last word: its lease runs out."""
        worker, process, tasks = self.running.pop(name)

        async def nothing() -> None:
            return None

        worker.owner.release = nothing  # type: ignore[method-assign]
        await end(tasks)
        await process.client.aclose()

    async def told(self, event: str, rule: str, symbol: str = SYMBOL) -> list[Alert]:
        """What was told of a rule, the oldest first."""
        entries = (await self.book.newest(1_000))[::-1]
        alerts = [one.record for one in entries if one.event == event and isinstance(one.record, Alert)]
        return [one for one in alerts if one.rule == rule and one.symbol in (symbol, "")]

    async def until(self, event: str, rule: str, times: int = 1) -> Alert:
        async def so() -> bool:
            return len(await self.told(event, rule)) >= times

        await self.fleet.until(so, 90)
        return (await self.told(event, rule))[times - 1]

    async def settled(self, rule: str) -> int:
        """Wait until a rule has no open alert; how often it has fired until now."""

        async def so() -> bool:
            return rule not in [one.alert.rule for one in await self.book.opened()]

        await self.fleet.until(so, 90)
        return len(await self.told("fired", rule))


@asynccontextmanager
async def alerts_of(
    server: str, rules: Mapping[str, str | dict[str, Any]], **keys: Any
) -> AsyncIterator[Alerts]:
    made = [
        RuleSettings(name=name, **({"when": said} if isinstance(said, str) else said))
        for name, said in rules.items()
    ]
    async with fleet_of(server, symbols=[SYMBOL]) as fleet:
        fleet.settings.alerts = AlertSettings(
            rules=made, every_ms=100, commands_per_s=2_000, flapping_after=0, **keys
        )
        alerts = Alerts(fleet)
        yield alerts
        for name in list(alerts.running):
            await alerts.stop(name)


async def fault(fleet: Fleet, text: str) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{fleet.exchange.url}/control/faults"
        async with session.post(url, json={"fault": text}) as response:
            assert response.status < 300, await response.text()


async def fault_over(fleet: Fleet) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.delete(f"{fleet.exchange.url}/control/faults") as response,
    ):
        assert response.status < 300


def brief(when: str) -> dict[str, Any]:
    return {"when": when, "resolve_after_s": 0.5}


PROVOKED: dict[str, str | dict[str, Any]] = {
    "withheld": "withheld on BTC*",
    "holes": brief("gap on usdm:*"),
    "lacking": brief("missing_trades"),
    "audits": brief("audit_mismatch"),
    "silent": "feed_silent",
    "lines": "lines_alive < 2 on usdm",
    "folds": "workers.trades < 1",
    "busy": "stats.1m.trades_count >= 1 for 300ms",
    "halted": "trades_halted",
}
"""Rules over what the simulated exchange and the workers can be brought to do; and `mid`, which follows its price."""


async def test_each_kind_of_rule_fires_and_resolves_on_a_running_fleet(real_server: str) -> None:
    async with alerts_of(real_server, PROVOKED) as alerts:
        fleet = alerts.fleet
        fleet.be_patient()
        for role in ("ingest-a", "ingest-b", "books", "trades"):
            fleet.start(role, role)
        await fleet.until(fleet.all_shown)
        mid = float((await fleet.truth("book", SYMBOL, depth="1"))["bids"][0][0])
        far = {"name": "dear", "when": f"mid > {mid * 1.2} on {SYMBOL}", "resolve": mid * 1.1}
        fleet.settings.alerts.rules.append(RuleSettings(**far))
        alerts.start("alerts-1")
        await alerts.until("fired", "busy")

        await fault(fleet, f"price symbol={SYMBOL} value={mid * 1.5:.0f}")
        fired = await alerts.until("fired", "dear")
        assert isinstance(fired.value, float)
        assert fired.value > mid * 1.2
        assert fired.facts["withheld"] is False
        await fault(fleet, f"price symbol={SYMBOL} value={mid:.0f}")
        assert (await alerts.until("resolved", "dear")).id == fired.id

        before = await alerts.settled("withheld")  # the price went beyond the known range
        await fleet.stop("books")
        await alerts.until("fired", "withheld", before + 1)
        fleet.start("books", "books-2")
        await alerts.until("resolved", "withheld", before + 1)

        await fault(fleet, "lose stream=*@aggTrade count=2")
        await fault(fleet, "rest_status path=*/aggTrades value=400")
        await alerts.until("resolved", "holes")
        assert (await alerts.until("fired", "lacking")).count >= 1
        await alerts.until("resolved", "lacking")
        await fault_over(fleet)

        audits = AuditStore(fleet.client, KEYS, 1_000)
        await audits.record(SYMBOL, Audit(1, AuditOutcome.MISMATCH, "differs", update_id=7))
        await alerts.until("resolved", "audits")

        await fleet.stop("trades")
        await alerts.until("fired", "folds")
        fleet.start("trades", "trades-2")
        await alerts.until("resolved", "folds")

        await fleet.stop("ingest-a")
        await alerts.until("fired", "lines")
        await fleet.stop("ingest-b")
        await alerts.until("fired", "silent")
        fleet.start("ingest-a", "ingest-a-2")
        await alerts.until("resolved", "silent")
        fleet.start("ingest-b", "ingest-b-2")
        await alerts.until("resolved", "lines")

        untyped: Any = fleet.client
        await untyped.hset(KEYS.trades_status("BTCUSDT"), mapping={"state": "repairing"})
        await alerts.until("fired", "halted")
        await untyped.delete(KEYS.trades_status("BTCUSDT"))
        await alerts.until("resolved", "halted")
        for rule in PROVOKED.keys() - {"busy"}:  # the market goes on
            await alerts.until("resolved", rule)
        for rule in ("dear", "silent", "lines", "folds", "audits", "halted"):
            assert len(await alerts.told("fired", rule)) == 1, rule


WRITTEN: Mapping[str, str] = {
    "spread": "spread > 5",
    "spread_bps": "spread_bps > 500",
    "best_bid": "best_bid < 99",
    "best_ask": "best_ask > 101",
    "shown_age_ms": "shown_age_ms > 60000",
    "stale_ms": "stale_ms > 60000",
    "behind_ms": "behind_ms > 60000",
    "unheard_ms": "unheard_ms > 60000",
    "book_state": "book_state == broken",
    "book": "book.levels < 1",
    "trades": "trades.missing_count > 0",
    "stats": "stats.1m.volume > 100",
    "derivatives": "derivatives.funding_rate > 0.1",
    "orders": "orders.doubts > 2",
    "analytics": "analytics.depth_imbalance > 0.5",
    "depth_waiting": "depth_waiting > 5",
    "trades_waiting": "trades_waiting > 5",
    "redis_memory_mb": "redis_memory_mb > 100",
    "liquidation": "liquidation",
    "wall_appeared": "wall_appeared",
    "wall_eaten": "wall_eaten",
    "iceberg_found": "iceberg_found",
    "iceberg_confirmed": "iceberg_confirmed",
}
"""By signal or family, rules over what the role that is responsible would write."""
FOLDED = ((KEYS.raw(SYMBOL, DEPTH), BOOKS_GROUP), (KEYS.raw(SYMBOL, TRADES), TRADES_GROUP))
NEVER_MS = 10**13
"""A time after any that the test sees: what was told then is of now."""


async def write(client: Any, *, bad: bool) -> None:
    """Write what each rule of `WRITTEN` fires at, or what resolves it; what happened needs nothing more than time."""
    top = {
        "s": SYMBOL,
        "b": [["95" if bad else "99.9", "1"]],
        "a": [["105" if bad else "100.1", "1"]],
        "u": 1,
    }
    top |= {"E": 1, "T": 1, "synced_at": 1, "received": 1, "published": 1 if bad else NEVER_MS * 1_000}
    await client.hset("LIVE_ORDERBOOK", SYMBOL, json.dumps(top))
    age = 10**6 if bad else 0
    status = {"age_ms": age, "behind_ms": age, "told_ms": 1 if bad else NEVER_MS, "levels": 0 if bad else 9}
    hashes: dict[str, dict[str, Any]] = {
        KEYS.book_status(SYMBOL): {**status, "state": "broken" if bad else "synced"},
        KEYS.trades_state(SYMBOL): {"missing_count": 3 * bad},
        KEYS.stats(SYMBOL, "1m"): {"volume": 101 if bad else 99},
        KEYS.orders_status(SYMBOL): {"doubts": 3 * bad},
        KEYS.analytics(SYMBOL): {"depth_imbalance": 0.9 if bad else 0.1},
    }
    for key, fields in hashes.items():
        await client.hset(key, mapping=fields)
    await client.xadd(KEYS.derivatives(SYMBOL), {"funding_rate": 0.2 * bad})
    for key, group in FOLDED:
        if bad:
            await client.xgroup_create(key, group, id="0", mkstream=True)
            for _ in range(6):
                await client.xadd(key, {"data": "{}"})
        else:
            await client.xreadgroup(group, "worker", {key: ">"}, count=100)
    if bad:
        await client.xadd(KEYS.liquidations(SYMBOL), {"price": "1"})
        kinds: tuple[EventKind, ...] = ("wall_appeared", "wall_eaten", "iceberg_found", "iceberg_confirmed")
        events = [AnalyticsEvent(kind, "bid", 99.5, 1) for kind in kinds]
        await client.xadd(KEYS.analytics_events(SYMBOL), {"data": msgspec.json.encode(events)})


async def test_each_rule_over_what_a_role_writes_fires_and_resolves(real_server: str) -> None:
    rules = {name: {"when": when, "resolve_after_s": 0.2} for name, when in WRITTEN.items()}
    async with alerts_of(real_server, rules) as alerts:
        fleet = alerts.fleet
        untyped: Any = fleet.client
        for role in ("orders", "analytics"):
            await Leases(fleet.client, KEYS, role, f"{role}-1", 600_000).take([SYMBOL])
        beating = {role: Process(role, fleet.settings, 0, fleet.url) for role in ("books", "keeper")}
        beating["keeper"].details = {"redis_memory_bytes": 200 * 2**20}
        beats = [asyncio.create_task(process._beat()) for process in beating.values()]
        alerts.start("alerts-1")

        async def entered() -> bool:
            places = await untyped.hkeys("{alerts}:places")
            return {KEYS.liquidations(SYMBOL).encode(), KEYS.analytics_events(SYMBOL).encode()} <= set(places)

        await fleet.until(entered, 90)
        await write(untyped, bad=True)
        for rule in WRITTEN:
            await alerts.until("fired", rule)
        await write(untyped, bad=False)
        beating["keeper"].details = {"redis_memory_bytes": 50 * 2**20}
        for rule in WRITTEN:
            await alerts.until("resolved", rule)
            assert len(await alerts.told("fired", rule)) == 1, rule
        await end(beats)
        for process in beating.values():
            await process.client.aclose()


def test_every_signal_and_family_has_a_rule_that_fires_and_resolves() -> None:
    made = [when if isinstance(when, str) else str(when["when"]) for when in PROVOKED.values()]
    provoked = {"mid", *(when.split()[0].partition(".")[0] for when in made)}
    written = {when.split()[0].partition(".")[0] for when in WRITTEN.values()}
    assert written == set(WRITTEN)
    assert provoked | written == set(SIGNALS) | set(FAMILIES)


@pytest.mark.parametrize("end_of_the_owner", ["stop", "crash"])
async def test_the_next_owner_fires_nothing_again_and_resolves_what_is_over(
    real_server: str, end_of_the_owner: str
) -> None:
    rules: dict[str, str | dict[str, Any]] = {
        "withheld": "withheld",
        "holes": {"when": "gap", "resolve_after_s": 600},
    }
    async with alerts_of(real_server, rules) as alerts:
        fleet = alerts.fleet
        untyped: Any = fleet.client
        fleet.start("books", "books-1")
        hole = {"channel": "depth", "from": 1, "to": 2, "reason": "gap", "repaired": "resync"}
        await untyped.xadd(KEYS.gaps(SYMBOL), hole)  # before anybody looked
        alerts.start("alerts-1")
        second = alerts.start("alerts-2")
        await alerts.until("fired", "withheld")
        await untyped.xadd(KEYS.gaps(SYMBOL), hole)
        await alerts.until("fired", "holes")
        assert [one.alert.count for one in await alerts.book.opened() if one.alert.rule == "holes"] == [1]
        owner = "alerts-2" if second.owner.machine else "alerts-1"
        await (alerts.stop(owner) if end_of_the_owner == "stop" else alerts.crash(owner))
        await untyped.xadd(KEYS.gaps(SYMBOL), hole)  # while nobody owns the alerts

        async def counted() -> bool:
            return [one.alert.count for one in await alerts.book.opened() if one.alert.rule == "holes"] == [2]

        await fleet.until(counted)
        for role in ("ingest-a", "trades"):
            fleet.start(role, role)
        await alerts.until("resolved", "withheld")
        assert len(await alerts.told("fired", "withheld")) == len(await alerts.told("fired", "holes")) == 1


async def test_a_dead_webhook_and_a_dead_model_slow_no_look(real_server: str) -> None:
    async with alerts_of(
        real_server,
        {"holes": {"when": "gap", "resolve_after_s": 0}},
        webhook_url="http://127.0.0.1:9/x",
        commentary_url="http://127.0.0.1:9/v1",
        commentary_model="m",
    ) as alerts:
        untyped: Any = alerts.fleet.client
        alerts.start("alerts-1")

        async def entered() -> bool:
            return bool(await untyped.hexists("{alerts}:places", KEYS.gaps(SYMBOL)))

        await alerts.fleet.until(entered)
        for number in range(5):
            await untyped.xadd(KEYS.gaps(SYMBOL), {"channel": "depth", "repaired": "resync"})
            await alerts.until("resolved", "holes", number + 1)
        place = (await untyped.hget("{alerts}:places", "webhook")).decode()
        assert len(await alerts.book.after(place, 100)) == 10  # all of it waits
