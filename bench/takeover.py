"""Kill -9 of each role in turn while the fleet runs: how long until somebody else goes on, and what it cost.

    python bench/takeover.py [--symbols 50] [--seconds 60] [--json]

The whole fleet on its own server and the simulated exchange, with the product's default lease and heartbeat. Every
few seconds one worker is killed; it is started again after a pause, as supervisord would. Measured for each symbol
the dead worker owned: from the kill to the first book published (books) or the new owner's lease (trades). In the
end every book, trade and bar is compared with the exchange's truth, and the snapshots asked for are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import statistics
import sys
import time
from typing import Any

from running_fleet import RunningFleet, running_fleet, symbols_named

from workers.verification.fleet import Verification

START_S = 90.0
VICTIMS = ("books-0", "trades-0", "ingest-a", "books-1", "trades-1", "ingest-b", "keeper")


async def takeover_times(fleet: RunningFleet, role: str, dead: str, killed_at: float) -> list[float]:
    """Seconds until each symbol of a dead worker, named from `dead` on, was served again."""
    reader, client = fleet.reader, fleet.client
    keys = reader.contexts[0].keys
    owners = {book.symbol: await reader.owner(book, role) or "" for book in reader.books}
    waiting = {symbol for symbol, owner in owners.items() if owner.startswith(dead)}
    if not waiting:
        raise SystemExit(f"{dead}… owned nothing; owners: {sorted(set(owners.values()))}")
    times = []
    while waiting and time.time() - killed_at < 30:
        for symbol in sorted(waiting):
            owner = await client.hget(keys.lease(role, symbol), "owner")
            if owner is None or owner.decode().startswith(dead):
                continue
            if role == "books":
                payload = await client.hget(keys.live_orderbook, symbol)
                if payload is None or json.loads(payload)["published"] < killed_at * 1e6:
                    continue
            waiting.discard(symbol)
            times.append(time.time() - killed_at)
        await asyncio.sleep(0.02)
    return times + [float("inf")] * len(waiting)


async def bench(symbols: list[str], seconds: float) -> dict[str, Any]:
    """One run."""
    times: dict[str, list[float]] = {"books": [], "trades": []}
    async with running_fleet(symbols) as fleet:
        verification = Verification(fleet.reader, fleet.source)
        stop = asyncio.Event()
        if not await verification.wait_until_synced(START_S, stop):
            return {"problems": [await verification._why(book) for book in verification.books]}
        running = asyncio.create_task(verification.run(seconds, stop))
        before = fleet.snapshots()
        for name in VICTIMS:
            program = fleet.processes[name]
            role = name.partition("-")[0]
            dead = f"{name if role == 'ingest' else role}-{socket.gethostname()}-{program.pid}-"
            program.signal(signal.SIGKILL)
            if role in times:
                times[role] += await takeover_times(fleet, role, dead, time.time())
            await asyncio.sleep(seconds / len(VICTIMS) * 0.6)
        await running
        await verification.finish()
        report = await verification.report()
        asked = fleet.snapshots() - before
    measured = {
        role: {
            "symbols": len(found),
            "p50_s": round(statistics.median(found), 2),
            "p99_s": round(sorted(found)[int(len(found) * 0.99)], 2),
            "max_s": round(max(found), 2),
        }
        for role, found in times.items()
    }
    return {"takeover": measured, "snapshots_asked": asked, **report}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    result = asyncio.run(bench(symbols_named(arguments.symbols), arguments.seconds))
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
