"""The iterators: every record once and in order, whatever is trimmed, lost, repaired, withheld or away meanwhile."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import Any

import pytest
from client_world import KEYS, T0, S, World, take
from redis.asyncio import Redis

from workers.client import BookTop, FleetClient, Gap, Trade, Withheld
from workers.errors import TokenUnusable
from workers.model.trades.latest import Member
from workers.store.keys import Keys


async def test_a_book_begins_with_what_is_shown_and_goes_on_with_each_publication(
    world: World, fleet: FleetClient
):
    await world.own()
    await world.publish(1)
    async with fleet.books([S]) as feed:
        (shown,) = await take(feed, 1)
        assert shown.bids[0].price.decimal - Decimal("100.1") == 0
        assert (str(shown.bids[0].price), str(shown.asks[0].quantity)) == ("100.10", "0.5")
        assert (shown.spread, shown.mid) == (Decimal("0.20"), Decimal("100.20"))
        for u in range(2, 6):
            await world.publish(u)
        assert [record.update_id for record in await take(feed, 4)] == [2, 3, 4, 5]


async def test_many_symbols_of_several_venues_in_one_reading(world: World, fleet: FleetClient):
    spot = Keys("spot:")
    for symbol, keys in ((S, KEYS), ("ETHUSDT", KEYS), (S, spot)):
        await world.own(symbol, keys)
        await world.publish(7, symbol, keys)
    names = [S, "ETHUSDT", f"spot:{S}"]
    async with fleet.books(names) as feed:
        assert sorted(record.symbol for record in await take(feed, 3)) == sorted(names)
        await world.publish(8, S, spot)
        (record,) = await take(feed, 1)
        assert (record.symbol, record.update_id) == (f"spot:{S}", 8)
    assert await fleet.get_symbols() == [S, "ETHUSDT"]
    assert await fleet.get_symbols("spot") == [f"spot:{S}"]


async def test_a_withheld_book_is_told_once_and_ended_by_its_next_top(world: World, fleet: FleetClient):
    await world.own()
    await world.publish(1)
    async with fleet.books([S]) as feed:
        await take(feed, 1)
        await world.withhold("broken", "gap")
        assert await take(feed, 1) == [Withheld(S, "broken", "gap")]
        with pytest.raises(TimeoutError):
            await take(feed, 1, seconds=1.2)
        await world.publish(2)
        (record,) = await take(feed, 1)
        assert isinstance(record, BookTop)


async def test_what_was_published_before_a_book_was_withheld_is_given_before_that_is_said(
    world: World, fleet: FleetClient, monkeypatch: pytest.MonkeyPatch
):
    await world.own()
    await world.publish(1)
    async with fleet.books([S]) as feed:
        await take(feed, 1)
        read_states = feed._states

        async def publish_and_withhold(names: list[str]):
            monkeypatch.setattr(feed, "_states", read_states)
            await world.publish(2)
            await world.withhold("broken", "gap")
            return await read_states(names)

        monkeypatch.setattr(feed, "_states", publish_and_withhold)
        (record,) = await take(feed, 1)
        assert record.update_id == 2
        assert await take(feed, 1) == [Withheld(S, "broken", "gap")]


@pytest.mark.parametrize("kind", ["books", "trades", "raw"])
@pytest.mark.parametrize("is_spoiled_first", [True, False])
async def test_a_key_of_another_type_costs_its_own_symbol(
    real_server: str, monkeypatch: pytest.MonkeyPatch, kind: str, is_spoiled_first: bool
):
    monkeypatch.setattr("workers.client.feed.ASIDE_S", 0.1)
    key = KEYS.book_top("ETHUSDT") if kind == "books" else KEYS.raw("ETHUSDT", "aggTrade")
    world, number = World(Redis.from_url(real_server, protocol=2)), 0
    await world.redis.flushall()  # the server is this test process's own

    async def write(symbol: str) -> None:
        nonlocal number
        number += 1
        if kind == "books":
            await world.own(symbol)
            await world.publish(number, symbol)
        else:
            await world.stream(number, symbol=symbol)

    async def following() -> Any:
        while isinstance(record := (await take(feed, 1))[0], Withheld):
            pass
        return record

    async with FleetClient(real_server) as fleet:
        names = [S, "ETHUSDT"]
        feed: Any = fleet.raw(names, "aggTrade") if kind == "raw" else getattr(fleet, kind)(names)
        if is_spoiled_first:
            await world.redis.set(key, "no stream")
        reading = asyncio.create_task(following())
        await asyncio.sleep(0.1)
        if not is_spoiled_first:
            await write("ETHUSDT")
            assert (await reading).symbol == "ETHUSDT"
            await world.redis.set(key, "no stream")
            reading = asyncio.create_task(following())
        gap = await reading
        assert (gap.symbol, gap.reason) == ("ETHUSDT", "no stream")
        for _ in range(3):
            await write(S)
            assert (await following()).symbol == S
        await world.redis.delete(key)
        await write("ETHUSDT")
        while isinstance(record := await following(), Gap):
            assert record.reason in ("restarted", "ids jump")
        assert record.symbol == "ETHUSDT"
        await feed.aclose()
    await world.redis.aclose()


async def test_a_book_nobody_owns_is_not_to_be_used_though_it_is_shown(world: World, fleet: FleetClient):
    await world.own()
    await world.publish(1)
    async with fleet.books([S]) as feed:
        await take(feed, 1)
        await world.redis.delete(KEYS.lease("books", S))
        (notice,) = await take(feed, 1)
        assert (type(notice), notice.state) == (Withheld, "not owned")
        await world.own()
        (record,) = await take(feed, 1)
        assert record.update_id == 1


async def test_only_the_latest_of_what_came_at_once(world: World, fleet: FleetClient):
    await world.own()
    async with fleet.books([S], latest_only=True, from_ms=T0) as feed:
        for u in range(1, 40):
            await world.publish(u)
        (record,) = await take(feed, 1)
        assert record.update_id == 39


async def test_a_token_goes_on_exactly_where_it_was_taken(world: World, fleet: FleetClient):
    draw = random.Random(5)
    await world.own()
    token, got = None, list[int]()
    async with fleet.books([S], from_ms=T0) as feed:
        token = feed.token
    for _ in range(12):
        for _ in range(draw.randint(0, 5)):
            await world.publish(world.published + 1)
        wanted = draw.randint(0, world.published - len(got))
        async with fleet.books([S], resume=token) as feed:
            got += [record.update_id for record in await take(feed, wanted)]
            token = feed.token
    assert len(got) > 5
    assert got == list(range(1, len(got) + 1))


async def test_what_was_trimmed_before_it_was_read_is_told(world: World, fleet: FleetClient):
    await world.own()
    await world.publish(1)
    async with fleet.books([S], from_ms=T0) as feed:
        await take(feed, 1)
        token = feed.token
        for u in range(2, 30):
            await world.publish(u, kept=10)
        await asyncio.sleep(0.3)
        gap, record = await take(feed, 2)
        assert gap == Gap(S, "books", "trimmed", f"{T0}-1", f"{T0}-20", None)
        assert record.update_id == 20
    async with fleet.books([S], resume=token) as feed:
        assert [type(found) for found in await take(feed, 2)] == [Gap, BookTop]


async def test_what_was_not_trimmed_makes_no_gap(world: World, fleet: FleetClient):
    await world.own()
    await world.publish(1)
    async with fleet.books([S], from_ms=T0) as feed:
        await take(feed, 1)
        for u in range(2, 11):
            await world.publish(u, kept=10)
        await asyncio.sleep(0.3)
        assert [record.update_id for record in await take(feed, 9)] == list(range(2, 11))


async def test_a_stream_that_began_anew_is_read_from_its_beginning(world: World, fleet: FleetClient):
    await world.own()
    await world.publish(100)
    async with fleet.books([S], from_ms=T0) as feed:
        await take(feed, 1)
        await world.redis.delete(KEYS.book_top(S))
        await world.publish(3)
        await asyncio.sleep(0.3)
        gap, record = await take(feed, 2)
        assert (gap.reason, record.update_id) == ("restarted", 3)


async def test_trades_come_in_the_order_of_their_ids(world: World, fleet: FleetClient):
    async with fleet.trades([S], from_ms=T0) as feed:
        await world.stream(*range(10, 20))
        records = await take(feed, 10)
        assert [record.trade_id for record in records] == list(range(10, 20))
        first = records[0]
        assert (str(first.price), str(first.quantity), first.is_buyer_maker) == ("103.50", "0.250", True)
        assert first.position == f"{T0 + 370}-10"


@pytest.mark.parametrize("member", ["json", "packed"])
async def test_a_hole_is_filled_from_what_the_fleet_repaired(
    world: World, fleet: FleetClient, member: Member
):
    async with fleet.trades([S, "ETHUSDT"], from_ms=T0) as feed:
        await world.stream(10, 11, 15, 16)
        await world.fold(10, 11, member=member)
        assert [record.trade_id for record in await take(feed, 2)] == [10, 11]
        await world.stream(50, symbol="ETHUSDT")
        assert [record.symbol for record in await take(feed, 1)] == ["ETHUSDT"]  # others do not wait
        await world.fold(*range(12, 17), member=member)
        records = await take(feed, 5)
        assert [record.trade_id for record in records] == [12, 13, 14, 15, 16]
        texts = [(row.price, row.quantity, row.trade_time) for row in map(world.trade, range(12, 17))]
        assert [
            (str(record.price), str(record.quantity), record.trade_time_ms) for record in records
        ] == texts


async def test_what_nobody_has_any_more_is_a_gap(world: World, fleet: FleetClient):
    async with fleet.trades([S], from_ms=T0) as feed:
        await world.stream(10, 11, 20, 21)
        await world.fold(10, 11, 12)
        await world.accept(13, 17)
        await world.fold(18, 19, 20, 21)
        records = await take(feed, 8)
        assert records[3] == Gap(S, "trades", "ids jump", "13", "17", 5)
        ids = [record.trade_id for record in records if isinstance(record, Trade)]
        assert ids == [10, 11, 12, 18, 19, 20, 21]


@pytest.mark.parametrize("key", [KEYS.trades_latest(S), KEYS.trades_state(S)])
async def test_a_hole_is_given_up_where_a_key_of_another_type_has_what_was_repaired(
    real_server: str, key: str
):
    world = World(Redis.from_url(real_server, protocol=2))
    await world.redis.flushall()  # the server is this test process's own
    async with FleetClient(real_server) as fleet, fleet.trades([S], from_ms=T0, repair_wait_s=0.8) as feed:
        await world.stream(10, 14)
        await world.redis.set(key, "neither set nor hash")
        first, gap, after = await take(feed, 3)
        assert (first.trade_id, after.trade_id) == (10, 14)
        assert (gap.reason, gap.first, gap.last) == ("ids jump", "11", "13")
    await world.redis.aclose()


async def test_a_hole_is_not_waited_for_longer_than_asked(world: World, fleet: FleetClient):
    async with fleet.trades([S], from_ms=T0, repair_wait_s=0.2) as feed:
        await world.stream(10, 13)
        records = await take(feed, 3)
        assert records[1] == Gap(S, "trades", "ids jump", "11", "12", 2)
        assert records[2].trade_id == 13


async def test_trades_from_a_time_older_than_the_stream(world: World, fleet: FleetClient):
    await world.fold(*range(10, 40))
    await world.stream(*range(30, 40))
    async with fleet.trades([S], from_ms=T0 + 37 * 20) as feed:
        assert [record.trade_id for record in await take(feed, 20)] == list(range(20, 40))


async def test_trades_go_on_from_any_token_though_the_stream_lost_entries(world: World, fleet: FleetClient):
    """Stopped at every trade of a tape with holes, each rest is read from what then is left of the stream."""
    numbers = [n for n in range(10, 60) if n % 17 not in (3, 4, 5)]
    await world.stream(*numbers)
    await world.fold(*range(10, 60))
    tokens = {}
    async with fleet.trades([S], from_ms=T0) as feed:
        for _ in range(50):
            (record,) = await take(feed, 1)
            tokens[record.trade_id] = feed.token
    assert list(tokens) == list(range(10, 60))
    await world.redis.xtrim(KEYS.raw(S, "aggTrade"), maxlen=20, approximate=False)
    for last, token in list(tokens.items())[:-1:4]:
        async with fleet.trades([S], resume=token) as feed:
            found = await take(feed, 59 - last)
            assert [record.trade_id for record in found] == list(range(last + 1, 60))


async def test_large_holes_are_read_page_by_page(
    world: World, fleet: FleetClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workers.store.log.ranges.PAGE", 7)
    monkeypatch.setattr("workers.client.trades.OUT_OF_ORDER", 5)
    await world.stream(10)
    await world.fold(*range(10, 301))
    async with fleet.trades([S], from_ms=T0) as feed:
        await world.stream(300)
        assert [record.trade_id for record in await take(feed, 291)] == list(range(10, 301))


async def test_what_is_no_trade_is_told_and_passed_over(world: World, fleet: FleetClient):
    async with fleet.trades([S], from_ms=T0) as feed:
        await world.stream(10)
        await world.redis.xadd(KEYS.raw(S, "aggTrade"), {"data": "{}"}, id=f"{T0 + 370}-11")
        await world.stream(11)
        first, gap, second = await take(feed, 3)
        assert (first.trade_id, gap.reason, second.trade_id) == (10, "undecodable", 11)


async def test_bars_and_their_revisions(world: World, fleet: FleetClient):
    async with fleet.bars([S], "100ms", from_ms=T0) as feed:
        await world.fold(*range(10, 40))
        records = await take(feed, 5)
        starts = [record.start_ms for record in records]
        assert starts == sorted(starts)
        first = records[1]
        assert first.last_agg_trade_id - first.first_agg_trade_id + 1 == first.trades_count
        assert first.vwap == first.quote_volume.decimal / first.volume.decimal
        assert (first.interval, first.complete, first.closed, first.revision) == ("100ms", True, True, 0)
        assert (records[0].complete, records[0].reason, first.reason) == (False, "began", "")
        token = feed.token
    async with fleet.bars([S], "100ms", resume=token) as feed:
        assert (await take(feed, 1))[0].start_ms > starts[-1]


@pytest.mark.parametrize(
    "token",
    ["", "{", '{"version":9,"channel":"trades","places":{}}', '{"version":1,"channel":"books","places":{}}',
     '{"version":1,"channel":"trades","places":{"BTCUSDT":["x",1,1]}}'],
)  # fmt: skip
async def test_a_token_that_is_none_of_ours_is_refused(fleet: FleetClient, token: str):
    if token:
        with pytest.raises(TokenUnusable):
            fleet.trades([S], resume=token)


async def test_an_interval_that_is_none_is_refused(fleet: FleetClient):
    with pytest.raises(ValueError, match="2m"):
        fleet.bars([S], "2m")


async def test_a_reading_that_is_closed_ends(world: World, fleet: FleetClient):
    feed = fleet.trades([S])
    waiting = asyncio.create_task(anext(feed, None))
    await asyncio.sleep(0.1)
    await feed.aclose()
    async with asyncio.timeout(60):
        assert await waiting is None


@pytest.mark.parametrize(
    "rubbish", [b'{"s":"\xff"}', b"[" * 5_000, World(None).payload(11).replace(b"100.10", b"none")]
)
async def test_what_is_no_book_is_told_and_passed_over(world: World, fleet: FleetClient, rubbish: bytes):
    await world.own()
    async with fleet.books([S], from_ms=T0) as feed:
        await world.publish(10)
        await world.redis.xadd(KEYS.book_top(S), {"data": rubbish}, id=f"{T0}-11")
        await world.publish(12)
        first, gap, second = await take(feed, 3)
        assert (first.update_id, gap.reason, second.update_id) == (10, "undecodable", 12)
    await world.redis.hset(KEYS.live_orderbook, S, rubbish)
    async with fleet.books([S]) as feed:
        [gap] = await take(feed, 1)
        assert gap.reason == "undecodable"
        await fleet.books([S], resume=feed.token).aclose()  # it stands where it began
