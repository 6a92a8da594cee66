"""Holes in the trades: filled over REST while everybody else goes on, or told where they cannot be."""

from __future__ import annotations

import aiohttp
from in_process import KEYS, Fleet, fleet_of, settle
from prometheus_client import REGISTRY

from workers.store.scripts import Scripts
from workers.store.trades.fold import TradesState, TradeStore


def figure(name: str) -> float | None:
    labels = {"venue": "usdm", "symbol": "BTCUSDT"}
    return REGISTRY.get_sample_value(f"fleet_symbol_trades_{name}_total", labels)


async def fault(fleet: Fleet, text: str) -> None:
    url = f"{fleet.exchange.url}/control/faults"
    async with aiohttp.ClientSession() as session, session.post(url, json={"fault": text}) as response:
        assert response.status == 200, await response.text()


async def no_faults(fleet: Fleet) -> None:
    """Take all faults back."""
    async with (
        aiohttp.ClientSession() as session,
        session.delete(f"{fleet.exchange.url}/control/faults") as done,
    ):
        assert done.status == 200


async def state(fleet: Fleet, symbol: str) -> TradesState:
    store = TradeStore(fleet.client, KEYS, Scripts(fleet.client), retention_ms=0, bar_retention={})
    return await store.state(symbol)


async def trades_flow(fleet: Fleet, symbol: str, at_least: int) -> None:
    async def enough() -> bool:
        return (await state(fleet, symbol)).applied >= at_least

    await fleet.until(enough)


async def test_trades_no_line_had_are_filled_in_and_nothing_is_missing(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, "BTCUSDT", 20)
        await fault(fleet, "lose stream=*@aggTrade symbol=BTCUSDT share=0.2 for_s=3")
        await trades_flow(fleet, "BTCUSDT", 150)
        await no_faults(fleet)
        await fleet.passed("BTCUSDT")
        await settle(fleet)
        await fleet.check_trades()
        gaps = await fleet.client.xrange(KEYS.gaps("BTCUSDT"))
        assert gaps
        assert all(gap[b"repaired"].endswith(b"over REST") for _, gap in gaps)
        assert (await state(fleet, "BTCUSDT")).missing == 0
        assert await fleet.client.exists(KEYS.gaps("SOLUSDT")) == 0
        assert figure("repaired") == sum(int(gap[b"repaired"].split()[0]) for _, gap in gaps)
        assert figure("missing") == 0
        seen = figure("seen")
        assert seen is not None
        assert seen >= (await state(fleet, "BTCUSDT")).applied
        await fleet.stop("trades-1")
        assert figure("seen") is None


async def test_a_line_cut_off_for_a_while_leaves_no_hole(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, "BTCUSDT", 20)
        await fleet.stop("a")
        before = (await state(fleet, "BTCUSDT")).last_id
        await fleet.until(lambda: more_trades(fleet, before + 60))
        fleet.start("ingest-a", "a-again")
        await trades_flow(fleet, "BTCUSDT", 120)
        await fleet.passed(*fleet.symbols)
        await settle(fleet)
        await fleet.check_trades()


async def more_trades(fleet: Fleet, beyond: int) -> bool:
    query = {"market": "usdm", "symbol": "BTCUSDT"}
    url = f"{fleet.exchange.url}/control/truth/trades"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        return int((await response.json())["next_id"]) > beyond


async def test_what_the_exchange_does_not_give_is_missing_told_and_the_fold_goes_on(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, "BTCUSDT", 20)
        await fault(fleet, "rest_status path=*aggTrades* value=400")
        await fault(fleet, "lose stream=*@aggTrade symbol=BTCUSDT share=0.3 for_s=2")
        await trades_flow(fleet, "BTCUSDT", 150)
        await fleet.passed("BTCUSDT")
        await settle(fleet)
        told = [gap for _, gap in await fleet.client.xrange(KEYS.gaps("BTCUSDT"))]
        missing = sum(int(gap[b"to"]) - int(gap[b"from"]) + 1 for gap in told)
        found = await state(fleet, "BTCUSDT")
        assert missing > 0
        assert found.missing == missing
        assert {gap[b"repaired"] for gap in told} == {b"no"}
        latest = await fleet.client.hgetall(KEYS.stats("BTCUSDT", "1d"))
        assert latest[b"complete"] == b"0"


async def test_others_go_on_while_a_hole_is_being_filled(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, "BTCUSDT", 20)
        await trades_flow(fleet, "SOLUSDT", 5)
        fleet.settings.trades.repair_timeout_s = 6  # so long the hole stands
        await fault(fleet, "rest_slow path=*aggTrades* value=20 count=1")
        await fault(fleet, "lose stream=*@aggTrade symbol=BTCUSDT share=1 for_s=1")

        async def hole() -> bool:
            return (await state(fleet, "BTCUSDT")).hole_next_id > 0

        await fleet.until(hole)
        standing = (await state(fleet, "BTCUSDT")).last_id
        await trades_flow(fleet, "SOLUSDT", (await state(fleet, "SOLUSDT")).applied + 5)
        assert (await state(fleet, "BTCUSDT")).last_id == standing
        await trades_flow(fleet, "BTCUSDT", 60)
        await fleet.passed("BTCUSDT")
        await settle(fleet)
        await fleet.check_trades()
        assert (await state(fleet, "BTCUSDT")).missing == 0


async def test_trades_that_are_late_on_both_lines_are_not_asked_for(real_server: str) -> None:
    """With the usual settings: 10 % of them come 300 ms late."""
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("ingest-b", "b")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, "BTCUSDT", 20)
        await fault(fleet, "delay stream=*@aggTrade symbol=BTCUSDT share=0.1 value=300")
        await trades_flow(fleet, "BTCUSDT", 250)
        await no_faults(fleet)
        await fleet.passed("BTCUSDT")
        await settle(fleet)
        await fleet.check_trades()
        assert (await state(fleet, "BTCUSDT")).missing == 0
        assert await fleet.client.xlen(KEYS.gaps("BTCUSDT")) <= 2, "a busy machine may be late itself"


async def test_a_refusal_that_passes_costs_no_trade_and_holds_nobody_else_up(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.settings.trades.repair_for_s = 120
        fleet.start("ingest-a", "a")
        fleet.start("trades", "trades-1")
        await trades_flow(fleet, "BTCUSDT", 20)
        await fault(fleet, "rest_status path=*/aggTrades symbol=BTCUSDT value=404")
        await fault(fleet, "lose stream=*@aggTrade symbol=BTCUSDT count=5")

        async def told() -> bool:
            status = await fleet.client.hgetall(KEYS.trades_status("BTCUSDT"))
            return status.get(b"state") == b"repairing" and b"404" in status[b"reason"]

        await fleet.until(told)
        before = (await state(fleet, "SOLUSDT")).applied
        await trades_flow(fleet, "SOLUSDT", before + 5)
        await no_faults(fleet)
        await fleet.passed("BTCUSDT")
        await settle(fleet)
        await fleet.check_trades()
        assert (await state(fleet, "BTCUSDT")).missing == 0

        async def over() -> bool:
            return not await fleet.client.exists(KEYS.trades_status("BTCUSDT"))

        await fleet.until(over)
