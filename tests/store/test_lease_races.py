"""A lease that is forgotten while Redis is asked about it ends nothing else; owners follow the list of symbols."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.runtime.context import venue_contexts
from workers.runtime.ownership import TAKEN_AT_ONCE, Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.pulse import Pulse
from workers.runtime.tasks import end
from workers.settings.schema import FleetSettings, Settings
from workers.store.fleet.followed import publish
from workers.store.fleet.leases import Leases
from workers.store.keys import Keys
from workers.store.scripts import Scripts
from workers.venues.binance.settings import BinanceSettings

SYMBOLS = ["AUSDT", "BUSDT"]
SETTINGS = Settings(fleet=FleetSettings(), venues={"usdm": BinanceSettings(market="usdm", symbols=SYMBOLS)})


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is done between a call to Redis and its answer."""
    actions: list[Any] = []
    real = Scripts.run

    async def run(self: Scripts, name: str, keys: Any, arguments: Any = ()) -> Any:
        replies = await real(self, name, keys, arguments)
        for action in actions:
            action()
        return replies

    monkeypatch.setattr(Scripts, "run", run)
    return actions


async def test_a_renewal_survives_a_lease_lost_meanwhile(client: Redis, interrupted: list[Any]) -> None:
    leases = Leases(client, Keys(), "books", "one", 60_000)
    await leases.take(SYMBOLS)
    interrupted.append(lambda: leases.forget("AUSDT"))
    assert await leases.renew() == set()
    assert set(leases.held) == {"BUSDT"}
    assert leases.safe("BUSDT")


class Taker:
    """A role that notes what it owns."""

    def __init__(self) -> None:
        self.owned: set[str] = set()
        self.retired_symbols: list[str] = []

    async def recover(self, claim: Claim, token: int) -> None:
        self.owned.add(claim.symbol)

    async def hand_over(self, claim: Claim) -> None:
        self.owned.discard(claim.symbol)

    def forget(self, claim: Claim) -> None:
        self.owned.discard(claim.symbol)

    def retired(self, claim: Claim) -> None:
        assert claim.symbol not in self.owned
        self.retired_symbols.append(claim.symbol)


async def test_a_symbol_lost_while_it_is_taken_is_taken_in_the_next_round(client: Redis) -> None:
    async def live(_: str) -> list[str]:
        return ["one"]

    [context] = venue_contexts(SETTINGS)
    process: Any = SimpleNamespace(
        client=client, name="one", settings=SETTINGS, registry=SimpleNamespace(live=live)
    )
    taker = Taker()
    ownership = Ownership(process, "books", [context], taker)
    await ownership.share()
    token = ownership._leases["usdm"].held["AUSDT"]
    ownership.lost(Claim(context, "AUSDT"), token - 1)  # the answer to a call under the lease before this one
    assert ownership.owns(Claim(context, "AUSDT"), token)
    ownership.lost(Claim(context, "AUSDT"), token)
    await ownership.recover_taken()
    assert taker.owned == {"BUSDT"}
    await ownership.share()
    await ownership.recover_taken()
    assert taker.owned == set(SYMBOLS)


async def test_owners_follow_the_published_symbols(client: Redis) -> None:
    async def live(_: str) -> list[str]:
        return ["one"]

    [context] = venue_contexts(SETTINGS)
    process: Any = SimpleNamespace(
        client=client, name="one", settings=SETTINGS, registry=SimpleNamespace(live=live)
    )
    taker = Taker()
    ownership = Ownership(process, "books", [context], taker)
    await ownership.share()
    await ownership.recover_taken()
    await publish(client, "usdm", context.symbols.rule.text, ["BUSDT", "币USDT"], {"AUSDT": "SETTLING"})
    await ownership.share()
    await ownership.recover_taken()
    assert taker.owned == {"BUSDT", "币USDT"}
    assert taker.retired_symbols == ["AUSDT"]
    assert await client.exists(Keys().lease("books", "AUSDT")) == 0
    await ownership.share()
    await ownership.recover_taken()
    assert taker.retired_symbols == ["AUSDT"]


class Slow(Taker):
    """A role that recovers nothing before it may, and notes in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def recover(self, claim: Claim, token: int) -> None:
        await self.may.wait()
        await super().recover(claim, token)


def ownership_of(client: Redis, taker: Taker, settings: Settings = SETTINGS, name: str = "one") -> Ownership:
    async def live(_: str) -> list[str]:
        return [name]

    process: Any = SimpleNamespace(
        client=client, name=name, settings=settings, registry=SimpleNamespace(live=live), pulse=Pulse()
    )
    return Ownership(process, "books", venue_contexts(settings), taker)


async def test_renewal_waits_for_no_recovery_and_all_of_two_venues_come_to_be_owned(client: Redis) -> None:
    """200 symbols on two venues, of which none is recovered for longer than a lease."""
    names = [f"S{number:03d}USDT" for number in range(100)]
    venues = {market: BinanceSettings(market=market, symbols=names) for market in ("usdm", "spot")}
    settings = Settings(fleet=FleetSettings(lease_ms=400, heartbeat_ms=100), venues=venues)
    taker = Slow()
    ownership = ownership_of(client, taker, settings)
    running = asyncio.create_task(ownership.run())
    try:
        async with asyncio.timeout(60):
            while ownership.held < TAKEN_AT_ONCE:
                await asyncio.sleep(0.01)
            tokens = [dict(leases.held) for leases in ownership._leases.values()]
            assert sorted(map(len, tokens)) == [TAKEN_AT_ONCE // 2] * 2  # no venue waits for the other
            await asyncio.sleep(1.2)  # three leases long
            assert [dict(leases.held) for leases in ownership._leases.values()] == tokens
            taker.may.set()
            while ownership.held < 200 or len(taker.owned) < 100:
                await asyncio.sleep(0.01)
    finally:
        await end([running])


async def test_a_lease_that_ran_out_is_renewed_while_nobody_took_the_symbol(client: Redis) -> None:
    late = Leases(client, Keys(), "books", "late", 60_000)
    await late.take(SYMBOLS)
    await client.delete(*(Keys().lease("books", symbol) for symbol in SYMBOLS))  # as if it had run out
    other = Leases(client, Keys(), "books", "other", 60_000)
    assert await other.take(["AUSDT"]) == {"AUSDT"}
    assert await late.renew() == {"AUSDT"}
    assert set(late.held) == {"BUSDT"}
    assert await other.take(["BUSDT"]) == set()
    assert await other.renew() == set()


async def test_a_lease_given_back_is_not_brought_back_by_a_renewal_on_its_way(
    client: Redis, interrupted: list[Any]
) -> None:
    leases = Leases(client, Keys(), "books", "one", 60_000)
    await leases.take(SYMBOLS)
    renewals: list[asyncio.Task[set[str]]] = []
    interrupted.append(lambda: renewals.append(asyncio.create_task(leases.renew())) if not renewals else None)
    await leases.release(["AUSDT"])
    await asyncio.gather(*renewals)
    assert await client.exists(Keys().lease("books", "AUSDT")) == 0


async def test_a_worker_that_is_late_holds_longer_leases_and_is_longer_alive(client: Redis) -> None:
    taker = Taker()
    ownership = ownership_of(client, taker)
    await ownership.share()
    ownership._process.pulse.observe(1.5)
    await ownership.renew()
    assert 3_000 + 4_000 < await client.pttl(Keys().lease("books", "AUSDT")) <= 3_000 + 4_500
    ownership._process.pulse.observe(100.0)
    await ownership.renew()
    assert await client.pttl(Keys().lease("books", "AUSDT")) <= 15_000
    for _ in range(500):
        ownership._process.pulse.observe(0.0)
    await ownership.renew()
    assert await client.pttl(Keys().lease("books", "AUSDT")) <= 3_000


class Failing(Taker):
    """A role that cannot hand over one symbol."""

    async def hand_over(self, claim: Claim) -> None:
        if claim.symbol == "AUSDT":
            raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        await super().hand_over(claim)


async def test_a_symbol_that_cannot_be_handed_over_holds_up_no_other(client: Redis) -> None:
    taker = Failing()
    ownership = ownership_of(client, taker)
    await ownership.share()
    await ownership.recover_taken()
    assert taker.owned == set(SYMBOLS)
    await ownership.release_all()
    assert taker.owned == set()
    assert ownership.held == 0
    assert not [key async for key in client.scan_iter("fleet:lease:*")]


def test_no_two_processes_have_one_name() -> None:
    """As in containers that share a host name, where both are process 7."""
    first, second = (Process("books", SETTINGS, 0, "unix:///nowhere") for _ in range(2))
    assert first.name != second.name
    assert first.name.split("-")[-2] == str(os.getpid())
