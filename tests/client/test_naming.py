"""Names of symbols: one spelling rule, the first venue named or not, and unknown ones told with what is near."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client_world import S, World, take

from workers.client import FleetClient, InvalidSymbol, UnknownSymbol, UnknownVenue
from workers.store.fleet.followed import publish

NAMES = [S, S.lower(), f"usdm:{S}", f"USDM:{S.lower()}", f" {S} "]


@pytest.fixture
async def keeper(world: World) -> None:
    """What the keeper publishes of two venues."""
    venues = ["usdm", "spot"]
    await publish(world.redis, "usdm", "", [S, "ETHUSDT", "NOPEUSDT"], {}, {"NOPEUSDT": ["PEPEUSDT"]}, venues)
    await publish(world.redis, "spot", "", ["BNBBTC"], {}, {}, venues)


@pytest.mark.usefixtures("keeper")
@pytest.mark.parametrize("name", NAMES)
async def test_every_spelling_is_the_same_symbol(world: World, fleet: FleetClient, name: str):
    await world.stream(*range(10, 14))
    await world.fold(*range(10, 14))
    assert [trade.trade_id for trade in await fleet.get_trades(name)] == [10, 11, 12, 13]
    async with fleet.trades([name], from_ms=0) as feed:
        records = await take(feed, 2)
        token = feed.token
    assert [(record.symbol, record.trade_id) for record in records] == [(S, 10), (S, 11)]
    async with fleet.trades([S], resume=token) as feed:
        assert [record.trade_id for record in await take(feed, 2)] == [12, 13]


@pytest.mark.usefixtures("keeper")
async def test_a_venue_is_named_in_any_case(world: World, fleet: FleetClient):
    await world.publish(12)
    assert await fleet.get_symbols() == await fleet.get_symbols("USDM") == [S]
    assert await fleet.get_symbols("spot") == []
    with pytest.raises(UnknownVenue, match="usdm, spot"):
        await fleet.get_symbols("kraken")


Ask = Callable[[FleetClient, str], Any]
QUESTIONS: list[Ask] = [
    lambda fleet, name: fleet.get_top(name),
    lambda fleet, name: fleet.get_book(name),
    lambda fleet, name: fleet.get_book(name, at=1_790_000_000),
    lambda fleet, name: fleet.get_trades(name),
    lambda fleet, name: fleet.get_bars(name),
    lambda fleet, name: fleet.get_history(name),
    lambda fleet, name: fleet.get_quantities(name, "1", 1, 2),
    lambda fleet, name: anext(fleet.books([name])),
    lambda fleet, name: anext(fleet.trades([name])),
    lambda fleet, name: anext(fleet.bars([name])),
]


@pytest.mark.usefixtures("keeper")
@pytest.mark.parametrize("ask", QUESTIONS)
async def test_no_question_is_answered_for_what_is_not_there(fleet: FleetClient, ask: Ask):
    with pytest.raises(UnknownSymbol, match="ETHUSD is not followed at usdm; the nearest names: ETHUSDT"):
        await ask(fleet, "ethusd")
    with pytest.raises(UnknownSymbol, match="does not list NOPEUSDT; the nearest names: PEPEUSDT"):
        await ask(fleet, "usdm:nopeusdt")
    with pytest.raises(UnknownVenue, match="Did you mean 'spot'"):
        await ask(fleet, "sopt:BNBBTC")
    with pytest.raises(InvalidSymbol):
        await ask(fleet, "BTC/USDT")


async def test_what_is_held_of_a_symbol_given_up_can_be_read(world: World, fleet: FleetClient):
    await publish(world.redis, "usdm", "", ["ETHUSDT"], {}, {}, ["usdm"])
    await world.fold(*range(10, 14))
    assert len(await fleet.get_trades(S)) == 4


@pytest.mark.parametrize("rubbish", [b"{}", b"[1]", b"\xff"])
async def test_rubbish_in_the_list_of_venues_is_no_list(world: World, fleet: FleetClient, rubbish: bytes):
    await world.redis.set("fleet:venues", rubbish)
    await world.fold(*range(10, 14))
    assert len(await fleet.get_trades(S.lower())) == 4
    await world.redis.delete("fleet:venues")
    await world.redis.sadd("fleet:venues", 1)
    assert len(await fleet.get_trades(f"{S}")) == 4
