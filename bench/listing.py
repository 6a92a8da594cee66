"""From a listing on the exchange to its book, and from a delisting to the end of it.

    python bench/listing.py [--symbols 50] [--listings 5]

A fleet with the default settings and `symbols = ["all"]` on the simulated USD-M exchange, which lists one symbol after
the other and delists it again. Reported, in seconds: until the book of the new symbol is shown, until it is withdrawn,
until its keys have an expiry; and what that cost the other symbols (resyncs and gaps: must be none; exit code 1).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from running_fleet import RunningFleet, running_fleet, symbols_named

from workers.conformance.fleet.control import ExchangeControl

GIVE_UP_S = 120.0
PAUSE_S = 3.0


async def seconds_until(condition: Callable[[], Awaitable[bool]]) -> float:
    """How long it took until something was so."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > GIVE_UP_S:
            raise SystemExit(f"what was waited for did not come in {GIVE_UP_S:g} s")
        await asyncio.sleep(0.01)
    return round(time.monotonic() - started, 2)


async def one(fleet: RunningFleet, control: ExchangeControl, symbol: str) -> dict[str, float]:
    """List a symbol and delist it."""
    keys = fleet.reader.contexts[0].keys

    async def shown() -> bool:
        return bool(await fleet.client.hexists(keys.live_orderbook, symbol))

    async def withdrawn() -> bool:
        return not await shown()

    async def expiring() -> bool:
        return bool(await fleet.client.pttl(keys.raw(symbol, "depth")) > 0)

    await control.set_fault(f"list market=usdm symbol={symbol}")
    found = {"shown_s": await seconds_until(shown)}
    await asyncio.sleep(PAUSE_S)
    await control.set_fault(f"delist market=usdm symbol={symbol}")
    started = time.monotonic()
    found["withdrawn_s"] = await seconds_until(withdrawn)
    await seconds_until(expiring)
    found["expiring_s"] = round(time.monotonic() - started, 2)
    return found


async def bench(symbols: list[str], listings: int) -> dict[str, Any]:
    """One run."""
    os.environ["FLEET_VENUES__USDM__SYMBOLS"] = "all"
    async with running_fleet(symbols) as fleet, ExchangeControl(fleet.source.url) as control:
        keys = fleet.reader.contexts[0].keys

        async def all_shown() -> bool:
            return bool(await fleet.client.hlen(keys.live_orderbook) == len(symbols))

        start_s = await seconds_until(all_shown)
        runs = []
        for number in range(listings):
            await asyncio.sleep(PAUSE_S)
            runs.append(await one(fleet, control, f"NEW{number}USDT"))
        await asyncio.sleep(1.5)  # a status is written once a second
        disturbed = 0
        for symbol in symbols:
            found = await fleet.client.hmget(keys.book_status(symbol), ["sync_count", "gap_count"])
            disturbed += found != [b"1", b"0"]
        return {"symbols": len(symbols), "start_s": start_s, "listings": runs, "disturbed": disturbed}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--listings", type=int, default=5)
    arguments = parser.parse_args()
    result = asyncio.run(bench(symbols_named(arguments.symbols), arguments.listings))
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["disturbed"] else 0)


if __name__ == "__main__":
    main()
