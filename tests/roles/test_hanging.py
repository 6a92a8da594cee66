"""A worker whose work finishes nothing any more gives up what it owns; one that is only slow does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from in_process import KEYS, Fleet, fleet_of
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from workers.errors import WorkHung
from workers.ingest.appender import Appender
from workers.runtime import ownership as ownership_module
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import RECOVER, Claim, Ownership
from workers.runtime.progress import Progress
from workers.runtime.pulse import Pulse
from workers.runtime.tasks import end
from workers.settings.schema import FleetSettings, Settings
from workers.venues.binance.settings import BinanceSettings


def hung(role: str, work: str) -> float:
    return REGISTRY.get_sample_value("fleet_work_hung_total", {"role": role, "work": work}) or 0.0


async def waits_for_ever(_: object = None) -> int:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def spins(_: object = None) -> int:
    while True:
        await asyncio.sleep(0.005)


async def working(fleet: Fleet, role: str) -> None:
    async def works() -> bool:
        if role == "books":
            return await fleet.all_shown()
        states = [await fleet.client.hget(KEYS.trades_state(symbol), "last_id") for symbol in fleet.symbols]
        return None not in states

    await fleet.until(works, 90)


@pytest.mark.parametrize("hang", [waits_for_ever, spins])
@pytest.mark.parametrize("role", ["books", "trades"])
async def test_a_worker_whose_rounds_hang_ends_and_another_takes_its_symbols(
    real_server: str, monkeypatch: pytest.MonkeyPatch, role: str, hang: Callable[[], Awaitable[int]]
) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start(role, "first")
        await working(fleet, role)
        before = hung(role, "round")
        monkeypatch.setattr(ownership_module, "PATIENCE_LEASES", 2)
        with structlog.testing.capture_logs() as said:
            fleet.workers["first"].step = hang  # type: ignore[method-assign, assignment]
            task = fleet.tasks.pop("first")
            await asyncio.wait([task], timeout=60)
        assert task.done(), "it hangs, and keeps its leases"
        assert isinstance(task.exception(), WorkHung)
        assert hung(role, "round") == before + 1
        [told] = [line for line in said if line["event"] == "work_hung"]
        assert told["at"].startswith(("locks.py:", "tasks.py:"))
        leases = [KEYS.lease(role, symbol) for symbol in fleet.symbols]
        assert await fleet.client.exists(*leases) == 0
        await fleet.processes["first"].registry.leave(role, "first")
        monkeypatch.undo()
        fleet.start(role, "second")

        async def taken() -> bool:
            return [await fleet.owner(role, symbol) for symbol in fleet.symbols] == ["second"] * 3

        await fleet.until(taken, 90)
        await working(fleet, role)


async def test_a_line_whose_appending_fails_in_a_way_nobody_foresaw_ends(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on receiving, and call itself alive, while nothing of it reaches the log."""

    async def fails(_: Appender) -> None:
        raise ZeroDivisionError

    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")

        async def appends() -> bool:
            return bool(await fleet.client.xlen(KEYS.raw(fleet.symbols[0], "depth")))

        await fleet.until(appends)
        monkeypatch.setattr(Appender, "flush", fails)
        task = fleet.tasks.pop("a")
        await asyncio.wait([task], timeout=60)
        assert task.done()
        assert isinstance(task.exception(), ZeroDivisionError)


class Role:
    """What a role does with its symbols: the recovery of those named hangs."""

    def __init__(self, *hangs: str) -> None:
        self.hangs = set(hangs)
        self.owned: set[str] = set()

    async def recover(self, claim: Claim, token: int) -> None:
        if claim.symbol in self.hangs:
            await asyncio.Event().wait()
        self.owned.add(claim.symbol)

    async def hand_over(self, claim: Claim) -> None:
        self.owned.discard(claim.symbol)

    def forget(self, claim: Claim) -> None:
        self.owned.discard(claim.symbol)

    def retired(self, claim: Claim) -> None:
        pass


def ownership_of(client: Redis, role: Role, symbols: list[str]) -> Ownership:
    async def live(_: str) -> list[str]:
        return ["one"]

    settings = Settings(
        fleet=FleetSettings(lease_ms=600, heartbeat_ms=100),
        venues={"usdm": BinanceSettings(market="usdm", symbols=symbols)},
    )
    process: Any = SimpleNamespace(
        client=client, name="one", settings=settings, registry=SimpleNamespace(live=live), pulse=Pulse()
    )
    return Ownership(process, "books", venue_contexts(settings), role)


async def test_a_recovery_that_hangs_costs_its_symbol_alone(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_module, "PATIENCE_LEASES", 1)
    symbols = ["AUSDT", "BUSDT", "CUSDT"]
    role = Role("AUSDT")
    ownership = ownership_of(client, role, symbols)
    [context] = ownership._contexts

    async def rounds() -> None:
        while True:
            ownership.progress.made()
            await asyncio.sleep(0.01)

    running = asyncio.create_task(ownership.guard(rounds()))
    try:
        async with asyncio.timeout(60):
            while not ownership._quarantine.reason(context, "AUSDT", RECOVER):
                assert not running.done()
                await asyncio.sleep(0.01)
            assert role.owned == {"BUSDT", "CUSDT"}
            role.hangs.clear()
            while role.owned != set(symbols):  # it is tried again
                assert not running.done()
                await asyncio.sleep(0.01)
    finally:
        await end([running])


async def test_a_round_that_takes_long_but_finishes_pieces_keeps_the_leases(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership_module, "PATIENCE_LEASES", 1)
    ownership = ownership_of(client, Role(), ["AUSDT"])
    renewals = 0
    renewed = Progress.renewed

    def counted(progress: Progress, patience: int) -> None:
        nonlocal renewals
        renewals += 1
        renewed(progress, patience)

    monkeypatch.setattr(Progress, "renewed", counted)

    async def one_round() -> None:
        while renewals < 30:  # five times the patience
            await asyncio.sleep(0.01)
            ownership.progress.made()

    async with asyncio.timeout(60):
        await ownership.guard(one_round())
    assert ownership.held == 1


async def test_only_renewals_that_succeed_use_patience_up_and_a_starved_worker_has_more_of_it(
    client: Redis,
) -> None:
    ownership = ownership_of(client, Role(), ["AUSDT"])
    await ownership.share()
    async with ownership.progress.watched("round"):
        for _ in range(59):
            await ownership.renew()
        ownership._process.pulse.observe(1.0)
        for _ in range(200):
            await ownership.renew()
        ownership._process.pulse.late_s = 0.0
        with pytest.raises(WorkHung):
            await ownership.renew()
    assert ownership.progress.is_hung
    await ownership.release_all()
    assert ownership.held == 0
