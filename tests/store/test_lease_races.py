"""A lease that is forgotten while Redis is asked about it ends nothing else; owners follow the list of symbols."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.context import venue_contexts
from workers.ownership import Claim, Ownership
from workers.settings import FleetSettings, Settings, VenueSettings
from workers.store.fleet import Leases
from workers.store.followed import publish
from workers.store.keys import Keys
from workers.store.scripts import Scripts

SYMBOLS = ["AUSDT", "BUSDT"]
SETTINGS = Settings(fleet=FleetSettings(), venues={"usdm": VenueSettings(market="usdm", symbols=SYMBOLS)})


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is done between a call to Redis and its answer."""
    actions: list[Any] = []
    real = Scripts.run_many

    async def run_many(self: Scripts, name: str, calls: Any) -> list[Any]:
        replies = await real(self, name, calls)
        for action in actions:
            action()
        return replies

    monkeypatch.setattr(Scripts, "run_many", run_many)
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


async def test_a_symbol_lost_while_it_is_taken_is_taken_in_the_next_round(
    client: Redis, interrupted: list[Any]
) -> None:
    async def live(_: str) -> list[str]:
        return ["one"]

    [context] = venue_contexts(SETTINGS)
    process: Any = SimpleNamespace(
        client=client, name="one", settings=SETTINGS, registry=SimpleNamespace(live=live)
    )
    taker = Taker()
    ownership = Ownership(process, "books", [context], taker)
    interrupted.append(lambda: ownership.lost(Claim(context, "AUSDT")))
    await ownership._round()
    assert taker.owned == {"BUSDT"}
    interrupted.clear()
    await ownership._round()
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
    await ownership._round()
    await publish(client, "usdm", context.symbols.rule.text, ["BUSDT", "币USDT"], {"AUSDT": "SETTLING"})
    await ownership._round()
    assert taker.owned == {"BUSDT", "币USDT"}
    assert taker.retired_symbols == ["AUSDT"]
    assert await client.exists(Keys().lease("books", "AUSDT")) == 0
    await ownership._round()
    assert taker.retired_symbols == ["AUSDT"]
