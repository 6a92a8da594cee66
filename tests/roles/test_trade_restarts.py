"""An exchange that begins its trade ids anew, lower: the trades go on, exactly once, and it is told."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from in_process import KEYS, Fleet, fleet_of, settle
from prometheus_client import REGISTRY
from test_trades_repair import fault, no_faults, state, trades_flow

from workers.model.trades.latest import decode_member
from workers.trades.worker import TradeWorker

S = "BTCUSDT"
ANEW = f"trade_ids market=usdm symbol={S} value=1000"


def quick_to_follow(fleet: Fleet) -> None:
    ingest = msgspec.structs.replace(fleet.settings.ingest, id_reset_ms=2_000)
    fleet.settings = msgspec.structs.replace(fleet.settings, ingest=ingest)


async def restarted(fleet: Fleet) -> bool:
    return (await state(fleet, S)).ids_since > 0


async def beyond(fleet: Fleet, trade_id: int) -> bool:
    found = await state(fleet, S)
    return found.ids_since > 0 and found.last_id >= trade_id


async def check_every_trade(fleet: Fleet) -> None:
    """Of both numberings nothing is missing from the first held trade on, and nothing is there twice."""
    rows = await fleet.client.zrange(KEYS.trades_latest(S), 0, -1, withscores=True)
    held = [(int(score), decode_member(member, S, int(score)).agg_trade_id) for member, score in rows]
    truth = [(row["T"], row["a"]) for row in (await fleet.truth("trades", S))["trades"]]
    assert max(Counter(number for _, number in held).values()) == 1
    assert min(number for _, number in held) == 1000
    first = min(number for _, number in held if number > 100_000)
    numbers = [number for _, number in truth]
    wanted = truth[numbers.index(first) :]
    assert sorted(held) == sorted(wanted)


async def test_the_trades_of_a_restarted_exchange_are_all_there(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        quick_to_follow(fleet)
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, S, 50)
        await fault(fleet, ANEW)
        await fleet.until(lambda: beyond(fleet, 1080), 90)
        await settle(fleet)
        await check_every_trade(fleet)
        gaps = [gap for _, gap in await fleet.client.xrange(KEYS.gaps(S))]
        assert [gap[b"to"] for gap in gaps if gap[b"reason"] == b"ids restarted"] == [b"999"]
        stats = await fleet.client.hgetall(KEYS.stats(S, "1d"))
        assert (stats[b"complete"], stats[b"last_agg_trade_id"]) == (
            b"0",
            b"%d" % (await state(fleet, S)).last_id,
        )
        assert (await state(fleet, S)).missing == 0
        restarts = REGISTRY.get_sample_value("fleet_trade_ids_restarted_total", {"venue": "usdm"})
        assert restarts is not None
        assert restarts >= 1


async def test_what_is_not_confirmed_yet_is_told_and_the_next_owner_finds_it(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        quick_to_follow(fleet)
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, S, 50)
        await fault(fleet, "rest_status path=*aggTrades* value=500")
        await fault(fleet, ANEW)

        async def told() -> bool:
            reason = await fleet.client.hget(KEYS.trades_status(S), "reason")
            return b"begun anew" in (reason or b"")

        await fleet.until(told, 90)
        before = await state(fleet, S)
        await fleet.crash("trades-1")
        fleet.start("trades", "trades-2")
        await fleet.until(lambda: _owned_by(fleet, "trades-2"))
        assert (await state(fleet, S)).last_id == before.last_id
        assert not await restarted(fleet)
        await no_faults(fleet)
        await fleet.until(lambda: beyond(fleet, 1080), 90)
        await settle(fleet)
        await check_every_trade(fleet)


async def _nothing_waits(fleet: Fleet, name: str) -> bool:
    worker = fleet.workers[name]
    assert isinstance(worker, TradeWorker)
    return worker.settled


async def _owned_by(fleet: Fleet, name: str) -> bool:
    return await fleet.owner("trades", S) == name


@pytest.mark.parametrize("again", ["crash", "stop"])
async def test_a_takeover_after_the_restart_takes_nothing_twice(real_server: str, again: str) -> None:
    async with fleet_of(real_server) as fleet:
        quick_to_follow(fleet)
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, S, 50)
        await fault(fleet, ANEW)
        await fleet.until(lambda: restarted(fleet), 90)
        await (fleet.crash if again == "crash" else fleet.stop)("trades-1")
        # as if nothing that the last owner read had been acknowledged
        await fleet.client.xgroup_setid(KEYS.raw(S, "aggTrade"), "trades", "0")
        fleet.start("trades", "trades-2")
        last_id = (await state(fleet, S)).last_id
        await fleet.until(lambda: beyond(fleet, last_id + 40), 90)
        await settle(fleet)
        await fleet.until(lambda: _nothing_waits(fleet, "trades-2"))
        await check_every_trade(fleet)
        gaps = [gap for _, gap in await fleet.client.xrange(KEYS.gaps(S))]
        assert [gap[b"reason"] for gap in gaps].count(b"ids restarted") == 1
