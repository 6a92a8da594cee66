"""Channels that the settings ask for by name, over two lines and a real exchange: each message once."""

from __future__ import annotations

import json
from typing import Any

from in_process import KEYS, Fleet, fleet_of, settle

from workers.client import FleetClient, Gap, RawMessage

CHANNELS = ["trade", "!contractInfo", "depth5@100ms"]
REFUSED = "depth5@100ms"


async def trades_of(fleet: Fleet, symbol: str) -> list[dict[str, Any]]:
    entries = await fleet.client.xrange(KEYS.raw(symbol, "trade"))
    return [json.loads(fields[b"data"]) for _, fields in entries]


async def test_every_message_once_over_two_lines_and_a_refusal_at_its_own_cost(real_server: str) -> None:
    faults = ("refuse_stream stream=*@depth5@100ms",)
    async with fleet_of(real_server, venue={"channels": CHANNELS}, faults=faults) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("ingest-b", "b")
        fleet.start("books", "books-1")

        async def both_have_brought() -> bool:
            for symbol in fleet.symbols:
                lines = {
                    fields[b"line"] for _, fields in await fleet.client.xrange(KEYS.raw(symbol, "trade"))
                }
                if not lines or await fleet.client.xlen(KEYS.raw(symbol, "trade")) < 20:
                    return False
            told = [fleet.processes[name].details for name in "ab"]
            return all(f"usdm:{symbol}@{REFUSED}" in told[0]["refused"] for symbol in fleet.symbols)

        await fleet.until(both_have_brought, 90)
        async with FleetClient(real_server) as client:
            symbol = fleet.symbols[0]
            async with client.raw([symbol], "trade", from_ms=1) as feed:
                read = [await anext(feed) for _ in range(20)]
                token = feed.token
            assert all(isinstance(message, RawMessage) for message in read)
            async with client.raw([symbol], "trade", resume=token) as feed:
                read.append(await anext(feed))
            assert not any(isinstance(message, Gap) for message in read)
        await fleet.stop("b")  # what one line brings alone is there too

        async def more(before: int = await fleet.client.xlen(KEYS.raw("BTCUSDT", "trade"))) -> bool:
            return await fleet.client.xlen(KEYS.raw("BTCUSDT", "trade")) > before + 20

        await fleet.until(more, 90)
        await fleet.check_books()
        await settle(fleet)
        for symbol in fleet.symbols:
            found = await trades_of(fleet, symbol)
            ids = [trade["t"] for trade in found]
            truth = (await fleet.truth("raw_trades", symbol, from_id=str(ids[0])))["trades"]
            shown = [{name: trade[name] for name in "tpqTmX"} for trade in found]
            assert sorted(shown, key=lambda row: row["t"]) == truth[: len(shown)]
            assert len(set(ids)) == len(ids)
            assert not await fleet.client.exists(KEYS.raw(symbol, REFUSED))
        first = [message.data for message in read if isinstance(message, RawMessage)]
        entries = await fleet.client.xrange(KEYS.raw("BTCUSDT", "trade"), count=21)
        assert first == [fields[b"data"] for _, fields in entries]
