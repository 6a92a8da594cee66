"""Pages of the latest set: complete, in order, whatever shares a millisecond or came late."""

from __future__ import annotations

import random

import msgspec
import pytest
from redis.asyncio import Redis

from workers.model.events import Trade
from workers.model.trades.latest import MEMBERS, Member
from workers.store.keys import Keys
from workers.store.trades import latest as latest_trades
from workers.store.trades.latest import LatestTrades

KEYS = Keys()


def trades_of(seed: int, count: int) -> list[Trade]:
    """Trades with many of one ms, and some whose time went back."""
    chance, time_ms, made = random.Random(seed), 1_700_000_000_000, []
    for number in range(count):
        time_ms += chance.choice([0, 0, 0, 1, 7])
        late = chance.randrange(1, 20) if chance.random() < 0.05 else 0
        made.append(Trade("S", 1000 + number, "1.50", "2", 9, 9, time_ms - late, time_ms, number % 2 == 0))
    return made


async def fill(client: Redis, trades: list[Trade], member: Member) -> list[tuple[int, int]]:
    """Store them; their (time, id) in order."""
    scores = {MEMBERS[member](trade, "aggTrade"): trade.trade_time for trade in trades}
    await client.delete(KEYS.trades_latest("S"))
    await client.zadd(KEYS.trades_latest("S"), scores)  # type: ignore[arg-type]
    return sorted((trade.trade_time, trade.trade_id) for trade in trades)


@pytest.mark.parametrize("member", list(MEMBERS))
@pytest.mark.parametrize("page", [2, 10, 1000])
async def test_pages_follow_each_other_without_a_hole(
    client: Redis, monkeypatch: pytest.MonkeyPatch, page: int, member: Member
) -> None:
    monkeypatch.setattr(latest_trades, "PAGE", page)
    order = await fill(client, trades_of(page, 120), member)
    reader = LatestTrades(client, KEYS)
    end = order[-1][0] + 1
    for limit in (1, 7, 50):
        found, after = [], None
        while rows := await reader.between("S", 0, end, limit, after):
            found += [(row.trade_time, row.agg_trade_id) for row in rows]
            after = rows[-1].agg_trade_id
        assert found == order
    newest = await reader.newest("S", 25)
    assert [(row.trade_time, row.agg_trade_id) for row in newest] == order[-25:]
    for before in {time for time, _ in order[10:40]}:
        older = await reader.newest("S", 7, before)
        expected = [place for place in order if place[0] < before][-7:]
        assert [(row.trade_time, row.agg_trade_id) for row in older] == expected


async def test_a_range_of_time_is_cut_exactly(client: Redis) -> None:
    order = await fill(client, trades_of(3, 100), "json")
    reader = LatestTrades(client, KEYS)
    begin, end = order[20][0], order[70][0]
    rows = await reader.between("S", begin, end, 1000)
    assert [row.agg_trade_id for row in rows] == [number for time, number in order if begin <= time < end]
    assert await reader.between("S", end, end, 10) == []


async def test_after_an_id_no_longer_held_the_next_one_comes(client: Redis) -> None:
    trades = [Trade("S", number, "1", "1", 1, 1, 10**12 + number, 10**12, True) for number in range(10, 60)]
    await fill(client, trades[20:], "json")
    reader = LatestTrades(client, KEYS)
    rows = await reader.between("S", 0, 10**13, 5, after_id=15)
    assert [row.agg_trade_id for row in rows] == [30, 31, 32, 33, 34]
    assert await reader.between("S", 0, 10**13, 5, after_id=59) == []
    assert await LatestTrades(client, KEYS).newest("NONE", 5) == []


@pytest.mark.parametrize("page", [2, 1000])
async def test_pages_go_on_over_ids_that_began_anew(
    client: Redis, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(latest_trades, "PAGE", page)
    monkeypatch.setattr(latest_trades, "NEAR", 8)
    monkeypatch.setattr(latest_trades, "FARTHEST", 8)
    old = trades_of(page, 120)
    new = [
        msgspec.structs.replace(one, trade_id=one.trade_id - 900, trade_time=one.trade_time + 60_000)
        for one in trades_of(page + 1, 80)
    ]
    order = await fill(client, old + new, "json")
    await client.hset(KEYS.trades_state("S"), "ids_after", max(one.trade_time for one in old))
    reader = LatestTrades(client, KEYS)
    found, after = [], None
    while rows := await reader.between("S", 0, 10**14, 7, after):
        found += [(row.trade_time, row.agg_trade_id) for row in rows]
        after = rows[-1].agg_trade_id
        assert len(found) <= len(order)
    assert found == order
    assert [row.agg_trade_id for row in await reader.between("S", 0, 10**14, 2, 99)] == [
        number for _, number in order[:2]
    ]
    assert await reader.between("S", 0, 10**14, 2, 179) == []
