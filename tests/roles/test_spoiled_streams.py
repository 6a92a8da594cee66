"""Ids of a far future in streams, and groups set there: whoever reads must notice, say so and go on after the cure."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from in_process import KEYS, SYMBOLS, Fleet, fleet_of, settle
from structlog.testing import capture_logs

from workers.store.fleet.resubscriptions import PACE_MS, ResubscriptionReader, ask_anew
from workers.store.keys import resubscription_asked, resubscriptions
from workers.store.log.tickers import TickerReader

VICTIM, *OTHERS = SYMBOLS
ROLES = (("ingest-a", "a"), ("keeper", "k"), ("books", "books-1"), ("trades", "trades-1"))
FAR = "99999999999999-5"
LAST = f"{2**64 - 1}-{2**64 - 1}"


async def started(fleet: Fleet) -> None:
    for role, name in ROLES:
        fleet.start(role, name)
    await fleet.until(fleet.all_shown)
    await fleet.passed(*SYMBOLS)


async def right_in_the_end(fleet: Fleet) -> None:
    await fleet.until(fleet.all_shown)
    await fleet.passed(*SYMBOLS)
    await settle(fleet)
    await fleet.check_books()
    for name, task in fleet.tasks.items():
        assert not task.done(), name


@pytest.mark.parametrize("far", [FAR, LAST])
async def test_an_id_of_a_far_future_is_told_and_costs_its_symbol_alone(real_server: str, far: str) -> None:
    depth, trades = KEYS.raw(VICTIM, "depth"), KEYS.raw(VICTIM, "aggTrade")
    async with fleet_of(real_server) as fleet:
        await started(fleet)
        for key in (depth, trades):
            await fleet.client.xadd(key, {"data": "{}", "received": "1"}, id=far)

        async def told() -> bool:
            book = await fleet.client.hgetall(KEYS.book_status(VICTIM))
            folded = await fleet.client.hgetall(KEYS.trades_status(VICTIM))
            return (book[b"state"], folded.get(b"state")) == (b"unreadable", b"unreadable")

        await fleet.until(told)
        for key, status in ((depth, KEYS.book_status(VICTIM)), (trades, KEYS.trades_status(VICTIM))):
            reason = await fleet.client.hget(status, "reason")
            assert reason is not None
            assert reason.decode() == (
                f"{key}: an id in it is of a far future, so that nothing can be filed after it (cure: DEL {key})"
            )
        assert await fleet.client.hget("LIVE_ORDERBOOK", VICTIM) is None
        length = await fleet.client.xlen(depth)
        await fleet.passed(*OTHERS)
        assert await fleet.client.xlen(depth) == length  # nothing piles up under that one ms
        await fleet.client.delete(depth, trades)  # the cure that is told
        await right_in_the_end(fleet)


async def test_groups_that_stand_beyond_the_end_are_set_back(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        await started(fleet)
        await fleet.client.xgroup_setid(KEYS.raw(VICTIM, "depth"), "books", FAR)
        await fleet.client.xgroup_setid(KEYS.raw(VICTIM, "aggTrade"), "trades", FAR)
        await right_in_the_end(fleet)
        await fleet.check_trades()


async def test_streams_to_resubscribe_go_on_whatever_was_done_to_them(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.store.fleet.resubscriptions.RECHECK_S", 0.0)
    usdm, spot = resubscriptions("usdm"), resubscriptions("spot")
    reader = ResubscriptionReader(client, ["usdm", "spot"])
    assert await reader.new() == {}
    await client.xadd(usdm, {"symbol": "A", "channel": "depth"}, id=LAST)
    await reader.new()
    await client.set(spot, b"\xff")  # of another type
    assert await ask_anew(client, "usdm", "B", "depth", "test")  # there is no id left
    assert await ask_anew(client, "spot", "C", "depth", "test")
    assert await reader.new() == {"usdm": [("depth", "B", "")], "spot": [("depth", "C", "")]}
    await client.delete(spot)
    await client.set(spot, "x")
    await ask_anew(client, "usdm", "D", "depth", "test")
    assert await reader.new() == {
        "usdm": [("depth", "D", "")]
    }  # the one that cannot be read costs the other nothing


@pytest.mark.parametrize("expiry_ms", [None, 10**9])
async def test_a_mark_that_somebody_asked_runs_out_whoever_set_it(client: Any, expiry_ms: int | None) -> None:
    key = resubscription_asked("usdm", "A", "depth")
    await client.set(key, "x", px=expiry_ms)
    assert not await ask_anew(client, "usdm", "A", "depth", "test")
    assert 0 < await client.pttl(key) <= PACE_MS


async def test_a_ticker_stream_made_anew_is_read_on(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.store.log.tickers.RECHECK_S", 0.0)
    key = KEYS.raw("A", "bookTicker")
    reader = TickerReader(client)
    await client.xadd(key, {"data": "{}", "received": "1"}, id=FAR)
    assert await reader.new([key], 10) == {}
    await client.delete(key)
    await reader.new([key], 10)
    await client.xadd(key, {"data": "{}", "received": "1"}, id="1795855380000-7")
    assert list(await reader.new([key], 10)) == [key]


async def test_a_stream_without_ids_left_costs_the_other_books_nothing(real_server: str) -> None:
    full = [KEYS.book_top(VICTIM), KEYS.raw_snapshot(VICTIM), KEYS.gaps(VICTIM), KEYS.audit(VICTIM)]
    async with fleet_of(real_server) as fleet:
        await started(fleet)
        for key in full:
            await fleet.client.xadd(key, {"data": "{}"}, id=LAST)
        before = {other: await fleet.client.get(KEYS.book_checkpoint(other)) for other in SYMBOLS}

        async def committed() -> bool:  # which comes after publishing in each round
            return all([await fleet.client.get(KEYS.book_checkpoint(one)) != before[one] for one in SYMBOLS])

        await fleet.until(committed)
        assert fleet.workers["books-1"].quarantine.reason(
            fleet.workers["books-1"].books[KEYS.raw(VICTIM, "depth")].claim.context, VICTIM, "publish"
        ) == "; ".join(
            f"{key}: an id in it is of a far future, so that nothing can be filed after it (cure: DEL {key})"
            for key in (KEYS.raw_snapshot(VICTIM), KEYS.book_top(VICTIM), KEYS.gaps(VICTIM))
        )
        await fleet.client.delete(*full)
        await right_in_the_end(fleet)


async def test_a_hole_that_cannot_be_recorded_is_not_asked_for_without_pause(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.settings.trades.repair_attempts = 1
        await started(fleet)
        await fleet.client.rpush(KEYS.gaps(VICTIM), "x")
        async with aiohttp.ClientSession() as session:
            for text in (
                "rest_status path=*aggTrades* value=400",
                f"lose stream=*@aggTrade symbol={VICTIM} count=3",
            ):
                async with session.post(
                    f"{fleet.exchange.url}/control/faults", json={"fault": text}
                ) as response:
                    assert response.status == 200

        async def told() -> bool:
            return await fleet.client.hget(KEYS.trades_status(VICTIM), "state") == b"unreadable"

        with capture_logs() as logs:
            await fleet.until(told)
            reason = await fleet.client.hget(KEYS.trades_status(VICTIM), "reason")
            assert (
                reason
                == f"{KEYS.gaps(VICTIM)}: it is a list, not a stream (cure: DEL {KEYS.gaps(VICTIM)})".encode()
            )
            await asyncio.sleep(8)
        holes = [entry for entry in logs if entry["event"] == "trade_hole"]
        assert len(holes) <= 7  # after pauses of half a second, one, two, four
        await fleet.client.delete(KEYS.gaps(VICTIM))
        await fleet.passed(VICTIM)

        async def told_no_more() -> bool:
            return await fleet.client.exists(KEYS.trades_status(VICTIM)) == 0

        await fleet.until(told_no_more)
