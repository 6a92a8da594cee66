"""A stream that dies alone on both lines: noticed, withheld where it matters, subscribed anew, and repaired."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from in_process import KEYS, Fleet, fleet_of

from workers.sim.engine.faults import Fault
from workers.store.keys import resubscriptions

DEAD = "SOLUSDT"
SYMBOLS = ["BTCUSDT", DEAD]


def strike(fleet: Fleet, stream: str) -> None:
    """Every subscription of a stream that is there now brings nothing more."""
    fleet.exchange.exchange.set_fault(Fault.parse(f"mute symbol={DEAD} stream={stream}"))
    fleet.exchange.step()


async def started(fleet: Fleet, **ingest: Any) -> None:
    fleet.settings.ingest = msgspec.structs.replace(fleet.settings.ingest, **ingest)
    for role in ("ingest-a", "ingest-b", "keeper", "books", "trades"):
        fleet.start(role, role)
    await fleet.until(fleet.all_shown)


async def test_a_dead_depth_stream_withholds_its_book_and_is_revived(real_server: str) -> None:
    async with fleet_of(real_server, symbols=SYMBOLS) as fleet:
        await started(fleet, stream_silence_s=1000)  # the lines themselves notice nothing
        await asyncio.sleep(1)
        # subscribed anew it brings nothing yet, so that the moment in which it is withheld lasts until it was seen
        silent = fleet.exchange.exchange.set_fault(Fault.parse(f"silence symbol={DEAD} stream=*@depth*"))
        strike(fleet, "*@depth*")

        async def withheld() -> bool:
            status = await fleet.client.hgetall(KEYS.book_status(DEAD))
            shown = await fleet.client.hexists("LIVE_ORDERBOOK", DEAD)
            return not shown and (status[b"state"], status[b"reason"]) == (b"stale", b"stream dead")

        await fleet.until(withheld)
        fleet.exchange.exchange.remove_faults(silent.number)
        assert await fleet.client.hexists("LIVE_ORDERBOOK", "BTCUSDT")
        await fleet.until(fleet.all_shown)
        await fleet.check_books()
        asked = await fleet.client.xrange(resubscriptions("usdm"))
        assert {(fields[b"symbol"], fields[b"channel"]) for _, fields in asked} == {(DEAD.encode(), b"depth")}
        status = await fleet.client.hgetall(KEYS.book_status("BTCUSDT"))
        assert status[b"gap_count"] == b"0"


async def test_a_dead_trade_stream_is_found_by_rest_and_repaired(real_server: str) -> None:
    async with fleet_of(real_server, symbols=SYMBOLS) as fleet:
        fleet.settings.keeper = msgspec.structs.replace(fleet.settings.keeper, trades_silence_s=3)
        await started(fleet, stream_silence_s=1000)
        await asyncio.sleep(3)
        strike(fleet, "*@aggTrade")

        async def asked() -> bool:
            return await fleet.client.xlen(resubscriptions("usdm")) > 0

        await fleet.until(asked, 120)
        [(_, fields), *_] = await fleet.client.xrange(resubscriptions("usdm"))
        assert (fields[b"symbol"], fields[b"channel"]) == (DEAD.encode(), b"aggTrade")
        await fleet.passed(*SYMBOLS)
        await fleet.check_trades()


async def test_a_line_notices_by_itself_what_fell_silent(real_server: str) -> None:
    async with fleet_of(real_server, symbols=SYMBOLS) as fleet:
        fleet.settings.keeper = msgspec.structs.replace(fleet.settings.keeper, trades_silence_s=0)
        await started(fleet, stream_silence_s=2)
        await asyncio.sleep(3)
        strike(fleet, "*@aggTrade")
        await asyncio.sleep(1)
        await fleet.passed(*SYMBOLS)
        await fleet.check_trades()
        assert await fleet.client.xlen(resubscriptions("usdm")) == 0
